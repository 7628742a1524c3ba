"""Pairs of programs with missing entries, and exact results by sums over z."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch import Tensor

from ppvae.diagnostics import subject
from ppvae.guides import (
    ExactPosterior,
    MeanField,
    SemiAmortized,
    SemiSupervised,
    TopDown,
)
from ppvae.models import (
    VAE,
    Bernoulli,
    Binomial,
    ConditionalVAE,
    Gaussian,
    HierarchicalVAE,
    LinearGaussian,
    SemiSupervisedVAE,
    StandardNormal,
)
from ppvae.networks import MLP
from tests.support.pca import AFFINE

ROWS, COLUMNS, CLASSES = 6, 4, 3
SIGMAS = 5.0
CURVED = partial(MLP, hidden=(5,), activation="tanh")
LABELS = torch.tensor([0, 1, 2, 0, -1, -1])

Batch = dict[str, Tensor]
Programs = tuple[Any, Any, Batch]


def data(is_binary: bool) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, COLUMNS, generator=generator)
    return (x > 0).double() if is_binary else (2 * x).double()


def holes() -> Tensor:
    """Where x was observed: nowhere in the first row, everywhere in the second.

    In the other rows all but the last column are observed.
    """
    mask = torch.rand(ROWS, COLUMNS, generator=torch.Generator().manual_seed(2)) < 0.6
    mask[:, -1] = False
    mask[0], mask[1] = False, True
    return mask


def vae() -> Programs:
    model = VAE(StandardNormal(1), Bernoulli((COLUMNS,)), CURVED)
    return model, MeanField(1, (COLUMNS,), CURVED), {"x": data(True)}


def refined() -> Programs:
    model, _, batch = vae()
    return model, SemiAmortized(1, (COLUMNS,), model, CURVED), batch


def hierarchical() -> Programs:
    likelihood = Gaussian((COLUMNS,), variance="learned")
    model = HierarchicalVAE(
        StandardNormal(1), likelihood, CURVED, widths=(1, 1), hidden=(5,), activation="tanh"
    )
    guide = TopDown(model, (COLUMNS,), CURVED, features=5, hidden=(5,), activation="tanh")
    return model, guide, {"x": data(False)}


def conditional() -> Programs:
    model = ConditionalVAE(StandardNormal(1), Binomial((COLUMNS,), 7), CURVED, CLASSES)
    guide = MeanField(1, (COLUMNS,), CURVED, CLASSES)
    return model, guide, {"x": 5 * data(True) + 1, "y": LABELS.clamp(min=0)}


def semi_supervised() -> Programs:
    model = SemiSupervisedVAE(StandardNormal(1), Bernoulli((COLUMNS,)), CURVED, CLASSES)
    return model, SemiSupervised(1, (COLUMNS,), CURVED, CLASSES), {"x": data(True), "y": LABELS}


def linear(mean_field: bool = False) -> Programs:
    model = LinearGaussian(1, (COLUMNS,))
    guide = MeanField(1, (COLUMNS,), AFFINE) if mean_field else ExactPosterior(model)
    return model, guide, {"x": data(False)}


PROGRAMS: dict[str, Callable[[], Programs]] = {
    "VAE": vae,
    "VAE, refined": refined,
    "HierarchicalVAE": hierarchical,
    "ConditionalVAE": conditional,
    "SemiSupervisedVAE": semi_supervised,
    "LinearGaussian": linear,
    "LinearGaussian, mean field": partial(linear, True),
}
every_program = pytest.mark.parametrize("name", PROGRAMS)


def programs(name: str) -> Programs:
    """Two programs in float64 without zero weights, and a batch without a mask."""
    torch.manual_seed(0)
    model, guide, batch = PROGRAMS[name]()
    model.double(), guide.double()
    with torch.no_grad():
        for parameter in [*model.parameters(), *guide.parameters()]:
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model, guide, batch


def on_a_grid(name: str) -> dict[str, Tensor]:
    """log p(x_observed), and mean and variance of each entry given what was observed: sums over z.

    Without the programs' own masks: every element's log p(x | z) is summed by hand.
    """
    model, _, batch = programs(name)
    mask, step = holes(), 0.05 if name == "HierarchicalVAE" else 0.01
    axis = torch.arange(-6, 6, step, dtype=torch.float64)
    points: dict[str, Tensor] = {"z": axis}
    log_cell = math.log(step)
    if name == "HierarchicalVAE":
        z1, z2 = torch.cartesian_prod(2 * axis, axis).unbind(-1)
        points, log_cell = {"z1": z1, "z2": z2}, 2 * math.log(step) + math.log(2)
    if name == "SemiSupervisedVAE":
        z = torch.cartesian_prod(torch.arange(CLASSES).double(), axis)
        points = {"y": z[:, 0].long(), "z": z[:, 1]}
    count = len(next(iter(points.values())))
    held = {
        site: value[:, None].expand(-1, ROWS) if site == "y" else value[:, None, None]
        for site, value in points.items()
    }
    held = {s: v if s == "y" else v.expand(-1, ROWS, 1) for s, v in held.items()}
    with torch.no_grad(), pyro.plate("points", count, dim=-2):
        trace: Any = poutine.trace(poutine.condition(model, held)).get_trace(**batch)
    fn = trace.nodes["x"]["fn"].base_dist
    log_joint = (fn.log_prob(batch["x"]) * mask).sum(-1)
    for site in points:
        log_joint = log_joint + trace.nodes[site]["fn"].log_prob(held[site])
    if name == "SemiSupervisedVAE":
        known = (LABELS < 0) | (held["y"] == LABELS)
        log_joint = log_joint.where(known, -math.inf)
    weight = log_joint.softmax(0)[..., None]
    mean = (weight * fn.mean).sum(0)
    square = (weight * (fn.variance + fn.mean.square())).sum(0)
    return {
        "log_p": log_joint.logsumexp(0) + log_cell,
        "mean": mean,
        "scale": (square - mean.square()).sqrt(),
    }


def asked(name: str) -> tuple[Any, Any, Any]:
    """The subject of a diagnostic: programs, with a guide wide enough as a proposal, and data."""
    model, guide, batch = programs(name)
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.mul_(0.2)
    if name == "HierarchicalVAE":  # only the prior is wide enough
        guide = poutine.block(model, hide=["x"])
    elbo = TraceEnum_ELBO if name == "SemiSupervisedVAE" else Trace_ELBO
    mask = holes()
    x = torch.where(mask, batch["x"], torch.nan)
    return subject(model, guide, x, batch.get("y"), mask, elbo=elbo)
