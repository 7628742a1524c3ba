"""What would another part win? Each is put in the place of the fitted one, and trained for a while.

Currency: the bound that the run climbed, at beta = 1, in nats per datum, on the examined rows. It
is what a guide and an encoder can win, and what a model's part wins if it is good for log p(x):
one figure that all parts can be ranked by. What a part of the model adds to log p(x) stands beside.

Two figures. *Held*: the new part alone is trained, and all others are as they were; over the
programs as they are. *Along*: from there on all parts are trained, for a budget of steps; over the
same programs trained for that very budget from where they are, on the same batches in the same
order. So what more steps alone win is called optimization, and counts for no other part: only what
a new part wins in its first steps alone is its own. Weights are chosen on held-out data in either
case, so that no part loses by overfitting.

The error of a gain has two parts: that over the examined rows, and how far two such trainings of
the same programs come out apart, in other orders and with other noise. The best of several
candidates is chosen on other data than the examined ones, so that the choice adds nothing to it.

The figures do not add up: two parts may win the same nats, or only together.
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
"""The parts, in the order in which they are measured; and ``"beta"``, where that is not 1."""

MODEL = frozenset({"decoder", "likelihood", "prior", "latents"})
"""Parts that change log p(x), and not the bound alone."""

SHARE = 0.25
"""Steps in which a new part is trained alone, before all parts are: as a share of the latter."""

STARTED = 2_000
"""Training data that a likelihood's errors are taken on, at most."""


@dataclass(frozen=True)
class Scores:
    """Figures of each examined datum, ``(data,)``, in nats.

    Attributes:
        bound: the bound at beta = 1.
        log_p: log p(x), by as many importance samples as there are draws.
    """

    bound: Tensor
    log_p: Tensor


@dataclass(frozen=True)
class Measured:
    """What another part wins.

    Attributes:
        part: the part.
        name: what was tried in its place.
        remedy: what to change to have it.
        along: gain of the bound, all parts trained along.
        held: gain of the bound, the others held; ``None`` where there is no such figure.
        log_p: gain of log p(x), all parts trained along; ``None`` of a part that cannot change it.

    The errors of ``along`` and ``log_p`` have the spread of trainings in them.
    """

    part: str
    name: str
    remedy: str
    along: Estimate
    held: Estimate | None
    log_p: Estimate | None


@dataclass(frozen=True)
class Deficits:
    """What other parts win.

    Attributes:
        measured: each part that could be measured.
        refusals: the others, and why.
        steps: the budget of each: steps in which all parts are trained along.
        spread: how far two trainings of the same programs came out apart, in nats per datum.
        rows: examined data.
        draws: draws of each.
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
    counts: Steps | None = None,
    parts: Iterable[str] = PARTS,
    on_part: Callable[[int], None] = lambda _: None,
) -> Deficits:
    """Measure what another part would win, for each part.

    Args:
        fitted: the programs, and the bound that they climbed; they are left as they are.
        climb: how, on what, and for how long they are trained.
        split: the examined data.
        beta: weight of the KL in the fit. Where it is not 1, climbing at beta = 1 is a part too,
            and the others are measured at it.
        draws: draws of each examined datum.
        slow: whether candidates that take long are tried beside others.
        counts: how x is made of counts, where it is; all is of their probabilities then.
        parts: parts to measure, beside what more steps and beta = 1 win.
        on_part: called with 1 after each of `PARTS`, for a progress bar.

    Raises:
        InputError: if there is no bound, or none by datum.
    """
    if not fitted.facts.is_bound:
        raise InputError(
            "the guide has a point mass, so that there is no bound that another part could raise"
        )
    if not fitted.facts.has_evidence:
        raise InputError(
            "it takes the bound of each datum, and here latents are shared by all data, summed "
            "over, or scaled by the programs"
        )
    ways = _ways(fitted, climb, counts)
    chosen = {part: way for part, way in ways.items() if part in set(parts)}
    measure: AbstractContextManager[Any] = nullcontext()
    if counts is not None:
        measure = Probabilities(fitted.facts.data_site, counts.half, split.shape)
    stream = Stream.DEFICITS.drawn(climb.seed, climb.device)
    with unmoved(fitted.pair), stream, measure:
        return _Measuring(fitted, climb, split, beta, draws, slow).all(chosen, on_part)


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
    """The programs, and how other parts are tried in them."""

    fitted: Fitted
    climb: Climb
    split: Split
    beta: float
    draws: int
    slow: bool

    def all(
        self, ways: Mapping[str, Callable[[], list[Candidate]]], on_part: Callable[[int], None]
    ) -> Deficits:
        """What each part wins, after what more steps of the same programs win."""
        attempt, climb = Attempts(), self.climb
        before = self.scores(self.fitted)
        valid, best = self._continued(climb, self.beta)
        _, again = self._continued(replace(climb, seed=climb.seed + 1), self.beta)
        spread = abs(_mean(again) - _mean(best))
        found = [attempt("optimization", partial(_optimization, best, before, spread))]
        if self.beta != 1:
            better, at_one = self._continued(climb, 1.0)
            found.append(attempt("beta", partial(_beta, at_one, best, spread)))
            best = best if better <= valid else at_one
        networks: list[Scores] = []
        on_part(1)
        for part, candidates in ways.items():
            # More latents come with such a decoder, and such an encoder.
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
        """The same programs after as many steps: the held-out bound, and the examined data's."""
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
        """What the best of some candidates wins: the one that wins most by itself."""
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
        """The figures of the examined data; of the same noise each time."""
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
        """Draws of a datum: whole groups of what the bound takes."""
        return fitted.particles * math.ceil(self.draws / fitted.particles)


def _optimization(after: Scores, before: Scores, spread: float) -> Measured:
    along, log_p = _gains(after, before, spread)
    remedy = "more `epochs`, or a larger `lr`"
    return Measured("optimization", "the same, trained on", remedy, along, None, log_p)


def _beta(at_one: Scores, reference: Scores, spread: float) -> Measured:
    along, log_p = _gains(at_one, reference, spread)
    return Measured("beta", "beta = 1", "`beta=1`", along, None, log_p)


def _gains(after: Scores, before: Scores, spread: float) -> tuple[Estimate, Estimate]:
    along = _gain(after.bound, before.bound, spread)
    return along, _gain(after.log_p, before.log_p, spread)


def _gain(after: Tensor, before: Tensor, spread: float = 0.0) -> Estimate:
    """The mean gain of some data; its error is that over data, and the spread of trainings."""
    gain = after - before
    lost = int((~gain.isfinite()).sum())
    if lost:
        raise InputError(
            f"the bound of {lost:,} of {len(gain):,} examined data is not finite, as fitted or "
            "with the other part, so that there is no mean gain; leave these data out, or fit with "
            "a smaller `lr`"
        )
    over_data = Estimate.of(gain)
    return Estimate(over_data.mean, math.hypot(over_data.standard_error, spread))


def _mean(scores: Scores) -> float:
    return float(scores.bound.mean())
