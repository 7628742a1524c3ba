"""What would another part win? Each is put in the place of the fitted one, and trained for a while.

Currency: the bound that the run climbed, at beta = 1, in nats per datum, on the examined rows. It
is what a guide and an encoder can win, and what a model's part wins if it is good for log p(x):
one figure that all parts can be ranked by. What a part of the model adds to log p(x) stands beside.

Two figures. *Held*: the new part alone is trained, and all others are as they were; over the
programs as they are. *Along*: from there on all parts are trained, the rest of a budget of steps;
over the best of the programs as they are and the same programs trained for that budget, with the
same order of the data and the same noise. So what more steps alone win is called optimization, and
counts for no other part. Weights are chosen on held-out data in either case, so that no part loses
by overfitting.

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
"""Share of the steps in which the new part is trained alone."""

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
        steps: the budget of each, in steps.
        rows: examined data.
        draws: draws of each.
    """

    measured: tuple[Measured, ...]
    refusals: Mapping[str, str]
    steps: int
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
        rows = torch.arange(min(STARTED, len(train)))
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
        attempt = Attempts()
        before = self.scores(self.fitted)
        valid, reference = self._continued(self.beta)
        found = [
            Measured(
                "optimization", "the same, trained on", "more `epochs`, or a larger `lr`",
                _gain(reference.bound, before.bound), None, _gain(reference.log_p, before.log_p),
            )
        ]  # fmt: skip
        if self.beta != 1:
            better, at_one = self._continued(1.0)
            gain = _gain(at_one.bound, reference.bound)
            more = _gain(at_one.log_p, reference.log_p)
            found.append(Measured("beta", "beta = 1", "`beta=1`", gain, None, more))
        best = reference if self.beta == 1 or better <= valid else at_one
        networks: list[Scores] = []
        on_part(1)
        for part, candidates in ways.items():
            # More latents come with such a decoder, and such an encoder.
            base = max([best, *networks], key=_mean) if part == "latents" else best
            outcome = attempt(part, partial(self._part, part, candidates, before, base))
            on_part(1)
            if outcome is None:
                continue
            measured, after = outcome
            found.append(measured)
            if part in ("decoder", "encoder"):
                networks.append(after)
        return Deficits(
            tuple(found), attempt.refusals, self.climb.steps, len(self.split), self.draws
        )

    def _continued(self, beta: float) -> tuple[float, Scores]:
        """The same programs after as many steps: the held-out bound, and the examined data's."""
        fitted = self.fitted
        with unmoved(fitted.pair):
            valid = self.climb(fitted.bound(), fitted.pair.parameters(), beta=beta)
            return valid, self.scores(fitted)

    def _part(
        self,
        part: str,
        make: Callable[[], list[Candidate]],
        before: Scores,
        reference: Scores,
    ) -> tuple[Measured, Scores]:
        """What the best of some candidates wins: the one that wins most by itself."""
        alone = max(1, round(SHARE * self.climb.steps))
        first, rest = (
            replace(self.climb, steps=steps) for steps in (alone, self.climb.steps - alone)
        )
        tried: list[tuple[float, Candidate, Any, Estimate]] = []
        candidates = make()
        quick = [each for each in candidates if self.slow or not each.is_slow] or candidates
        for candidate in quick:
            with unmoved(self.fitted.pair), candidate.put() as (fitted, fresh):
                valid = first(fitted.bound(), fresh)
                held = _gain(self.scores(fitted).bound, before.bound)
                tried.append((valid, candidate, copied(fitted.pair), held))
        _, best, weights, held = max(tried, key=lambda each: each[0])
        with unmoved(self.fitted.pair), best.put() as (fitted, _):
            fitted.pair.load_state_dict(weights)
            rest(fitted.bound(), fitted.pair.parameters())
            after = self.scores(fitted)
        more = _gain(after.log_p, reference.log_p) if part in MODEL else None
        along = _gain(after.bound, reference.bound)
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


def _gain(after: Tensor, before: Tensor) -> Estimate:
    return Estimate.of(after - before)


def _mean(scores: Scores) -> float:
    return float(scores.bound.mean())
