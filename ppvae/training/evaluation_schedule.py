"""The evaluation schedule: when a fit is evaluated and saved, and on how many held-out rows.

By default the rule aims at a tenth of the time of training for evaluations and the checkpoints that
go with them. It is a rule of sizes, of a cost model and never of a clock: equal fits decide alike.
Held-out rows are left out first, down to 2,000; then epochs go by without an evaluation, but no
more than a tenth of the fit, and a third of the patience. So a fit of at least ten epochs has at
least ten evaluations, also where that is more than a tenth of the time.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Self

from torch import Tensor

from ppvae.errors import InputError
from ppvae.programs.streams import Stream
from ppvae.training.sizes import Sizes

SHARE = 0.1
"""Share of the time of training that evaluations and checkpoints are to take at most."""

DRAWS = 2_000
"""Least number of draws behind a held-out figure, data and repetitions together: what chooses the
best weights should not choose by luck. The noise is the same in each evaluation."""

FEWEST = 2_000
"""Held-out rows that are evaluated at least, where there are so many."""

LEAST = 10
"""Least number of evaluations of a fit, where it has so many epochs: a course can be seen then."""

ROWS, NUMBERS = 4_096, 2**21
"""Most rows of an evaluated batch, and most numbers in it, particles included: 8 MiB. More gains no
time. There is no gradient, for which a training step keeps all that it computes."""

# The cost model, in seconds on one core. Only ratios matter.
_OPERATION = 2e-11
_STEP, _PER_PARAMETER = 7e-4, 1e-9  # a compiled step beside its products; the optimizer
_CALL = 2.5e-3  # of programs under Pyro's handlers, as evaluation calls them
_SAVE, _SAVE_PER_PARAMETER = 1e-2, 3e-8  # a checkpoint, through to the disk
_ROW = 1e-3  # a row of metrics.csv, through to the disk: each epoch has one
_GRADIENT = 2.5  # times the work of the bound alone: the bound and its gradient, compiled


@dataclass(frozen=True)
class EvaluationSchedule:
    """When a fit is evaluated and saved, and on what.

    Attributes:
        every: epochs from one evaluation, and checkpoint, to the next; the last epoch has one too.
        rows: held-out rows that are evaluated, the same ones each time.
        draws: how often each of them is drawn for.
        batch_size: rows of an evaluated batch, repetitions counted.
    """

    every: int
    rows: int
    draws: int
    batch_size: int

    def is_due(self, epoch: int, epochs: int) -> bool:
        """Whether a fit of ``epochs`` is evaluated after this one, counted from 1."""
        return epoch % self.every == 0 or epoch == epochs

    @classmethod
    def read(cls, recorded: Any, count: int) -> Self:
        """A schedule as ``config.yaml`` keeps it, of ``count`` held-out rows.

        Raises:
            InputError: if it is none.
        """
        names = {each.name for each in fields(cls)}
        is_one = isinstance(recorded, dict) and recorded.keys() == names
        if not is_one or any(type(n) is not int or n < 1 for n in recorded.values()):
            raise InputError(f"config.yaml: evaluation is {recorded!r}; mend it, or fit anew")
        if recorded["rows"] > count:
            raise InputError(
                f"config.yaml: evaluation is of {recorded['rows']} rows, and there are {count}"
            )
        return cls(**recorded)

    def chosen(self, count: int, seed: int) -> Tensor:
        """The rows that are evaluated, of ``count``: by chance, the same for a seed."""
        return Stream.EVALUATED_ROWS.rows(count, self.rows, seed)


def schedule_for(
    sizes: Sizes, epochs: int, *, patience: int | None = None, every: int | None = None
) -> EvaluationSchedule:
    """The schedule of a fit.

    Args:
        sizes: of the fit.
        epochs: how many it has at most.
        patience: epochs without a better objective that end it.
        every: the user's own word on the epochs between evaluations; all rows are evaluated then.
    """
    budget, rows = allowance(sizes), sizes.valid
    if every is None:
        some = range(min(FEWEST, rows), rows + 1)
        within = bisect_right(some, budget, key=partial(evaluation_seconds, sizes))
        rows = some[max(0, within - 1)]
        most = min(epochs // LEAST, epochs if patience is None else patience // 3)
        needed = math.ceil(evaluation_seconds(sizes, rows) / budget) if budget > 0 else most
        every = max(1, min(most, needed))
    size = evaluated_batch(sizes.batch, sizes.numbers)
    return EvaluationSchedule(every, rows, draws_for(rows, DRAWS), size)


def allowance(sizes: Sizes) -> float:
    """Seconds that an epoch leaves for evaluations and checkpoints, by the cost model."""
    return SHARE * training_seconds(sizes) - _ROW


def training_seconds(sizes: Sizes) -> float:
    """Seconds of an epoch's steps, by the cost model: compiled, as they are at their quickest."""
    steps = math.ceil(sizes.train / sizes.batch)
    beside = steps * (_STEP + _PER_PARAMETER * sizes.parameters)
    return beside + _GRADIENT * sizes.train * sizes.work * _OPERATION


def evaluation_seconds(sizes: Sizes, rows: int) -> float:
    """Seconds of an evaluation on so many rows, and of its checkpoint, by the cost model."""
    draws = rows * draws_for(rows, DRAWS)
    calls = 1 + math.ceil(draws / evaluated_batch(sizes.batch, sizes.numbers))
    products = (draws + min(rows, DRAWS)) * sizes.work  # the alarm of a collapse encodes too
    save = _SAVE + _SAVE_PER_PARAMETER * sizes.parameters
    return calls * _CALL + products * _OPERATION + save


def evaluated_batch(batch: int, numbers: int) -> int:
    """Rows that are evaluated at once: as in training, or more where these are small.

    Args:
        batch: rows of a training step.
        numbers: how many numbers a row has, over all particles.
    """
    return max(batch, min(ROWS, NUMBERS // numbers))


def draws_for(rows: int, least: int) -> int:
    """How often each row is drawn for, so that there are at least so many draws."""
    return math.ceil(least / rows)
