"""Predictive checks: statistics of the data and of data sets drawn from the model.

Data sets of the size of the real one are drawn from the model, and a few statistics are computed
for each: if a statistic of the real data is outside the range of the replicated ones, the model
misses that feature. Calibration, by contrast, tests the guide against the model.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import torch
from torch import Tensor

from ppvae.data import Batch, Split
from ppvae.diagnostics.shared.simulation import simulate
from ppvae.errors import InputError, check_at_least
from ppvae.programs import Pair, evaluating
from ppvae.programs.densities import Densities
from ppvae.programs.facts import Audit
from ppvae.programs.streams import Stream

Kind = Literal["prior", "posterior"]
"""Distribution of z: p(z), for new data, or q(z | x), for each datum again."""

Statistic = Callable[[Tensor], Tensor | float]
"""A function from a data set, ``(data, *shape)``, to one number; NaN if undefined."""


@dataclass(frozen=True)
class OfColumn:
    """A statistic of the observed cells of one column.

    Attributes:
        place: the column.
        of: a function from the observed cells, ``(cells,)``, to one number.
    """

    place: int
    of: Statistic

    def __call__(self, x: Tensor) -> Tensor | float:
        """The statistic of a table with NaN in its hidden cells."""
        values = x[:, self.place]
        return self.of(values[~values.isnan()])


ELBO = "elbo"
"""Name of the statistic that the model supplies."""

MISFIT = 4.0
"""Standard deviations beyond which a statistic does not fit."""

HELD = 2**24
"""Maximum size of real, and of replicated, data in memory: 64 MiB of float32 each."""


def mean(x: Tensor) -> Tensor:
    """Mean of all elements."""
    return x.mean()


def scale(x: Tensor) -> Tensor:
    """Standard deviation of all elements."""
    return x.std()


def scale_within(x: Tensor) -> Tensor:
    """Mean standard deviation of the elements of a datum: the contrast of images."""
    return x.flatten(1).std(1, correction=0).mean()  # of one element, 0


def scale_between(x: Tensor) -> Tensor:
    """Standard deviation of the means of data: differences in brightness of images."""
    return x.flatten(1).mean(1).std()


def zeros(x: Tensor) -> Tensor:
    """Share of elements that are exactly 0; in a check, of those that vary over the real data."""
    return (x == 0).to(x.dtype).mean()


def smallest(x: Tensor) -> Tensor:
    """Smallest element."""
    return x.min()


def largest(x: Tensor) -> Tensor:
    """Largest element."""
    return x.max()


def correlation(x: Tensor) -> Tensor:
    """Pooled correlation of neighbours in the last dimension: pixels in a row, or columns.

    The mean of each element over data is subtracted, so that the shape of the average datum does
    not matter. NaN if there are no neighbours, or nothing varies.
    """
    centred = x - x.mean(0)
    left, right = centred[..., :-1], centred[..., 1:]
    return (left * right).sum() / (left.square().sum() * right.square().sum()).sqrt()


STATISTICS: Mapping[str, Statistic] = MappingProxyType(
    {
        "mean": mean,
        "scale": scale,
        "scale within a datum": scale_within,
        "scale between data": scale_between,
        "share of zeros": zeros,
        "smallest": smallest,
        "largest": largest,
        "correlation of neighbours": correlation,
    }
)
"""Statistics for discrete and continuous data; add others by ``{**STATISTICS, name: f}``."""


@dataclass(frozen=True)
class Replicated:
    """One statistic of the real data and of each replicated data set.

    Attributes:
        observed: value for the real data.
        replicated: values for the replicated ones, ``(replications,)``, float64.
    """

    observed: float
    replicated: Tensor

    @property
    def p_value(self) -> float:
        """Two-sided p-value of the observed value.

        With R replications it is 2 min(1 + #{T_r >= T}, 1 + #{T_r <= T}) / (R + 1), at most 1, and
        so at least 2 / (R + 1).
        """
        r = len(self.replicated)
        above = 1 + int((self.replicated >= self.observed).sum())
        below = 1 + int((self.replicated <= self.observed).sum())
        return min(1.0, 2 * min(above, below) / (r + 1))

    @property
    def z_score(self) -> float:
        """Observed value minus the mean of replicated ones, in standard deviations of a new one.

        Infinite if the replicated values are all equal and differ from the observed one, or if one
        of them is NaN.
        """
        off = self.observed - float(self.replicated.mean())
        if off == 0:
            return 0.0
        spread = float(self.replicated.std()) * math.sqrt(1 + 1 / len(self.replicated))
        return off / spread if spread > 0 else math.copysign(math.inf, off)


@dataclass(frozen=True)
class PositiveColumn:
    """A column without negative values, in the data and in replicated data sets.

    Attributes:
        name: the column.
        negative_share: share of negative values among the observed cells.
        skewness: skewness of the observed cells.
    """

    name: str
    negative_share: Replicated
    skewness: Replicated


@dataclass(frozen=True)
class Predictive:
    """Statistics of real data and of data from the model.

    Attributes:
        kind: ``"prior"``: x ~ p(x | z) at z ~ p(z), new data from the model. For a correct model
            p-values are uniform (apart from weights fitted to the same data). Or ``"posterior"``: x
            ~ p(x | z) at z ~ q(z | x), each datum again. Here the data are used twice, and p-values
            are conservative: a model may pass that does not generate such data, but a failed
            statistic shows a fault of reconstruction.
        statistics: by name; undefined ones are left out. ``"elbo"``, in nats per datum, is included
            if the guide has a density: one draw of the bound per datum. Real data far below
            simulated ones are unexpected for the model or its guide.
        rows: number of data in each data set.
        positive: the columns without negative values that were asked for.
    """

    kind: Kind
    statistics: dict[str, Replicated]
    rows: int
    positive: tuple[PositiveColumn, ...] = ()

    @property
    def by_distance(self) -> dict[str, Replicated]:
        """The statistics, that of the largest distance from the model's first."""
        return dict(sorted(self.statistics.items(), key=lambda each: -abs(each[1].z_score)))

    @property
    def replications(self) -> int:
        """Number of replicated data sets; 0 if no statistic is defined."""
        return max((len(s.replicated) for s in self.statistics.values()), default=0)

    def misfits(self, threshold: float = MISFIT) -> tuple[str, ...]:
        """Names of the statistics that deviate by more than ``threshold``, worst first.

        Args:
            threshold: in standard deviations, which for a few dozen replications are more
                informative than p-values. Of ten correct statistics, one exceeds 4 in about 1 of
                500 checks with 50 replications, if they are about normal; extremes often are not.
        """
        return tuple(name for name, s in self.by_distance.items() if abs(s.z_score) > threshold)

    @property
    def verdict(self) -> str:
        """The answer in a sentence."""
        made = "new data" if self.kind == "prior" else "reconstructed data"
        misfits = self.misfits()
        if not misfits:
            return (
                f"all {len(self.statistics)} statistics of the data are within {MISFIT:g} standard "
                f"deviations of those of the model's {made}"
            )
        misfit = ", ".join(
            f"{name} ({s.observed:.4g} in the data, {float(s.replicated.mean()):.4g} +- "
            f"{float(s.replicated.std()):.2g} in the model's)"
            for name in misfits[:3]
            for s in [self.statistics[name]]
        )
        rest = f", and {len(misfits) - 3} more" if len(misfits) > 3 else ""
        return f"the model's {made} differ from the data in {misfit}{rest}"


def check(
    pair: Pair,
    audit: Audit,
    split: Split,
    *,
    kind: Kind = "prior",
    replications: int = 50,
    statistics: Mapping[str, Statistic] = STATISTICS,
    positive: Mapping[str, tuple[int, float]] = MappingProxyType({}),
    rows: int = 2000,
    batch_size: int = 512,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
) -> Predictive:
    """Compare data with data sets drawn from the model.

    Each replicated data set has the rows, labels, covariates and masks of the real one; only one is
    in memory at a time, and only its statistics are kept.

    Args:
        pair: model and guide.
        audit: their audit.
        split: the real data.
        kind: ``"prior"`` for new data, ``"posterior"`` for each datum again.
        replications: number of replicated data sets, at least 2.
        statistics: by name, functions from ``(data, *shape)`` to a number. Hidden entries are equal
            in real and replicated data; `OfColumn` leaves them out.
        positive: columns of a table without negative values, by name: the place of each, and the
            value of x below which it is negative.
        rows: maximum number of data, evenly spread over the split; fewer if they are large.
        batch_size: data per batch.
        seed: seed of all draws.
        device: where the programs are.
        on_rows: called with the number of data in each batch, ``replications`` times per datum.

    Raises:
        InputError: for fewer than 2 replications or data, an unknown kind, a statistic named
            ``"elbo"``, latents shared by all data, or a model that cannot be simulated, see
            `ppvae.diagnostics.shared.simulation.simulate`.

    Source: Gelman, Meng and Stern, Posterior Predictive Assessment of Model Fitness, 1996; Gabry
    et al., Visualization in Bayesian Workflow, 2019.
    """
    _check(audit, kind, replications, statistics)
    device = torch.device(device)
    count = min(rows, len(split), max(2, HELD // math.prod(split.shape)))
    if count < 2:
        raise InputError(f"a check compares data sets, but rows is {count}; give at least 2")
    index = torch.arange(count) * len(split) // count
    with evaluating(pair), Stream.PREDICTIVE.drawn(seed, device) as noise:
        # Read once, since reading may binarize again: these are the compared data.
        real = list(split.batches(list(index.split(batch_size)), device=device))
        statistics = _where_they_vary(statistics, torch.cat([batch["x"] for batch in real]))
        observed = _values(pair, audit, real, statistics)
        replicated: list[dict[str, float]] = []
        shapes = [_shapes(real, positive)]
        for replication in range(replications):
            simulated = []
            for number, batch in enumerate(real):
                noise.at(replication, number)
                is_first = replication == number == 0
                z = Densities(pair, audit, batch).draw(1).latents if kind == "posterior" else None
                simulated.append(simulate(pair, audit, batch, latents=z, check=is_first)[0])
                on_rows(len(batch["x"]))
            replicated.append(_values(pair, audit, simulated, statistics))
            shapes.append(_shapes(simulated, positive))
    shares, skewed = torch.stack(shapes, -1)
    return Predictive(
        kind,
        {
            name: Replicated(
                value, torch.tensor([values[name] for values in replicated], dtype=torch.float64)
            )
            for name, value in observed.items()
            if not math.isnan(value)
        },
        count,
        tuple(
            PositiveColumn(
                name, *(Replicated(float(of[place, 0]), of[place, 1:]) for of in (shares, skewed))
            )
            for place, name in enumerate(positive)
        ),
    )


def _check(audit: Audit, kind: str, replications: int, statistics: Mapping[str, Statistic]) -> None:
    if kind not in get_args(Kind):
        raise InputError(f"kind is '{kind}'; it must be 'prior' or 'posterior'")
    check_at_least(2, replications=replications)
    if ELBO in statistics:
        raise InputError(
            f"a statistic is named '{ELBO}', which is reserved for the bound; rename it"
        )
    if not audit.is_local:
        raise InputError(
            "replicated data are drawn for each datum separately, but here some latents are "
            "shared by all data, or there is no plate of the data"
        )


def _where_they_vary(statistics: Mapping[str, Statistic], x: Tensor) -> Mapping[str, Statistic]:
    """Zeros of elements that vary over the data, without padding."""
    varies = (x != x[0]).any(0)
    return {
        name: (lambda every: zeros(every[:, varies])) if statistic is zeros else statistic
        for name, statistic in statistics.items()
    }


def _values(
    pair: Pair, audit: Audit, batches: list[Batch], statistics: Mapping[str, Statistic]
) -> dict[str, float]:
    """All statistics of one data set."""
    x = torch.cat([batch["x"] for batch in batches])
    seen = observed_x(batches)
    values = {
        name: float(statistic(seen if isinstance(statistic, OfColumn) else x))
        for name, statistic in statistics.items()
    }
    if audit.is_bound:
        total = sum(
            float(Densities(pair, audit, batch).draw(1).log_weight.sum()) for batch in batches
        )
        if math.isnan(total):
            raise InputError(
                "the bound is not a number on data of the split, or of the model; take another "
                "checkpoint"
            )
        values[ELBO] = total / len(x)
    return values


def observed_x(batches: Iterable[Batch]) -> Tensor:
    """The x of these batches, with NaN in its hidden entries."""
    return torch.cat(
        [torch.where(b["mask"], b["x"], torch.nan) if "mask" in b else b["x"] for b in batches]
    )


def skewness(x: Tensor) -> Tensor:
    """Skewness over the first dimension, without NaN."""
    centred = x.double() - x.double().nanmean(0)
    return centred.pow(3).nanmean(0) / centred.square().nanmean(0).pow(1.5)


def _shapes(batches: list[Batch], positive: Mapping[str, tuple[int, float]]) -> Tensor:
    """Negative share and skewness of the observed cells, ``(2, columns)``, float64."""
    if not positive:
        return torch.zeros(2, 0, dtype=torch.float64)
    places, zeros = zip(*positive.values(), strict=True)
    x = observed_x(batches)[:, list(places)]
    below = (x < x.new_tensor(zeros)).sum(0) / (~x.isnan()).sum(0)
    return torch.stack([below.double(), skewness(x)]).cpu()
