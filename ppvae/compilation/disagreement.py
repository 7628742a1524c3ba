"""Comparison of the values of a graph and its program, up to rounding.

How far two computations of the same value may differ by rounding is known roughly for each type.
Where they differ more, the program is computed again with weights perturbed by a rounding error:
any change that this makes is rounding too, however large (the gradient of a bias before a batch
normalization, for instance, is only rounding). What is left of a cancellation, such as 1 - q where
q is almost 1, does not react to the weights: a gradient may therefore also differ by a rounding
error of the largest gradient. A rejection sampler may rarely decide differently because of
rounding: a difference therefore counts only if it shows with other noise too.
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
    """The relative error of the least precise type in a graph."""
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
"""CUDA may compute single-precision products with fewer digits."""

_SINGLE = torch.finfo(torch.float32).eps
"""Densities are computed with this rounding error also where networks have a larger one."""

_OTHERS = (1, 2)
"""Numbers of the noises under which a difference must show again, at least once."""

_RESPONSE = 32.0
"""Rounding may change a value by so many times the effect of a rounding error in the weights."""


def agree(one: Values, other: Values, error: float) -> bool:
    """Whether values are the same to rounding, by their sizes alone.

    Args:
        one: values of the program.
        other: values of the graph.
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
    """The position of the first value that differs between a graph and its program; ``None``: none.

    Args:
        eager: the program: values for parameters and buffers, which it may change; the gradients
            by the parameters come first.
        graph: the graph: values for buffers, which it may change, at the current parameters.
        params: the parameters.
        begun: the state where both started.
        found: the values of the program, and of the graph.
        error: relative error of rounding, see `rounding`.
    """

    def differ(start: Callable[[], None], one: Values, other: Values) -> int | None:
        if agree(one, other, error):
            return None
        start()
        nearby = eager(_nudged(params, error), begun.copies())
        responses = _sizes([_less(a, b) for a, b in zip(one, nearby, strict=True)])
        sizes = _sizes(one)
        cancelled = min(error, _SINGLE) * max(sizes[: len(params)], default=0.0)
        allowed = [
            error**_POWER * size + _RESPONSE * response + cancelled * (i < len(params))
            for i, (size, response) in enumerate(zip(sizes, responses, strict=True))
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
"""Values may differ by this power of the rounding error, relative to their size: by 1e-4 in single
precision, by 1e-9 in double, by 6 % in bfloat16."""


def _nudged(params: Sequence[Tensor], error: float) -> list[Tensor]:
    """The parameters, each perturbed by about a rounding error."""
    draws, nudged = generator(0), []
    for p in params:
        value = p.detach()
        if value.is_floating_point():
            signs = torch.randint(0, 2, p.shape, generator=draws).to(value) * 2 - 1
            value = value * (1 + 4 * error * signs)
        nudged.append(value.clone().requires_grad_(p.requires_grad))
    return nudged


def _norms(values: Sequence[Tensor]) -> list[float]:
    """Norms, copied to the CPU together."""
    if not values:
        return []
    norms = [v.detach().to(_precise(v)).norm().to("cpu", torch.float64) for v in values]
    numbers: list[float] = torch.stack(norms).tolist()
    return numbers


def _sizes(values: Values) -> list[float]:
    """The norm of each value, over its finite elements only."""
    there = [torch.zeros(1) if v is None else v for v in values]
    return [
        norm if math.isfinite(norm) else _norms([v.nan_to_num(0.0, 0.0, 0.0)])[0]
        for norm, v in zip(_norms(there), there, strict=True)
    ]


def _precise(value: Tensor) -> torch.dtype:
    return value.dtype if value.dtype in (torch.float32, torch.float64) else torch.float32


def _less(one: Tensor | None, other: Tensor | None) -> Tensor:
    """The difference of two values; a missing one counts as zero."""
    if one is None or other is None:
        value = one if other is None else other
        return torch.zeros(1) if value is None else value.detach()
    if one.shape != other.shape:
        return torch.full((1,), torch.inf)
    one, other = one.detach().to(_precise(one)), other.detach().to(_precise(other))
    return one - other


def _less_finite(one: Tensor | None, other: Tensor | None, less: Tensor) -> Tensor:
    """The same difference, 0 where both are NaN or the same infinity."""
    if one is None or other is None or one.shape != other.shape:
        return less
    return less.masked_fill((one == other) | (one.isnan() & other.isnan()), 0.0)


def _apart(one: Values, other: Values, allowed: Sequence[float]) -> list[int]:
    """Positions of the values that differ by more than allowed."""
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
