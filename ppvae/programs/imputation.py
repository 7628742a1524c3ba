"""Imputation of missing entries: p(x_missing | x_observed), by importance sampling.

Given z the elements of x are independent, so that the missing ones have the mean E[x_missing | z]
whatever was observed. The observed ones determine which z are likely: draws from the guide are
weighted by p(x_observed, z) / q(z | x), as for log p(x) itself.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppvae.data import Split
from ppvae.distributions.per_column import PerColumn
from ppvae.errors import InputError, check_at_least
from ppvae.programs import Pair, evaluating
from ppvae.programs.densities import Densities
from ppvae.programs.facts import Audit
from ppvae.programs.sites import base
from ppvae.programs.streams import Stream
from ppvae.programs.weighted_moments import WeightedMoments

CHUNK = 2**22
"""Elements of x times draws held at once: 16 MiB of float32 per tensor of that shape."""


@dataclass(frozen=True)
class Imputation:
    """Missing entries, filled in: ``(data, *shape)`` each, on the CPU, in the scale of x.

    Attributes:
        x: E[x_missing | x_observed], and the observed entries unchanged. For zeros and ones, or
            classes, this is an expected value that x cannot take; possible values are in ``draws``.
            For a category of a mixed table it is the most probable level given the observed
            entries, and ``scale`` and ``error`` are those of the number of the level.
        scale: standard deviation of p(x_missing | x_observed), per entry; 0 where observed.
        error: standard error of ``x`` from the draws of z, by the delta method; 0 where
            observed. It is unreliable where few weights dominate: see ``ess``.
        draws: completed data sets, ``(draws, data, *shape)``, in which the missing entries of a
            datum are drawn from p(x_missing | x_observed) together: multiple imputations.
        mask: True where x was observed.
        ess: effective sample size of each datum's weights, (sum w)^2 / sum w^2, from 1 to
            ``samples``: ``(data,)``; NaN where nothing is missing.
        samples: K, draws of z for each datum.
    """

    x: Tensor
    scale: Tensor
    error: Tensor
    draws: Tensor
    mask: Tensor
    ess: Tensor
    samples: int


def impute(
    pair: Pair,
    audit: Audit,
    split: Split,
    *,
    samples: int = 1000,
    draws: int = 5,
    batch_size: int = 128,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
) -> Imputation:
    """Impute missing entries; a function of ``seed``, which leaves all arguments unchanged.

    With z_1, ..., z_K drawn from q(z | x) and w_k = p(x_observed, z_k) / q(z_k | x)::

        E[x_missing | x_observed] = sum_k w_k E[x_missing | z_k] / sum_k w_k,

    in the limit of many draws (MIWAE; Mattei and Frellsen, 2019). The variance is the weighted mean
    of Var[x_missing | z_k] and the weighted variance of E[x_missing | z_k] together. An imputation
    is a draw from p(x | z_k) with k drawn by its weight (sampling-importance-resampling; Rubin,
    1987), one k for all entries of a datum. Where the family of p(x | z) has no known mean, a draw
    replaces it; where it has no known variance, the squared distance of a draw from the mean.

    Draws are taken in chunks of bounded size, so that memory does not grow with ``samples``.

    Args:
        pair: model and guide.
        audit: the audit of the pair.
        split: the data.
        samples: K, draws of z for each datum with missing entries.
        draws: number of imputations.
        batch_size: data per batch.
        seed: of the draws.
        device: the device of the pair.
        on_rows: called with the number of data of each batch, for a progress bar.

    Raises:
        InputError: if nothing is missing; if the model does not name ``mask``; for a guide with a
            point mass, which has no weights; if no single site observes all of x.
    """
    check_at_least(1, samples=samples)
    check_at_least(0, draws=draws)
    split = split.frozen(seed)
    imputed, holed = _unfilled(split, samples, draws)
    if "mask" not in pair.names("model"):
        raise InputError(
            "the model does not name 'mask' in its signature, so that it would take missing "
            "entries for observed ones; take it in the model, as ppvae.models.observe does"
        )
    site = audit.data_site
    on_rows(len(split) - len(holed))
    device = torch.device(device)
    with evaluating(pair), Stream.IMPUTATION.drawn(seed, device) as noise:
        batches = split.batches(holed.split(batch_size), device=device)
        for number, (rows, batch) in enumerate(zip(holed.split(batch_size), batches, strict=True)):
            noise.at(number)
            x, mask = batch["x"], batch["mask"]
            weighted, levels = _weighted(Densities(pair, audit, batch), site, samples, draws)
            size = x[0].numel()
            every, *rest = weighted.moments()
            mean = _at_levels(every, size, levels).view_as(x).to(x)
            scale, error = (value[:, :size].view_as(x).to(x) for value in rest)
            chosen = weighted.chosen[..., :size].view(draws, *x.shape).to(x)
            imputed.x[rows] = torch.where(mask, x, mean).cpu()
            imputed.scale[rows] = scale.where(~mask, 0).cpu()
            imputed.error[rows] = error.where(~mask, 0).cpu()
            imputed.draws[:, rows] = torch.where(mask, x, chosen).cpu()
            imputed.ess[rows] = weighted.ess.to(x).cpu()
            on_rows(len(rows))
    return imputed


def _unfilled(split: Split, samples: int, draws: int) -> tuple[Imputation, Tensor]:
    """The data unchanged, and the numbers of the rows with missing entries."""
    batches = list(split.chunks(4096)) if "mask" in split.extra_names else []
    holed = torch.cat([~b["mask"].flatten(1).all(1) for b in batches] or [torch.zeros(0)])
    if not holed.any():
        raise InputError(
            "no entry of the data is missing, so that there is nothing to impute; give data with "
            "a mask that is True where x was observed: an .npz of x and mask"
        )
    x, mask = (torch.cat([batch[name].cpu() for batch in batches]) for name in ("x", "mask"))
    nothing = torch.zeros_like(x)
    imputed = Imputation(
        x, nothing, nothing.clone(), x.repeat(draws, *(1,) * x.dim()), mask,
        x.new_full((len(x),), math.nan), samples,
    )  # fmt: skip
    return imputed, holed.nonzero()[:, 0].cpu()


def _weighted(
    densities: Densities, site: str, samples: int, draws: int
) -> tuple[WeightedMoments, Mapping[int, int]]:
    """Moments of x from ``samples`` draws of z, in chunks of bounded size.

    Where columns of x are categories, the probabilities of their levels follow the elements of x;
    the mapping gives the number of levels of each such column.
    """
    x, weighted = densities.batch["x"], WeightedMoments(draws)
    levels: Mapping[int, int] = {}
    at_once = max(1, CHUNK // x.numel())
    for start in range(0, samples, at_once):
        with _Reading(site) as reading:
            drawn = densities.draw(min(at_once, samples - start))
        weighted.add(drawn.log_weight, *reading.moments(x.shape))
        levels = reading.levels
    return weighted, levels


def _at_levels(mean: Tensor, size: int, levels: Mapping[int, int]) -> Tensor:
    """Means of the elements of x, and the most probable level of categories: ``(data, size)``."""
    elements, *probs = mean.split([size, *levels.values()], -1)
    found: Tensor = elements.clone()
    for column, each in zip(levels, probs, strict=True):
        found[:, column] = each.argmax(-1).to(found)
    return found


class _Reading(Messenger):
    """Records p(x | z) in every call of the model."""

    def __init__(self, site: str) -> None:
        super().__init__()
        self.site = site
        self.families: list[Any] = []

    def _pyro_post_sample(self, msg: Any) -> None:
        if msg["name"] == self.site:
            self.families.append(msg["fn"])

    @property
    def levels(self) -> Mapping[int, int]:
        """The number of levels of each column of x that is a category."""
        return {column: probs.shape[-1] for column, probs in _levels(self.families[0]).items()}

    def moments(self, shape: torch.Size) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and variance of p(x | z), and a draw: ``(particles, data, elements)`` each.

        The probabilities of levels follow the means; given z they have no variance.
        """
        parts = [_moments(fn) for fn in self.families]
        mean, variance, drawn = (
            torch.cat([value.reshape(-1, *shape).flatten(2) for value in values])
            for values in zip(*parts, strict=True)
        )
        if not self.levels:
            return mean, variance, drawn
        each = [torch.cat([*_levels(fn).values()], -1) for fn in self.families]
        probs = torch.cat([value.reshape(-1, shape[0], value.shape[-1]) for value in each])
        nothing = torch.zeros_like(probs)
        return (
            torch.cat([mean, probs], -1),
            torch.cat([variance, nothing], -1),
            torch.cat([drawn, nothing], -1),
        )


def _levels(fn: Any) -> dict[int, Tensor]:
    elements = base(fn)
    return elements.levels if isinstance(elements, PerColumn) else {}


def _moments(fn: Any) -> tuple[Tensor, Tensor, Tensor]:
    drawn = fn.sample()
    try:
        mean = fn.mean.expand(drawn.shape)
    except NotImplementedError:  # over many draws of z, draws of x have the same mean and variance
        return drawn, torch.zeros_like(drawn), drawn
    try:
        variance = fn.variance.expand(drawn.shape)
    except NotImplementedError:
        variance = (drawn - mean).square()
    return mean, variance, drawn
