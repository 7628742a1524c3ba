"""Do a graph and its program compute the same? A comparison that allows for rounding.

How far two ways to compute the same may part by rounding is known roughly for each type of numbers.
Where they part further, the program is computed once more, with weights that are off by a rounding
error: what that changes is rounding too, however large (the gradient of a bias before a batch
normalization, for one, is nothing but rounding). A rejection sampler rarely decides otherwise
because of rounding: so a difference counts only if it shows under other noise as well.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.fx import GraphModule

from ppvae.compilation.beginning import Begun
from ppvae.compilation.tensors import Values
from ppvae.programs.streams import generator


def rounding(graph: GraphModule) -> float:
    """The relative error of the coarsest numbers that a graph computes with."""
    coarsest = 0.0
    for node in graph.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0:
            error = torch.finfo(value.dtype).eps
            if value.device.type == "cuda" and value.dtype == torch.float32:
                error = _TF32
            coarsest = max(coarsest, error)
    return coarsest or torch.finfo(torch.float32).eps


_TF32 = 2.0**-10
"""CUDA may compute products of single precision with fewer digits."""

_OTHERS = (1, 2)
"""Numbers of the noises under which a difference has to show again, once at least."""

_RESPONSE = 32.0
"""So many times what a rounding error in the weights changes, rounding may change."""


def agree(one: Values, other: Values, error: float) -> bool:
    """Whether values are the same to rounding, by their sizes alone.

    Args:
        one: what the program gave.
        other: what the graph gave.
        error: relative error of rounding, see `rounding`.
    """
    return not _apart(one, other, [error**_POWER * size for size in _sizes(one)])


def disagreement(
    eager: Callable[[Sequence[Tensor], Sequence[Tensor]], Values],
    graph: Callable[[Sequence[Tensor]], Values],
    params: Sequence[Tensor],
    begun: Begun,
    found: tuple[Values, Values],
    error: float,
) -> int | None:
    """The place of the first value that a graph gives otherwise than its program; ``None``: none.

    Args:
        eager: the program: values for parameters and buffers, which it may change.
        graph: the graph: values for buffers, which it may change, at the parameters as they are.
        params: the parameters.
        begun: where both began.
        found: what the program gave, and the graph.
        error: relative error of rounding, see `rounding`.
    """

    def differ(start: Callable[[], None], one: Values, other: Values) -> int | None:
        if agree(one, other, error):
            return None
        start()
        nearby = eager(_nudged(params, error), begun.copies())
        responses = _sizes([_less(a, b) for a, b in zip(one, nearby, strict=True)])
        allowed = [
            error**_POWER * size + _RESPONSE * response
            for size, response in zip(_sizes(one), responses, strict=True)
        ]
        return next(iter(_apart(one, other, allowed)), None)

    place = differ(begun.noise.go_back, *found)
    if place is None:
        return None
    for number in _OTHERS:

        def start(number: int = number) -> None:
            begun.noise.other(number)

        start()
        one = eager(params, begun.copies())
        start()
        if differ(start, one, graph(begun.copies())) is not None:
            return place
    return None


_POWER = 0.58
"""Values may part by this power of the rounding error, relative to their size: by 1e-4 in single
precision, by 1e-9 in double, by 6 % in bfloat16."""


def _nudged(params: Sequence[Tensor], error: float) -> list[Tensor]:
    """The parameters, each off by about a rounding error."""
    draws, nudged = generator(0), []
    for p in params:
        value = p.detach()
        if value.is_floating_point():
            signs = torch.randint(0, 2, p.shape, generator=draws).to(value) * 2 - 1
            value = value * (1 + 4 * error * signs)
        nudged.append(value.clone().requires_grad_(p.requires_grad))
    return nudged


def _norms(values: Sequence[Tensor]) -> list[float]:
    """Norms, brought to the CPU at once."""
    if not values:
        return []
    norms = [v.detach().to(_precise(v)).norm().to("cpu", torch.float64) for v in values]
    numbers: list[float] = torch.stack(norms).tolist()
    return numbers


def _sizes(values: Values) -> list[float]:
    """The norm of each value, of its finite numbers alone."""
    there = [torch.zeros(1) if v is None else v for v in values]
    return [
        norm if math.isfinite(norm) else _norms([v.nan_to_num(0.0, 0.0, 0.0)])[0]
        for norm, v in zip(_norms(there), there, strict=True)
    ]


def _precise(value: Tensor) -> torch.dtype:
    return value.dtype if value.dtype in (torch.float32, torch.float64) else torch.float32


def _less(one: Tensor | None, other: Tensor | None) -> Tensor:
    """How two values differ; one that is not there counts as zero."""
    if one is None or other is None:
        value = one if other is None else other
        return torch.zeros(1) if value is None else value.detach()
    if one.shape != other.shape:
        return torch.full((1,), torch.inf)
    one, other = one.detach().to(_precise(one)), other.detach().to(_precise(other))
    return one - other


def _less_finite(one: Tensor | None, other: Tensor | None, less: Tensor) -> Tensor:
    """The same, nothing where both are NaN, or the same infinity."""
    if one is None or other is None or one.shape != other.shape:
        return less
    return less.masked_fill((one == other) | (one.isnan() & other.isnan()), 0.0)


def _apart(one: Values, other: Values, allowed: Sequence[float]) -> list[int]:
    """Places of the values that are further apart than allowed."""
    lesses = [_less(a, b) for a, b in zip(one, other, strict=True)]
    sizes = [
        norm if math.isfinite(norm) else _norms([_less_finite(a, b, less)])[0]
        for norm, a, b, less in zip(_norms(lesses), one, other, lesses, strict=True)
    ]
    return [
        i
        for i, (size, most) in enumerate(zip(sizes, allowed, strict=True))
        if not size <= most  # nor is NaN
    ]
