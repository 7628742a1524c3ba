"""Noise of an estimator: repeated estimates of a bound and its gradient on one batch.

Bounds of equal expectation differ in noise, which slows training. The weights are fixed.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.bounds.objective import Bound
from ppvae.data import Batch
from ppvae.diagnostics.shared.moments import Moments
from ppvae.errors import InputError
from ppvae.programs import evaluating
from ppvae.programs.streams import Stream

BLOCKS = 10
"""Number of blocks of repetitions: the spread of their variances is the error of the variance."""


@dataclass(frozen=True)
class GroupNoise:
    """Gradient noise in one group of parameters; g is the gradient of one repetition.

    Attributes:
        coordinates: number of parameters.
        variance: tr Var(g), the variances *summed* over coordinates, in (nats per datum)^2 over
            squared units of the parameters.
        variance_error: standard error of ``variance``, from the spread of blocks of repetitions.
        mean_square: ||E g||^2, without bias: ||mean of g||^2 - variance / repetitions. It may be
            negative if the noise hides the gradient.
    """

    coordinates: int
    variance: float
    variance_error: float
    mean_square: float

    @property
    def snr(self) -> float:
        """Signal-to-noise ratio of a single estimate, ||E g|| / sqrt(tr Var(g)).

        0 if the noise hides the gradient, infinite without noise.
        """
        signal = math.sqrt(max(self.mean_square, 0.0))
        if self.variance > 0:
            return signal / math.sqrt(self.variance)
        return math.inf if signal > 0 else 0.0


@dataclass(frozen=True)
class Noise:
    """Repeated estimates of one bound on one batch, at the same weights.

    Attributes:
        values: the bound at beta = 1, in nats per datum: ``(repetitions,)``, float64.
        groups: the gradient's noise, by group of parameters.
        blocks: number of blocks of repetitions for ``variance_error``.
    """

    values: Tensor
    groups: dict[str, GroupNoise]
    blocks: int

    @property
    def variance(self) -> dict[str, float]:
        """`GroupNoise.variance` by group."""
        return {name: group.variance for name, group in self.groups.items()}

    @property
    def variance_error(self) -> dict[str, float]:
        """`GroupNoise.variance_error` by group."""
        return {name: group.variance_error for name, group in self.groups.items()}

    @property
    def snr(self) -> dict[str, float]:
        """`GroupNoise.snr` by group."""
        return {name: group.snr for name, group in self.groups.items()}

    @property
    def mean(self) -> float:
        """Mean of `values`, in nats per datum."""
        return float(self.values.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of `mean`."""
        return float(self.values.std() / math.sqrt(len(self.values)))


def group_of(name: str) -> str:
    """The group of a parameter: the first two components of its name.

    Example::

        group_of("guide.encoder.layers.0.weight")  # "guide.encoder"
    """
    return ".".join(name.split(".")[:2])


def noise(
    bound: Bound,
    batch: Batch,
    *,
    draws: int,
    seed: int = 0,
    beta: float = 1.0,
    grouping: Callable[[str], str] = group_of,
    on_draw: Callable[[], None] = lambda: None,
) -> Noise:
    """Estimate a bound and its gradient ``draws`` times, and measure their noise.

    Memory is a few copies of the gradient, whatever ``draws`` is.

    Args:
        bound: the bound; weights, buffers, gradients and modes are unchanged.
        batch: ``{"x": (batch, ...), ...}``, on the weights' device.
        draws: repetitions, at least 4.
        seed: seed of the noise; the caller's random state is unchanged.
        beta: weight of the KL in the objective of the gradient.
        grouping: function from a parameter name, as in ``bound.pair``, to a group.
        on_draw: called after each repetition, for a progress bar.

    Raises:
        InputError: for fewer than 4 draws, or if the bound or its gradient is not finite.
    """
    if draws < 4:
        raise InputError(f"`draws` is {draws}; a variance with an error needs at least 4 estimates")
    blocks = min(BLOCKS, draws // 2)
    sizes = [draws // blocks + (i < draws % blocks) for i in range(blocks)]
    stream = repeated(bound, batch, draws=draws, seed=seed, beta=beta)
    whole, values, by_block = Moments(), [], []
    for size in sizes:
        part = Moments()
        for _ in range(size):
            value, gradient = next(stream)
            values.append(value)
            part.add(gradient)
            on_draw()
        whole.merge(part)
        by_block.append(_totals(part.variance, grouping))
    variance = _totals(whole.variance, grouping)
    square = _totals({name: mean.square() for name, mean in whole.mean.items()}, grouping)
    counts: dict[str, int] = {}
    for name, mean in whole.mean.items():
        counts[grouping(name)] = counts.get(grouping(name), 0) + mean.numel()
    groups = {}
    for group, total in variance.items():
        spread = torch.tensor([each[group] for each in by_block], dtype=torch.float64)
        error = float(spread.std() / math.sqrt(blocks))
        groups[group] = GroupNoise(counts[group], total, error, square[group] - total / draws)
    result = Noise(torch.tensor(values, dtype=torch.float64), groups, blocks)
    if not math.isfinite(result.mean) or not all(map(math.isfinite, variance.values())):
        raise InputError(
            "the bound, or its gradient, is not finite at these weights; take another checkpoint, "
            "or fit with a smaller lr"
        )
    return result


def repeated(
    bound: Bound, batch: Batch, *, draws: int, seed: int = 0, beta: float = 1.0
) -> Iterator[tuple[float, dict[str, Tensor]]]:
    """Yield ``draws`` estimates of the bound, and of the gradient of the objective at ``beta``.

    Both are per datum, in nats, and the bound is that at beta = 1; the gradient is by name of the
    parameter, as in ``bound.pair.named_parameters()``. Networks are in evaluation mode, so the
    noise is that of the latents only. The noise of repetition i depends on ``seed`` and i only.
    """
    names, weights = zip(
        *((n, p) for n, p in bound.pair.named_parameters() if p.requires_grad), strict=True
    )
    x = batch["x"]
    for number in range(draws):
        with (
            evaluating(bound),
            torch.enable_grad(),
            Stream.GRADIENT_NOISE.drawn(seed, x.device) as stream,
        ):
            stream.at(number)
            terms = bound(batch, beta)
            gradient = torch.autograd.grad(
                terms.objective / len(x), weights, allow_unused=True, materialize_grads=True
            )
            value = float(terms.elbo.detach()) / len(x)
        yield value, dict(zip(names, gradient, strict=True))


def _totals(tensors: Mapping[str, Tensor], grouping: Callable[[str], str]) -> dict[str, float]:
    """Sum over the coordinates of each group."""
    totals: dict[str, float] = {}
    for name, tensor in tensors.items():
        group = grouping(name)
        # Sum millions of small terms in float64, which Metal does not have.
        wide = tensor if tensor.device.type == "mps" else tensor.double()
        totals[group] = totals.get(group, 0.0) + float(wide.sum())
    return totals
