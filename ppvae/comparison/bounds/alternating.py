"""Two fits from the same weights, which alternate epoch by epoch."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ppvae.comparison.bounds.result import ANALYTIC, SAMPLED
from ppvae.comparison.bounds.subject import Subject
from ppvae.comparison.bounds.weights import copied
from ppvae.diagnostics.estimator.timing import now
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.programs.streams import Stream, set_state, state
from ppvae.settings import Settings
from ppvae.training.chosen_parts import factory_for, recorded_parts
from ppvae.training.setup import make_trainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from ppvae.bounds.objective import Bound
    from ppvae.training.trainer import Trainer


def plan_of(settings: Settings, epochs: int, seed: int) -> Settings:
    """The settings of each fit: no warm-up or early stopping, so that steps and beta are equal."""
    return replace(
        settings, epochs=epochs, seed=seed, warm_up=0, patience=None, schedule=None, elbo=ANALYTIC,
        evaluate_every=1,
    )  # fmt: skip


class AlternatingFit:
    """A fit with one bound, one epoch at a time, that shares its modules with another fit.

    It has its own weights and noise: it loads them before an epoch, and saves them after it.
    """

    def __init__(self, loop: "Trainer", judge: "Bound | None", weights: Mapping[str, Any]) -> None:
        self._loop: Trainer | None = loop
        self._judge = judge
        self._epochs = loop.epochs(on_step=self._tick)
        self.weights = copied(weights)
        # The constructor of the loop has just seeded the noise.
        self._random = state(loop.device)
        self._ticks: list[float] = []
        self.steps: list[int] = []
        self.bounds: list[float] = []
        self.ms: list[list[float]] = []

    def epoch(self) -> None:
        """Fit for one epoch, timing each step but the first, and evaluate."""
        loop = self._loop
        if loop is None:
            raise RuntimeError("this fit has been forgotten")
        loop.bound.pair.load_state_dict(self.weights)
        set_state(loop.device, self._random)
        self._ticks = []
        epoch = next(self._epochs)
        self._random = state(loop.device)
        self.weights = copied(loop.bound.pair.state_dict())
        valid = epoch.valid if self._judge is None else loop.evaluate(self._judge)
        held_out = None if valid is None else valid.elbo
        if held_out is None or not math.isfinite(held_out):
            raise InputError(
                f"the held-out bound is {held_out} after epoch {epoch.epoch}; take a smaller `lr`"
            )
        self.steps.append(epoch.step)
        self.bounds.append(held_out)
        ticks = self._ticks
        self.ms.append([1e3 * (b - a) for a, b in pairwise(ticks)])

    def _tick(self) -> None:
        if self._loop is not None:
            self._ticks.append(now(self._loop.device))

    def forget(self) -> None:
        """Release weights and optimizer; the figures stay."""
        self._loop, self._judge, self._epochs, self.weights = None, None, iter(()), {}


def fit_alternately(
    subject: Subject, pair: Pair, plan: Settings, fabric: "Fabric", count: Callable[[], None]
) -> dict[str, AlternatingFit]:
    """Both fits of one seed, from the same weights, in alternation."""
    chosen = recorded_parts(plan.recorded(), subject.trust)
    loops = {
        name: make_trainer(
            plan, replace(chosen, elbo=factory_for("elbo", name, subject.trust)), pair,
            subject.audits[name], subject.data, fabric,
        )
        for name in (ANALYTIC, SAMPLED)
    }  # fmt: skip
    initial = copied(pair.state_dict())
    judge = loops[ANALYTIC].bound
    fits: dict[str, AlternatingFit] = {}
    for name, loop in loops.items():
        # Both start with the noise of this seed, as a separate fit would.
        Stream.TRAINING.begin(plan.seed, 0)
        fits[name] = AlternatingFit(loop, None if name == ANALYTIC else judge, initial)
    for epoch in range(plan.passes):
        for name in (SAMPLED, ANALYTIC) if epoch % 2 == 0 else (ANALYTIC, SAMPLED):
            fits[name].epoch()
            count()
    return fits
