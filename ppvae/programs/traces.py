"""One call of a pair: the guide, then the model at the guide's draws."""

from collections.abc import Mapping
from typing import Any

from pyro import poutine
from torch import Tensor

from ppvae.programs.pair import Pair

__all__ = ["traces"]


def traces(pair: Pair, batch: Mapping[str, Tensor]) -> tuple[Any, Any]:
    """The traces of guide and model on a batch, the latter at the draws of the former.

    Gradients, modes and random state are left to the caller.
    """
    guide = poutine.trace(pair.call_guide).get_trace(**batch)
    model = poutine.trace(poutine.replay(pair.call_model, trace=guide)).get_trace(**batch)
    return guide, model
