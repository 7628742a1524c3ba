"""Every prior with arguments to test, with initial and with changed parameters."""

import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ppvae.guides import FullRank, MeanField, Mixture
from ppvae.models import Prior, priors
from ppvae.networks import MLP
from tests.support.slow import few

COLUMNS = 3

OWN: dict[str, tuple[dict[str, Any], ...]] = {
    "FlowPrior": tuple({"kind": k, "transforms": 2, "hidden": (8,)} for k in ("spline", "affine")),
    "Laplace": ({}, {"scale": 0.7}, {"scale": "learned"}),
    "LearnedNormal": ({},),
    "MixtureOfNormals": ({"components": 9}, {"components": 1}),
    "StandardNormal": ({},),
    "StudentT": ({}, {"df": 1.0}),
    "VampPrior": (
        {"components": 9, "weights": "learned"},
        {"components": 9},
        {"components": 9, "guide": FullRank},
        {"components": 9, "guide": partial(Mixture, components=2)},
    ),
}
"""Every prior, with arguments to test."""


def over(cases: Sequence[tuple[str, dict[str, Any]]], every: int = 1) -> pytest.MarkDecorator:
    """A test of each of these priors; all but each ``every``-th are slow."""
    ids = [f"{name}-{OWN[name].index(own)}" for name, own in cases]
    return pytest.mark.parametrize(("name", "own"), few(cases, every), ids=ids)


CASES = [(name, own) for name, tried in OWN.items() for own in tried]
every = over(CASES)
CURVED = partial(MLP, hidden=(6,), activation="tanh")


class Case(nn.Module):
    """log p(z) of a prior, with the guide that it is made of, if any."""

    def __init__(self, prior: Prior, guide: nn.Module | None) -> None:
        super().__init__()
        self.prior, self.guide = prior, guide

    def forward(self, z: Tensor) -> Tensor:
        log_prob: Tensor = self.prior().log_prob(z)
        return log_prob


def fresh(name: str, own: dict[str, Any], latent_dim: int = 2, seed: int = 0) -> Case:
    """A prior with initial parameters, in double precision."""
    torch.manual_seed(seed)
    family = getattr(priors, name)
    named = inspect.signature(family).parameters
    guide = own.get("guide", MeanField)(latent_dim, (COLUMNS,), CURVED)
    known = {"data_shape": (COLUMNS,), "guide": guide, "examples": 3 * torch.randn(9, COLUMNS)}
    given = {key: value for key, value in known.items() if key in named}
    prior = family(latent_dim, **own | given)
    return Case(prior, given.get("guide")).double()


def made(name: str, own: dict[str, Any], latent_dim: int = 2, seed: int = 0) -> Case:
    """A prior with changed parameters."""
    case = fresh(name, own, latent_dim, seed)
    with torch.no_grad():
        for parameter in case.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return case
