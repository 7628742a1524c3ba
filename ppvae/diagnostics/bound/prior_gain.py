"""Gain of a better prior: a density fitted to the codes of other data replaces the prior.

With encoder and decoder fixed, the bound would rise by E[log r(z) - log p(z)] if r were the prior.
On data that r was not fitted to, this is a lower bound on the gain of a learned prior (Hoffman and
Johnson, 2016; Tomczak and Welling, 2018, for priors of that kind).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.data import Split
from ppvae.diagnostics.bound.codes import Codes, draw_codes
from ppvae.diagnostics.bound.site_terms import Traced
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.distributions.batch_mixture import BatchMixture
from ppvae.distributions.fitting import fit_normals
from ppvae.distributions.support import elements_of
from ppvae.errors import InputError, check_at_least
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.streams import Stream, generator

COMPONENTS = (1, 10, 50)
"""Numbers of components to try."""

FITTED = 20_000
"""Maximum number of codes to fit the density to; of fewer data, several codes each. A quarter of
them missed the gain of another prior on the digits.
"""

PER_DATUM = 10
"""Maximum number of codes per datum."""

CHOOSING = 30
"""Maximum number of iterations of the fits that select the number of components."""

HELD_OUT = 0.25
"""Share of the fitting data that selects the number of components."""


@dataclass(frozen=True)
class PriorGain:
    """Gain of a mixture of normals as the prior.

    Attributes:
        gain: E_q[log r(z) - log p(z)] of each examined datum, ``(data,)``, in nats.
        components: normals in r; 0 if no mixture was better than the prior on the selection data:
            then r is the prior, and the gain 0.
        scores: mean gain, in nats, of each number of components on the selection data.
        fitted: number of codes that r was fitted to.
        draws: draws per datum for the expectation.
    """

    gain: Tensor
    components: int
    scores: dict[int, float]
    fitted: int
    draws: int

    @property
    def mean(self) -> float:
        """Mean gain of the bound over data, in nats per datum."""
        return self.estimate.mean

    @property
    def standard_error(self) -> float:
        """Standard error of `mean` over data, including the noise of draws."""
        return self.estimate.standard_error

    @property
    def estimate(self) -> Estimate:
        """Mean and standard error over data."""
        return Estimate.of(self.gain)


def prior_gain(
    pair: Pair,
    audit: Audit,
    train: Split,
    split: Split,
    *,
    components: Sequence[int] = COMPONENTS,
    codes: int = FITTED,
    draws: int = 4,
    batch_size: int = 512,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
) -> PriorGain:
    """Fit a mixture of normals (full covariances) to codes of ``train``; measure it on ``split``.

    The number of components is the one whose fit to three quarters of the training data is best on
    the codes of the last quarter; the mixture is then fitted to all codes. A prior that depends on
    the data (by labels, for example) is compared with an r that does not.

    Args:
        pair: model and guide.
        audit: their audit.
        train: data to fit the density to: not the examined ones, preferably the training data of
            the pair.
        split: the examined data.
        components: numbers of normals to try.
        codes: maximum number of codes to fit the density to.
        draws: draws z ~ q(z | x) per examined datum.
        batch_size: data at a time.
        seed: seed of the draws and fits.
        device: where the pair is; the density is fitted on the CPU.
        on_rows: called with the number of codes drawn in each batch of both splits, for a progress
            bar.

    Raises:
        InputError: if q(z | x) has no density per datum (see `draw_codes`), for latents that are
            not real-valued, for the same data twice, for fewer than 8 training data, and for
            numbers of components or draws below 1.
    """
    check_at_least(1, draws=draws, codes=codes)
    _check(train, split, components)
    device, train, split = torch.device(device), train.frozen(seed), split.frozen(seed)
    _check_support(pair, audit, split, seed, device)
    count = min(codes, PER_DATUM * len(train))
    one, other = (Stream.PRIOR_GAIN.seed(seed, which) for which in range(2))
    fitting = draw_codes(
        pair, audit, train, draws=count, batch_size=batch_size, seed=one, device=device,
        on_rows=on_rows,
    )  # fmt: skip
    examined = draw_codes(
        pair, audit, split, draws=draws * len(split), batch_size=batch_size, seed=other,
        device=device, on_rows=on_rows,
    )  # fmt: skip
    scores = _scores(fitting, components, seed)
    best = max(scores, key=lambda k: scores[k], default=0)
    gains = torch.zeros(draws * len(split), dtype=torch.float64)
    if scores.get(best, 0.0) > 0:
        density = fit_normals(_matrix(fitting), best, seed)
        gains = _log_prob(density, _matrix(examined)) - examined.log_prior
    else:
        best = 0
    by_datum = torch.zeros(len(split), dtype=torch.float64)
    by_datum.index_add_(0, examined.rows, gains / draws)
    return PriorGain(by_datum, best, scores, count, draws)


def _check(train: Split, split: Split, components: Sequence[int]) -> None:
    if not components or min(components) < 1:
        raise InputError(f"components is {tuple(components)}; give numbers of at least 1")
    if train is split:
        raise InputError(
            "train and split are the same data, on which any fitted density would gain; give "
            "other data as train"
        )
    if len(train) < 8:
        raise InputError(f"train has {len(train)} data; fitting a density needs at least 8")


def _check_support(pair: Pair, audit: Audit, split: Split, seed: int, device: torch.device) -> None:
    """Refuse latents whose support is not that of a normal."""
    few = {name: value.to(device) for name, value in split.take(torch.arange(1)).items()}
    with evaluating(pair), Stream.PRIOR_GAIN.drawn(seed, device):
        sites = Traced(pair, audit, few, 1).model
    for name in audit.latents:
        support = elements_of(sites[name]["fn"].support)
        if not isinstance(support, type(constraints.real)):
            raise InputError(
                f"latent site '{name}' has the support {support}, but the density that replaces "
                "the prior needs real-valued latents"
            )


def _matrix(codes: Codes) -> Tensor:
    """All latents concatenated: ``(draws, dimensions)``, float64."""
    return torch.cat(list(codes.columns.values()), 1).double()


def _scores(codes: Codes, components: Sequence[int], seed: int) -> dict[int, float]:
    """Mean gain of each number of components on data held out of its fit."""
    z, data = _matrix(codes), codes.rows.unique()
    order = torch.randperm(len(data), generator=generator(seed % 2**32))
    held_out = torch.isin(codes.rows, data[order[: max(1, math.ceil(HELD_OUT * len(data)))]])
    scores = {}
    for number in sorted(set(components)):
        if number > int((~held_out).sum()):
            continue
        density = fit_normals(z[~held_out], number, seed, iterations=CHOOSING)
        gains = _log_prob(density, z[held_out]) - codes.log_prior[held_out]
        scores[number] = float(gains.mean())
    return scores


def _log_prob(density: BatchMixture, z: Tensor) -> Tensor:
    return torch.cat([density.log_prob(part) for part in z.split(4096)])
