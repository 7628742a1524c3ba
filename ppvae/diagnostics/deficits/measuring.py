"""Gains of other parts: each replaces the fitted one and is trained for a while.

Gains are in the bound that the run maximized, at beta = 1, in nats per datum, on the examined rows.
Guide and encoder can raise it, and so can a part of the model that raises log p(x), so it ranks all
parts. The gain in log p(x) is reported too.

There are two gains. *Held*: only the new part is trained, the others are fixed; the gain is over
the fitted programs. *Along*: from there, all parts are trained jointly for a budget of steps; the
gain is over the fitted programs trained for the same budget, on the same batches in the same order.
So the gain of more steps is called optimization and is not attributed to another part. Weights are
selected on held-out data in both cases, so that no part loses by overfitting.

The error of a gain has two parts: that over the examined rows, and the difference of two such
trainings of the same programs with different order and noise. The best of several candidates is
selected on other data than the examined ones, so that the selection causes no bias.

Gains do not add up: two parts may gain the same nats, or only together.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ppvae.bounds.traits import traits_of
from ppvae.data import Split
from ppvae.diagnostics.answer import Attempts
from ppvae.diagnostics.baselines.whole_numbers import Steps
from ppvae.diagnostics.deficits.candidates import Candidate
from ppvae.diagnostics.deficits.climbing import Climb
from ppvae.diagnostics.deficits.fitted import Fitted, copied, unmoved
from ppvae.diagnostics.deficits.guides import guides
from ppvae.diagnostics.deficits.latents import latents
from ppvae.diagnostics.deficits.likelihoods import likelihoods
from ppvae.diagnostics.deficits.networks import decoders, encoders
from ppvae.diagnostics.deficits.priors import priors
from ppvae.diagnostics.deficits.whole_numbers import Probabilities
from ppvae.diagnostics.evidence.importance_sampling import log_weights
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.errors import InputError
from ppvae.programs import evaluating
from ppvae.programs.streams import Stream

PARTS = ("optimization", "decoder", "likelihood", "prior", "guide", "encoder", "latents")
"""The parts in the order of measurement; also ``"beta"``, if it is not 1."""

MODEL = frozenset({"decoder", "likelihood", "prior", "latents"})
"""Parts that change log p(x), not only the bound."""

SHARE = 0.25
"""Steps that train only the new part, as a share of the steps of joint training."""

STARTED = 2_000
"""Maximum number of training data for the residuals of a likelihood."""


@dataclass(frozen=True)
class Scores:
    """Scores of each examined datum, ``(data,)``, in nats.

    Attributes:
        bound: the bound at beta = 1.
        log_p: log p(x), with as many importance samples as draws.
    """

    bound: Tensor
    log_p: Tensor


@dataclass(frozen=True)
class Measured:
    """The gain of another part.

    Attributes:
        part: the part.
        name: its replacement.
        remedy: the settings to change.
        along: gain of the bound with joint training.
        held: gain of the bound with the others fixed; ``None`` if not measured.
        log_p: gain of log p(x) with joint training; ``None`` for a part that cannot change it.

    The errors of ``along`` and ``log_p`` include the spread of trainings.
    """

    part: str
    name: str
    remedy: str
    along: Estimate
    held: Estimate | None
    log_p: Estimate | None


@dataclass(frozen=True)
class Deficits:
    """The gains of other parts.

    Attributes:
        measured: the gain of each measured part.
        refusals: reasons for the others.
        steps: the budget of each: steps of joint training.
        spread: difference of two trainings of the same programs, in nats per datum.
        rows: number of examined data.
        draws: draws per datum.
    """

    measured: tuple[Measured, ...]
    refusals: Mapping[str, str]
    steps: int
    spread: float
    rows: int
    draws: int


def deficits(
    fitted: Fitted,
    climb: Climb,
    split: Split,
    *,
    beta: float = 1.0,
    draws: int = 20,
    slow: bool = True,
    longer: str = "twice the `epochs`",
    counts: Steps | None = None,
    parts: Iterable[str] = PARTS,
    on_part: Callable[[int], None] = lambda _: None,
) -> Deficits:
    """Measure the gain of another part, for each part.

    Args:
        fitted: the programs, and the bound that they maximized; they are restored.
        climb: the training.
        split: the examined data.
        beta: weight of the KL in the fit. If it is not 1, training at beta = 1 is a part too, and
            the others are measured at it.
        draws: draws per examined datum.
        slow: whether slow candidates are tried too.
        longer: the settings of a longer fit.
        counts: how x is made from counts, if it is; all bounds are then of their probabilities.
        parts: parts to measure, in addition to more steps and beta = 1.
        on_part: called with 1 after each of `PARTS`, for a progress bar.

    Raises:
        InputError: if there is no bound, or none per datum.
    """
    if not fitted.facts.is_bound:
        raise InputError(
            "the guide has a point mass, so there is no bound that another part could raise"
        )
    if not fitted.facts.has_evidence:
        raise InputError(
            "it needs the bound of each datum, but here latents are shared by all data, summed "
            "out, or scaled by the programs"
        )
    ways = _ways(fitted, climb, counts)
    chosen = {part: way for part, way in ways.items() if part in set(parts)}
    measure: AbstractContextManager[Any] = nullcontext()
    if counts is not None:
        measure = Probabilities(fitted.facts.data_site, counts.half, split.shape)
    stream = Stream.DEFICITS.drawn(climb.seed, climb.device)
    with unmoved(fitted.pair), stream, measure:
        return _Measuring(fitted, climb, split, beta, draws, slow, longer).all(chosen, on_part)


def _ways(
    fitted: Fitted, climb: Climb, counts: Steps | None
) -> dict[str, Callable[[], list[Candidate]]]:
    """The candidates of each part."""
    train = climb.train

    def some() -> dict[str, Tensor]:
        rows = Stream.DEFICITS.rows(len(train), STARTED, climb.seed, 2)
        return {name: value.to(climb.device) for name, value in train.take(rows).items()}

    return {
        "decoder": lambda: decoders(fitted),
        "likelihood": lambda: likelihoods(fitted, some(), counts),
        "prior": lambda: priors(fitted, train, climb.seed),
        "guide": lambda: guides(fitted),
        "encoder": lambda: encoders(fitted),
        "latents": lambda: latents(fitted),
    }


@dataclass(frozen=True)
class _Measuring:
    """Measurements of other parts in the programs."""

    fitted: Fitted
    climb: Climb
    split: Split
    beta: float
    draws: int
    slow: bool
    longer: str

    def all(
        self, ways: Mapping[str, Callable[[], list[Candidate]]], on_part: Callable[[int], None]
    ) -> Deficits:
        """The gain of each part, after that of more steps of the same programs."""
        attempt, climb = Attempts(), self.climb
        before = self.scores(self.fitted)
        valid, best = self._continued(climb, self.beta)
        _, again = self._continued(replace(climb, seed=climb.seed + 1), self.beta)
        spread = abs(_mean(again) - _mean(best))
        found = [
            attempt(
                "optimization",
                partial(_optimization, best, before, spread, climb.steps, self.longer),
            )
        ]
        if self.beta != 1:
            better, at_one = self._continued(climb, 1.0)
            found.append(attempt("beta", partial(_beta, at_one, best, spread)))
            best = best if better <= valid else at_one
        networks: list[Scores] = []
        on_part(1)
        for part, candidates in ways.items():
            # More latents come with a larger decoder and encoder.
            base = max([best, *networks], key=_mean) if part == "latents" else best
            outcome = attempt(part, partial(self._part, part, candidates, before, base, spread))
            on_part(1)
            if outcome is None:
                continue
            measured, after = outcome
            found.append(measured)
            if part in ("decoder", "encoder"):
                networks.append(after)
        return Deficits(
            tuple(each for each in found if each is not None), attempt.refusals,
            climb.steps, spread, len(self.split), self.draws,
        )  # fmt: skip

    def _continued(self, climb: Climb, beta: float) -> tuple[float, Scores]:
        """The same programs after as many steps: the held-out bound, and the examined scores."""
        fitted = self.fitted
        with unmoved(fitted.pair):
            valid = climb(fitted.bound(), fitted.pair.parameters(), beta=beta)
            return valid, self.scores(fitted)

    def _part(
        self,
        part: str,
        make: Callable[[], list[Candidate]],
        before: Scores,
        reference: Scores,
        spread: float,
    ) -> tuple[Measured, Scores]:
        """The gain of the best of some candidates, by its gain with the others fixed."""
        alone = replace(self.climb, steps=max(1, round(SHARE * self.climb.steps)))
        tried: list[tuple[float, Candidate, Any]] = []
        candidates = make()
        quick = [each for each in candidates if self.slow or not each.is_slow] or candidates
        for candidate in quick:
            with unmoved(self.fitted.pair), candidate.put() as (fitted, fresh):
                valid = alone(fitted.bound(), fresh)
                tried.append((valid, candidate, copied(fitted.pair)))
        _, best, weights = max(tried, key=lambda each: each[0])
        with unmoved(self.fitted.pair), best.put() as (fitted, _):
            fitted.pair.load_state_dict(weights)
            held = _gain(self.scores(fitted).bound, before.bound)
            self.climb(fitted.bound(), fitted.pair.parameters())
            after = self.scores(fitted)
        along, log_p = _gains(after, reference, spread)
        more = log_p if part in MODEL else None
        return Measured(part, best.name, best.remedy, along, held, more), after

    def scores(self, fitted: Fitted) -> Scores:
        """Scores of the examined data, with the same noise each time."""
        bounds, log_ps = [], []
        weighs, device = traits_of(fitted.elbo).weighs_draws, self.climb.device
        stream = Stream.DEFICITS.drawn(self.climb.seed, device)
        with evaluating(fitted.pair), stream as noise:
            for number, batch in enumerate(self.split.chunks(128, device)):
                noise.at(2, number)
                w = (
                    log_weights(fitted.pair, fitted.facts, batch, self._drawn(fitted))
                    .double()
                    .cpu()
                )
                log_ps.append(w.logsumexp(0) - math.log(len(w)))
                groups = w.view(-1, fitted.particles if weighs else 1, w.shape[1])
                bounds.append((groups.logsumexp(1) - math.log(groups.shape[1])).mean(0))
        return Scores(torch.cat(bounds), torch.cat(log_ps))

    def _drawn(self, fitted: Fitted) -> int:
        """Draws per datum: a multiple of those of the bound."""
        return fitted.particles * math.ceil(self.draws / fitted.particles)


def _optimization(
    after: Scores, before: Scores, spread: float, steps: int, longer: str
) -> Measured:
    along, log_p = _gains(after, before, spread)
    remedy = f"{longer} (measured with {steps:,} more steps), then a larger `lr`"
    return Measured("optimization", "the same, trained further", remedy, along, None, log_p)


def _beta(at_one: Scores, reference: Scores, spread: float) -> Measured:
    along, log_p = _gains(at_one, reference, spread)
    return Measured("beta", "beta = 1", "`beta=1`", along, None, log_p)


def _gains(after: Scores, before: Scores, spread: float) -> tuple[Estimate, Estimate]:
    along = _gain(after.bound, before.bound, spread)
    return along, _gain(after.log_p, before.log_p, spread)


def _gain(after: Tensor, before: Tensor, spread: float = 0.0) -> Estimate:
    """The mean gain; its error combines that over data and the spread of trainings."""
    gain = after - before
    lost = int((~gain.isfinite()).sum())
    if lost:
        raise InputError(
            f"the bound of {lost:,} of {len(gain):,} examined data is not finite, as fitted or "
            "with the other part, so there is no mean gain; leave these data out, or fit with a "
            "smaller `lr`"
        )
    over_data = Estimate.of(gain)
    return Estimate(over_data.mean, math.hypot(over_data.standard_error, spread))


def _mean(scores: Scores) -> float:
    return float(scores.bound.mean())
