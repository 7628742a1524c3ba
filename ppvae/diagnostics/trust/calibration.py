"""Simulation-based calibration of the guide, by ranks.

For a pair (z, x) drawn from the model, z is a draw from the exact posterior of x. If the guide is
that posterior, all ranks of z among draws from q(z | x) are equally likely. An amortized guide
gives q(z | x) for simulated data too, so nothing is refitted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppvae.data import Split
from ppvae.diagnostics.trust.ranks import ranks_of
from ppvae.errors import InputError, check_at_least
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.streams import Stream

LARGE = 3.0
"""Minimum deviation of a moment of the ranks, in standard errors, to be named in the verdict."""


@dataclass(frozen=True)
class Calibration:
    """Ranks of latents drawn with the data among draws from the guide.

    This tests the guide as the posterior *of the model*, on data *from the model*. It does not test
    how well the model fits real data, nor the guide on data unlike the model's: a guide can pass
    under a bad model. See `ppvae.diagnostics.model` for that.

    A guide can also pass in each dimension without using x: the prior is calibrated on average over
    data. log p(x, z) detects that; log q(z | x) detects a factorized guide for a correlated
    posterior, to which log p(x, z) is nearly blind if the guide was fitted by the ELBO.

    Attributes:
        names: names of the quantities: ``"z[0]"``, ``"z[1]"``, ... for the dimensions of each
            latent site (``"z"`` where it has one), and then those of `JOINT`; log q(z | x) is left
            out where the guide has auxiliary sites, whose values for a simulated z are not known.
        sites: the site that each quantity is a dimension of, ``""`` for those of `JOINT`.
        pit: normalized ranks, ``(simulations, quantities)``, float64, in (0, 1): with L draws,
            m of them below and n of them equal to the simulated value, (m + u (n + 1)) / (L + 1)
            with u ~ Uniform(0, 1). So drawn, they are exactly uniform if the guide is the
            posterior, for discrete quantities too.
        p_values: p-values of uniform ranks, ``(quantities,)``, by ArviZ's test of ordered values
            (``pot_c``). Only small ones are meaningful (none exceeds 1/2).
        draws: L.
        level: approximate maximum probability of rejecting a calibrated guide, over all quantities.
    """

    names: tuple[str, ...]
    sites: tuple[str, ...]
    pit: Tensor
    p_values: Tensor
    draws: int
    level: float

    @property
    def simulations(self) -> int:
        """Number of simulated pairs (z, x)."""
        return len(self.pit)

    @property
    def adjusted(self) -> Tensor:
        """The p-values times their number, at most 1 (Bonferroni): ``(quantities,)``."""
        return (self.p_values * len(self.names)).clamp(max=1.0)

    @property
    def p_value(self) -> float:
        """The smallest of `adjusted`: that of the hypothesis that the guide is calibrated."""
        return float(self.adjusted.min())

    @property
    def is_calibrated(self) -> bool:
        """Whether calibration is not rejected at `level`."""
        return self.p_value >= self.level

    @property
    def location(self) -> Tensor:
        """Mean rank minus 1/2, in standard errors: ``(quantities,)``.

        Above zero, simulated values are above the draws of the guide. A uniform rank has variance
        1/12.
        """
        return (self.pit.mean(0) - 0.5) * math.sqrt(12 * self.simulations)

    @property
    def spread(self) -> Tensor:
        """Variance of the ranks minus 1/12, in standard errors: ``(quantities,)``.

        Above zero, ranks pile up at both ends: simulated values lie outside the draws more often
        than they should. The squared deviation of a uniform rank has variance 1/180.
        """
        return (self.pit.var(0) - 1 / 12) * math.sqrt(180 * self.simulations)

    @property
    def shapes(self) -> tuple[str, ...]:
        """Kind of deviation of the ranks of each quantity.

        ``"uniform"`` if `adjusted` is not below `level`. Else, for a dimension of z, ``"shifted"``,
        ``"too narrow"`` or ``"too wide"`` (the guide, on average over data: errors of location in
        both directions make it too narrow), or ``"shifted, too narrow"``. For a quantity of
        `JOINT`, a log-density, ``"too high"`` or ``"too low"``: at draws of the guide compared with
        latents of the posterior. ``"uneven"`` if neither moment shows how.
        """
        return tuple(
            "uniform" if p >= self.level else _marginal(at, by) if site else _density(at)
            for p, at, by, site in zip(
                self.adjusted.tolist(),
                self.location.tolist(),
                self.spread.tolist(),
                self.sites,
                strict=True,
            )
        )

    @property
    def by_site(self) -> dict[str, Tensor]:
        """The ranks for ArviZ's ``plot_ecdf_pit``, in a group ``prior_sbc``.

        By site ``(simulations, dimensions)``, and by name ``(simulations,)`` for each of `JOINT`.
        """
        ranks: dict[str, Tensor] = {}
        for site in dict.fromkeys(site for site in self.sites if site):
            ranks[site] = self.pit[:, [i for i, s in enumerate(self.sites) if s == site]]
        for i, (name, site) in enumerate(zip(self.names, self.sites, strict=True)):
            if not site:
                ranks[name] = self.pit[:, i]
        return ranks

    @property
    def verdict(self) -> str:
        """The answer in a sentence."""
        if self.is_calibrated:
            return (
                f"{self.simulations:,} simulations find nothing against the guide as the model's "
                f"posterior ({_p(self.p_value)})"
            )
        groups: dict[str, list[str]] = {}
        for name, shape in zip(self.names, self.shapes, strict=True):
            if shape != "uniform":
                groups.setdefault(shape, []).append(name)
        faults = "; ".join(f"{_some(names)} {shape}" for shape, names in groups.items())
        return (
            f"the guide is not the model's posterior, by {self.simulations:,} simulations "
            f"({_p(self.p_value)}): {faults}"
        )


def calibrate(
    pair: Pair,
    audit: Audit,
    split: Split,
    *,
    simulations: int = 500,
    draws: int = 99,
    level: float = 0.05,
    batch_size: int = 128,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
) -> Calibration:
    """Rank latents simulated with their data among draws from the guide given those data.

    With N simulations, the standard error of a mean rank is 0.29 / sqrt(N).

    Args:
        pair: model and guide.
        audit: their audit.
        split: rows for the shape of x, and for labels, covariates and masks; evenly spread over it,
            with repetitions if there are too few.
        simulations: N, pairs (z, x) drawn from the model, one per row.
        draws: L, draws from q(z | x) for each; there are L + 1 ranks.
        level: approximate maximum probability of rejecting a calibrated guide.
        batch_size: simulations per batch; draws are made in chunks of bounded size.
        seed: seed of all draws.
        device: where the programs are.
        on_rows: called with the number of simulations in each batch, for a progress bar.

    Raises:
        InputError: for fewer than 2 simulations or 1 draw, a guide with a point mass, latents
            shared by all data, a density that is NaN, or a model that cannot be simulated, see
            `ppvae.diagnostics.shared.simulation.simulate`.

    Source: Talts et al., Validating Bayesian Inference Algorithms with Simulation-Based
    Calibration, 2018; Modrák et al., Simulation-Based Calibration Checking for Bayesian
    Computation: The Choice of Test Quantities Shapes Sensitivity, 2023, on those of `JOINT`; for
    the test of uniformity, Säilynoja, Bürkner and Vehtari, 2022, and ArviZ's
    ``uniformity_test``, method ``pot_c``.
    """
    _check(audit, simulations, draws, level)
    device = torch.device(device)
    # Evenly spread over the rows, as a split may be sorted by label.
    chunks = (torch.arange(simulations) * len(split) // simulations).split(batch_size)
    labels: list[tuple[str, str]] = []
    pit: list[Tensor] = []
    with evaluating(pair), Stream.CALIBRATION.drawn(seed, device) as noise:
        for number, batch in enumerate(split.batches(list(chunks), device=device)):
            noise.at(number)
            below, equal, labels = ranks_of(pair, audit, batch, draws, check=number == 0)
            # On the CPU, whatever the device: not all of them have float64.
            u = torch.rand(below.shape, dtype=torch.float64)
            pit.append((below + u * (equal + 1)) / (draws + 1))
            on_rows(len(below))
    ranks = torch.cat(pit).clamp(1e-12, 1 - 1e-12)
    return Calibration(
        names=tuple(name for name, _ in labels),
        sites=tuple(site for _, site in labels),
        pit=ranks,
        p_values=_uniformity(ranks),
        draws=draws,
        level=level,
    )


def _check(audit: Audit, simulations: int, draws: int, level: float) -> None:
    check_at_least(2, simulations=simulations)
    check_at_least(1, draws=draws)
    if not 0 < level < 1:
        raise InputError(f"level is {level}; it must be a probability, above 0 and below 1")
    if not audit.is_bound:
        raise InputError(
            "a guide with a point mass has no calibration; take one with a density, such as "
            "MeanField"
        )


def _uniformity(pit: Tensor) -> Tensor:
    """The p-value of each column of normalized ranks."""
    from arviz_stats.base.array import array_stats

    test: Any = array_stats.uniformity_test
    p_values, _, _ = test(pit.numpy(), axis=0)
    return torch.as_tensor(p_values, dtype=torch.float64).reshape(-1)


def _marginal(location: float, spread: float) -> str:
    faults = ["shifted"] if abs(location) > LARGE else []
    if spread > LARGE:
        faults.append("too narrow")
    # A shift alone also lowers the variance, but by fewer standard errors.
    if spread < -LARGE and -spread > abs(location):
        faults = ["too wide"]
    return ", ".join(faults) or "uneven"


def _density(location: float) -> str:
    if abs(location) <= LARGE:
        return "uneven"
    return "too high" if location < 0 else "too low"


def _p(value: float) -> str:
    return "p < 1e-6" if value < 1e-6 else f"p = {value:.2g}"


def _some(names: list[str], shown: int = 4) -> str:
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest
