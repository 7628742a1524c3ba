"""Stochastic variational inference: the training loop.

The loop writes no files and prints nothing. After each epoch it yields metrics; the caller records
them, and saves `Trainer.state`, from which another loop continues exactly as this one.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ppvae.bounds.objective import Bound, Terms
from ppvae.compilation.captured import Captured
from ppvae.compilation.graphs import NotStatic
from ppvae.compilation.guard import Unfaithful
from ppvae.compilation.optimizers import keep_counts_on_device
from ppvae.compilation.step import CapturedStep
from ppvae.compilation.stopwatch import compiling
from ppvae.data import Batch, Data, Feed
from ppvae.errors import InputError
from ppvae.programs import streams
from ppvae.programs.failures import unfit_gradient
from ppvae.programs.streams import Stream
from ppvae.settings import Settings
from ppvae.training.divergence import all_finite, diverged, explaining, unfit
from ppvae.training.evaluation import Figures, evaluate, figures
from ppvae.training.evaluation_schedule import EvaluationSchedule
from ppvae.training.order import Order
from ppvae.training.progress import SUMS, Progress
from ppvae.training.state import load_state, state_of, total_sums


@dataclass(frozen=True)
class Epoch:
    """Metrics of an epoch.

    Attributes:
        epoch: number of finished epochs.
        step: number of finished steps.
        seconds: time of training and evaluation, including earlier runs of a resumed fit.
        beta: weight of the KL at the last step.
        lr: learning rate of the last step.
        train: means over the training batches, at the changing weights.
        valid: means over the held-out data, at the current weights; ``None`` without an evaluation.
        is_best: whether the held-out objective is the best so far, among evaluations after the
            warm-up.
    """

    epoch: int
    step: int
    seconds: float
    beta: float
    lr: float
    train: Figures
    valid: Figures | None
    is_best: bool


class Trainer:
    """The loop over epochs and steps.

    A step takes a batch, or several in sequence, estimates the bound and calls the optimizer. Every
    datum has the same weight in an epoch: the gradient of a smaller last step is scaled by its
    size. Repeated labelled rows have more weight (`ppvae.training.order`).

    Compiled, a step is one graph (`CapturedStep`); if processes share gradients, a step has several
    batches, or the optimizer cannot be part of a graph, only the bound and its gradient are
    (`Captured`). The incomplete step at the end of an epoch is not compiled, nor is the very first
    step, in which the optimizer creates its state.

    Args:
        bound: the bound, not yet set up by Fabric.
        optimizer: optimizer of ``bound.parameters()``.
        data: the data; ``train`` trains the weights, ``valid`` selects them.
        plan: epochs, batch size, the weight of the KL, patience, gradient clipping.
        fabric: device, precision and processes; launched.
        schedule: a learning-rate schedule over epochs.
        compile: whether to compile.

    Attributes:
        evaluation: schedule of evaluations; by default after each epoch.
        notes: sentences for the user, such as why something runs uncompiled.
    """

    def __init__(
        self,
        bound: Bound,
        optimizer: Optimizer,
        data: Data,
        plan: Settings,
        fabric: Fabric,
        schedule: LRScheduler | None = None,
        *,
        compile: bool = False,
    ) -> None:
        self.bound, self.plan, self.fabric = bound, plan, fabric
        self.optimizer, self.schedule = optimizer, schedule
        self.notes: list[str] = []
        self.progress = Progress()
        self._captured = Captured(bound, tell=self._give_up if compile else lambda _: None)
        wrapped, stepper = fabric.setup(self._captured, optimizer)
        self._wrapped, self._stepper = wrapped, cast("Any", stepper)
        self.device = fabric.device
        self.train, self.valid = data.train.to(self.device), data.valid.to(self.device)
        self.evaluation = EvaluationSchedule(1, len(self.valid), 1, plan.batch_size)
        self.order = Order.of(
            data.train, plan.batch_size, plan.labelled, fabric.world_size, plan.accumulate
        )
        self._rows = self.order.size
        if self._rows < fabric.world_size:
            raise InputError(
                f"a batch of {self._rows} rows cannot be shared by {fabric.world_size} processes; "
                "take a larger batch_size, or fewer devices"
            )
        self.stopped = ""
        self.noise: dict[str, Tensor | None] | None = (
            None  # state before the draws of the last step
        )
        self._compile = compile
        self._ready: bool | None = None  # what was compiled: one graph, or only the bound
        self._sums = torch.zeros(
            SUMS, dtype=torch.float64, device="cpu" if self.device.type == "mps" else self.device
        )
        if compile and self.device.type == "cuda":
            keep_counts_on_device(optimizer)
        self._step: CapturedStep | None = None
        if compile and plan.accumulate > 1:
            self.notes.append(
                f"with `accumulate={plan.accumulate}` the training step is not one graph, which "
                "would hold all of its batches at once; only its bound is compiled"
            )
        if compile and fabric.world_size == plan.accumulate == 1:
            self._step = CapturedStep(
                bound,
                optimizer,
                self.train.batch,
                per=1 / self._rows,
                clip=plan.clip,
                context=fabric.autocast,
            )
        # Equal weights in all processes, but from here on different noise.
        Stream.TRAINING.begin(plan.seed, fabric.global_rank)

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps in a pass over the training data."""
        return self.order.steps

    @property
    def is_done(self) -> bool:
        """Whether training is finished: all epochs are done, or patience has run out.

        Patience counts epochs, and ends a fit after an evaluation.
        """
        patience, progress = self.plan.patience, self.progress
        is_evaluated = progress.evaluated == progress.epoch
        if patience is not None and progress.stale >= patience and is_evaluated:
            self.stopped = (
                f"no better held-out objective for {patience} epochs; "
                f"the best was at step {progress.best_step}"
            )
            return True
        return progress.epoch >= self.plan.passes

    def epochs(
        self,
        stop: Callable[[], bool] = lambda: False,
        on_step: Callable[[], None] = lambda: None,
        on_compile: Callable[[float | None], None] = lambda _: None,
    ) -> Iterator[Epoch]:
        """Train, and yield after each epoch, until `is_done` or ``stop()`` is true.

        ``stop`` is called after each step; the state is then complete, in the middle of an epoch.
        ``on_step`` is called after each step, and ``on_compile`` with ``None`` before a step that
        is compiled, and after it with the compile time of this fit in seconds, for a progress bar.

        Raises:
            InputError: if the bound is no longer finite, with remedies.
        """
        while not self.is_done:
            started = time.perf_counter()
            whole = self._epoch(stop, on_step, on_compile)
            self.progress.seconds += time.perf_counter() - started
            if not whole:
                return
            yield self._close()
            if self._agreed(stop()):
                return

    def _epoch(
        self,
        stop: Callable[[], bool],
        on_step: Callable[[], None],
        on_compile: Callable[[float | None], None],
    ) -> bool:
        """Take the remaining steps of an epoch; false if asked to stop before its end."""
        progress = self.progress
        self.bound.train()
        sums = self._sums.copy_(torch.tensor(progress.sums, dtype=torch.float64))
        order = self.order.batches(self.plan.seed, progress.epoch, self.device)
        order = order[progress.cursor :]
        mine = [self.order.parts(rows, self.fabric.global_rank) for rows in order]
        feeds = self.train.feed([part for parts in mine for part in parts], device=self.device)
        for rows, parts in zip(order, mine, strict=True):
            step = list(islice(feeds, len(parts)))
            beta = self.plan.weight(progress.step, self.steps_per_epoch)
            # Compile only for full batches and an existing optimizer state.
            is_compiled = self._compile and len(rows) == self._rows and progress.step > 0
            is_compiled = is_compiled and not progress.uncompiled
            if is_compiled and self._ready != progress.is_one_graph:
                on_compile(None)
                self._ready = progress.is_one_graph
            before = compiling.seconds
            with explaining(self):
                if not (is_compiled and self._step_as_graph(step, beta, sums)):
                    self._captured.enabled = is_compiled
                    self._step_as_is(step, beta, sums)
            if is_compiled and compiling.seconds > before:
                progress.compile_seconds += compiling.seconds - before
                on_compile(progress.compile_seconds)
            progress.step += 1
            progress.cursor += 1
            on_step()
            if self._agreed(stop()) and progress.cursor < self.steps_per_epoch:
                progress.sums = sums.tolist()
                return False
        progress.sums = sums.tolist()
        return True

    def _step_as_is(self, feeds: Sequence[Feed], beta: float, sums: Tensor) -> None:
        """An eager step: bound and gradient of each batch, clipping, optimizer."""
        for number, feed in enumerate(feeds, 1):
            # Processes share gradients once per step, with the last batch.
            with self.fabric.no_backward_sync(self._wrapped, enabled=number < len(feeds)):
                self._climb(self.train.batch(feed), beta, sums)
        if self.plan.clip is not None:
            self.fabric.clip_gradients(
                self._wrapped, self._stepper, max_norm=self.plan.clip, error_if_nonfinite=False
            )
        self._stepper.step()
        self._stepper.zero_grad()

    def _climb(self, batch: Batch, beta: float, sums: Tensor) -> None:
        """Add the bound on a batch, and its gradient, to those of the step."""
        self.noise = streams.state(self.device)
        with explaining(self, batch):
            terms = self._wrapped(batch, beta)
        if not bool(terms.objective.isfinite()):  # do not update the weights
            raise diverged(self, unfit(self, batch))
        # Processes average gradients, hence the factor.
        self.fabric.backward(-terms.objective * (self.fabric.world_size / self._rows))
        gradients = [p.grad for p in self.bound.parameters() if p.grad is not None]
        if not all_finite(gradients):
            raise diverged(self, unfit(self, batch, unfit_gradient))
        seen = torch.stack(tuple(terms)).detach().to(sums)
        sums += torch.cat([seen, seen.new_tensor([len(batch["x"])])])

    def _step_as_graph(self, feeds: Sequence[Feed], beta: float, sums: Tensor) -> bool:
        """A step as one graph; false if there is none, and nothing was done."""
        if self._step is None or not self.progress.is_one_graph:
            return False
        try:
            self._step(feeds[0], beta, sums)
        except Unfaithful as why:  # the step was taken anyway
            self._give_up(f"the training step runs uncompiled: {why}")
        except NotStatic as why:
            self.notes.append(f"the training step is not one graph: {why}; only its bound is tried")
            self.progress.is_one_graph = False
            return False
        return True

    def _give_up(self, why: str) -> None:
        """Stop compiling, also after a resume."""
        self.notes.append(why)
        if self.progress.step > 0:
            self.progress.uncompiled = why

    def _close(self) -> Epoch:
        """End an epoch after its last step: evaluate, if due, and update the best."""
        progress, plan = self.progress, self.plan
        started = time.perf_counter()
        *sums, rows = total_sums(self)
        if not (all(map(math.isfinite, sums)) and all_finite(self.bound.parameters())):
            raise diverged(self)
        is_due = self.evaluation.is_due(progress.epoch + 1, plan.passes)
        valid = self.evaluate(self.bound) if is_due else None
        lr = float(self.optimizer.param_groups[0]["lr"])
        beta = plan.weight(progress.step - 1, self.steps_per_epoch)
        progress.epoch += 1
        if is_due:
            progress.evaluated = progress.epoch
        progress.cursor, progress.sums = 0, [0.0] * SUMS
        if isinstance(self.schedule, ReduceLROnPlateau):
            if valid is not None:  # such a schedule has an evaluation after each epoch
                self.schedule.step(valid.objective)
        elif self.schedule is not None:
            self.schedule.step()
        is_best = False
        if progress.epoch > plan.warm_up:  # before that, objectives have another beta
            is_last = plan.valid == "none"  # no held-out rows to select weights
            is_best = valid is not None and (
                is_last or progress.best is None or valid.objective > progress.best
            )
            progress.stale = 0 if is_best else progress.stale + 1
            if valid is not None and is_best:
                progress.best, progress.best_step = valid.objective, progress.step
        progress.seconds += time.perf_counter() - started
        train = figures(self._means(sums, rows), self.bound)
        return Epoch(
            progress.epoch, progress.step, progress.seconds, beta, lr, train, valid, is_best
        )

    def evaluate(self, bound: Bound) -> Figures:
        """Evaluate a bound on the held-out data, by the schedule of this fit.

        Raises:
            InputError: if the values are not finite.
        """
        by, plan = self.evaluation, self.plan
        with explaining(self):
            valid = evaluate(
                bound,
                self.valid,
                by.chosen(len(self.valid), plan.seed),
                beta=plan.beta,
                batch_size=by.batch_size,
                draws=by.draws,
                seed=plan.seed,
                fabric=self.fabric,
            )
        if not math.isfinite(valid.objective):
            raise diverged(self)
        return valid

    def _means(self, sums: Sequence[float], rows: float) -> Terms:
        """Means over an epoch; the objective at the given beta, also during the warm-up.

        If the objective is not a plain sum of the terms, it is that of training.
        """
        means = Terms(*torch.tensor(sums, dtype=torch.float64) / rows)
        if not self.bound.is_linear:
            return means
        return means._replace(objective=means.reconstruction - self.plan.beta * means.kl)

    def _agreed(self, stop: bool) -> bool:
        """Whether any process was asked to stop; all stop at the same step."""
        if self.fabric.world_size == 1:
            return stop
        votes = torch.tensor(float(stop), device=self.device)
        return bool(cast("Tensor", self.fabric.all_reduce(votes, reduce_op="sum")) > 0)

    def state(self) -> dict[str, Any]:
        """The state to resume from: weights, optimizer, schedule, random state, position.

        Raises:
            InputError: if a weight is no longer finite.
        """
        return state_of(self)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`.

        Raises:
            InputError: if it does not fit these programs, optimizer and schedule.
        """
        load_state(self, state)
