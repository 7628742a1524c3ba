"""Independent elements of any family, each with its own parameters, by maximum likelihood."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.diagnostics.baselines.families import Family
from ppvae.diagnostics.baselines.fitted import Fitted
from ppvae.diagnostics.baselines.rows import Matrix
from ppvae.distributions.scaled_mean import scaled
from ppvae.distributions.support import elements_of

STEPS, BEGUN, REFINED = 150, 60, 25
"""Maximum number of steps of the search; of a search that starts on some rows: on these, on all."""

CLOSE, LONGEST, FAR = 1e-4, 1e4, 1e8
"""Step below which the search ends; longest step; largest unconstrained parameter."""

LEVELS = 256
"""Maximum number of distinct values of x that are counted, so that rows are not needed."""

NUMBERS, FEW = 2**20, 2**16
"""Maximum of numbers (levels or rows, times elements) per step of the search, and at its start."""

FEWEST = 16
"""Minimum number of rows per step of the search."""


def fit_independent(family: Family, support: Any, train: Matrix, width: float) -> Fitted:
    """p(x) = prod_d p(x_d; theta_d), with theta by maximum likelihood on the training rows.

    If elements are discrete, each gets one more row, made of the values of all elements, so that
    values absent from the training rows are not impossible. If they are continuous, each value is
    replaced by two, ``width`` to either side, which adds ``width`` squared to a variance, so that a
    constant element has no infinite density. If rows have size factors, these multiply the means of
    the elements, as in the model.

    Args:
        family: family of an element.
        support: support of an element.
        train: the training rows.
        width: half of the minimum spread, in units of x.
    """
    elements = elements_of(support)
    values, weight, sizes = _counted(_filled(train), elements)
    if elements.is_discrete:
        pooled = weight.sum(1, keepdim=True)
        if values.shape[1] > 1:
            values, weight, sizes = _with_quantiles(values, weight, sizes)
        else:
            weight = weight + pooled / pooled.sum() + 1 / len(values) * (pooled == 0)
    elif width > 0:
        values = torch.cat(_spread(values, width, elements))
        weight = torch.cat([weight, weight]) / 2
        sizes = None if sizes is None else torch.cat([sizes, sizes])
    raw = _most_likely(family, values, weight, sizes)

    def log_prob(rows: Matrix) -> Tensor:
        scored = _log_prob(family, raw, rows.x.double(), rows.size_factor)
        return (scored if rows.observed is None else scored.where(rows.observed, 0)).sum(1)

    sized = "" if train.size_factor is None else ", their means times size factors"
    return Fitted(f"independent {family.name} elements{sized}", log_prob)


def _log_prob(family: Family, raw: Sequence[Tensor], x: Tensor, sizes: Tensor | None) -> Tensor:
    """Log p(x_d; theta_d) of each element, ``(rows, elements)``."""
    fn = family.make(raw)
    fn = fn if sizes is None else scaled(fn, sizes.double()[:, None])
    log_prob: Tensor = fn.log_prob(x)
    return log_prob


def _most_likely(
    family: Family, values: Tensor, weight: Tensor, sizes: Tensor | None
) -> list[Tensor]:
    """Unconstrained parameters, ``(elements, *shape)`` each, by resilient propagation.

    Elements are independent, and this search (Riedmiller and Braun, 1993) uses the sign of each
    slope only, so that every parameter has its own search, whatever its scale. A step grows while
    the sign stays the same, and is halved when it changes.
    """
    values, weight = values.double(), weight.double()
    raw = [_start(weight.shape[1], shape) for shape in family.shapes]
    every = -(-len(weight) // max(FEWEST, FEW // weight.shape[1]))
    if every > 1 and values.shape[1] > 1:
        some = None if sizes is None else sizes[::every]
        raw = _search(family, values[::every], weight[::every], some, raw, BEGUN, 0.1)
        return _search(family, values, weight, sizes, raw, REFINED, 0.03)
    return _search(family, values, weight, sizes, raw, STEPS, 0.1)


def _search(
    family: Family,
    values: Tensor,
    weight: Tensor,
    sizes: Tensor | None,
    raw: list[Tensor],
    most: int,
    length: float,
) -> list[Tensor]:
    """Search from given parameters: at most ``most`` steps, of initial length ``length``."""
    steps = [torch.full_like(each, length) for each in raw]
    before = [torch.zeros_like(each) for each in raw]
    for _ in range(most if raw else 0):
        for each in raw:
            each.requires_grad_()
        with torch.enable_grad():
            loss = -(weight * _log_prob(family, raw, values, sizes)).sum()
            slopes = torch.autograd.grad(loss, raw)
        for i, slope in enumerate(slopes):
            sign = slope.nan_to_num(0).sign()
            kept = sign * before[i]
            steps[i] = (steps[i] * (1 + 0.3 * (kept > 0) - 0.5 * (kept < 0))).clamp(max=LONGEST)
            before[i] = sign.masked_fill(kept < 0, 0)
            raw[i] = (raw[i].detach() - before[i] * steps[i]).clamp(-FAR, FAR)
        if all(bool((step < CLOSE).all()) for step in steps):
            break
    return [each.detach() for each in raw]


def _start(elements: int, shape: tuple[int, ...]) -> Tensor:
    """Initial parameters: zeros, but spread over the components of a mixture."""
    start = torch.zeros(elements, *shape, dtype=torch.float64)
    if shape:
        start += torch.linspace(-1, 1, start[0].numel()).reshape(shape)
    return start


def _filled(train: Matrix) -> Matrix:
    """The rows with some value of the support where x was not observed."""
    if train.observed is None or not bool(train.observed.any()):
        return train
    return train.of(train.x.where(train.observed, train.x[train.observed].median()))


def _counted(train: Matrix, support: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    """Distinct values and their weights, ``(levels, 1)`` and ``(levels, elements)``, if few.

    If there are many, or rows have size factors, all rows or some of them: ``(rows, elements)``
    each, with their size factors, ``(rows,)``.
    """
    x, observed, levels = train.x, train.weight, train.x.unique()
    sizes = train.size_factor
    if isinstance(support, constraints.integer_interval) and support.upper_bound < LEVELS:
        levels = torch.arange(int(support.lower_bound), int(support.upper_bound) + 1).to(x.dtype)
    is_few = len(levels) <= min(LEVELS, len(x)) and len(levels) * x.shape[1] <= NUMBERS
    if is_few and sizes is None:
        return levels[:, None], counts(levels, x, observed), None
    # Every k-th row is a sample of the whole file, whatever the order of the rows.
    every = -(-len(x) // max(FEWEST, NUMBERS // x.shape[1]))
    return x[::every], observed[::every], None if sizes is None else sizes[::every]


def counts(levels: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """How often each column has each of some sorted values: ``(levels, elements)``."""
    elements = x.shape[1]
    cells = torch.searchsorted(levels, x.contiguous()) * elements + torch.arange(elements)
    found = torch.bincount(cells.flatten(), weight.flatten(), minlength=len(levels) * elements)
    return found.reshape(len(levels), elements).to(x.dtype)


def _with_quantiles(
    values: Tensor, weight: Tensor, sizes: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The additional row of discrete values that are too many to count: some pooled quantiles.

    They have a size factor of 1.
    """
    seen = values[weight > 0]
    at = torch.linspace(0, 1, max(5, min(65, len(values) // 4)))
    pooled = seen.sort().values[(at * (len(seen) - 1)).long()][:, None].expand(-1, values.shape[1])
    sizes = None if sizes is None else torch.cat([sizes, sizes.new_ones(len(at))])
    weight = torch.cat([weight, torch.full_like(pooled, 1 / len(at))])
    return torch.cat([values, pooled]), weight, sizes


def _spread(values: Tensor, width: float, support: Any) -> tuple[Tensor, Tensor]:
    """Values to either side within the support: at most halfway to its end."""
    below, above = values - width, values + width
    low = getattr(support, "lower_bound", None)
    high = getattr(support, "upper_bound", None)
    if isinstance(support, constraints.interval | constraints.greater_than) and low is not None:
        below = torch.maximum(below, (values + low) / 2)
    if isinstance(support, constraints.interval) and high is not None:
        above = torch.minimum(above, (values + high) / 2)
    return below, above
