"""Small hierarchical models with each of their guides."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from pyro import poutine
from torch import Tensor, nn

from ppvae.guides import BottomUp, Ladder, TopDown
from ppvae.models import Gaussian, HierarchicalVAE, StandardNormal
from ppvae.networks import MLP
from ppvae.programs import Pair

SIGMAS = 5.0
GUIDES = (BottomUp, Ladder, TopDown)
SMALL = partial(MLP, hidden=(8,))
ROWS, COLUMNS = 6, 4

Guide = type[BottomUp] | type[Ladder] | type[TopDown]


def data(rows: int = ROWS) -> dict[str, Tensor]:
    return {"x": torch.randn(rows, COLUMNS, generator=torch.Generator().manual_seed(0))}


def model_of(widths: tuple[int, ...] = (3, 2), **more: Any) -> HierarchicalVAE:
    torch.manual_seed(0)
    prior = StandardNormal(widths[-1])
    return HierarchicalVAE(
        prior, Gaussian((COLUMNS,), variance=1.0), SMALL, widths=widths, hidden=(8,), **more
    )


def guide_of(guide: Guide, model: object) -> nn.Module:
    torch.manual_seed(1)
    return guide(model, (COLUMNS,), SMALL, hidden=(8,))


def pair_of(guide: Guide, widths: tuple[int, ...] = (3, 2)) -> Pair:
    model = model_of(widths)
    return Pair(model, guide_of(guide, model), data())


def nodes(program: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    trace: Any = poutine.trace(program).get_trace(*args, **kwargs)
    trace.compute_log_prob()
    return {
        name: trace.nodes[name] for name in trace.nodes if trace.nodes[name]["type"] == "sample"
    }
