"""Evaluation schedule: when a fit is evaluated and saved, and on how many held-out rows.

By default, evaluations and their checkpoints should take a tenth of the training time. The rule
uses a cost model of sizes, not a clock, so that equal fits have equal schedules. First, held-out
rows are left out, down to 2,000; then evaluations become rarer, with gaps of at most a tenth of the
fit and a third of the patience. So a fit of at least ten epochs has at least ten evaluations, even
if they take more than a tenth of the time.
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
"""Maximum share of the training time for evaluations and checkpoints."""

DRAWS = 2_000
"""Minimum number of draws for a held-out value, over data and repetitions, so that the best weights
are not selected by luck. The noise is the same in each evaluation.
"""

FEWEST = 2_000
"""Minimum number of evaluated held-out rows, if there are so many."""

LEAST = 10
"""Minimum number of evaluations of a fit, if it has so many epochs, to show its course."""

ROWS, NUMBERS = 4_096, 2**21
"""Maximum of rows of an evaluated batch, and of numbers in it, particles included: 8 MiB. Larger
batches save no time. They may be larger than in training, which keeps results for the gradient."""

# The cost model, in seconds on one core. Only ratios matter.
_OPERATION = 2e-11
_STEP, _PER_PARAMETER = 7e-4, 1e-9  # a compiled step without its products; the optimizer
_CALL = 2.5e-3  # a call of programs under Pyro's handlers, as in evaluation
_SAVE, _SAVE_PER_PARAMETER = 1e-2, 3e-8  # a checkpoint, flushed to disk
_ROW = 1e-3  # a row of metrics.csv, flushed to disk once per epoch
_GRADIENT = 2.5  # cost of the compiled bound with its gradient, relative to the bound


@dataclass(frozen=True)
class EvaluationSchedule:
    """When a fit is evaluated and saved, and on which rows.

    Attributes:
        every: epochs between evaluations, each with a checkpoint; the last epoch has one too.
        rows: number of evaluated held-out rows, the same ones each time.
        draws: draws per row.
        batch_size: rows per evaluated batch, including repetitions.
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
        """A schedule from ``config.yaml``, for ``count`` held-out rows.

        Raises:
            InputError: if it is invalid.
        """
        names = {each.name for each in fields(cls)}
        is_one = isinstance(recorded, dict) and recorded.keys() == names
        if not is_one or any(type(n) is not int or n < 1 for n in recorded.values()):
            raise InputError(f"config.yaml: evaluation is {recorded!r}; correct it, or fit again")
        if recorded["rows"] > count:
            raise InputError(
                f"config.yaml: evaluation is of {recorded['rows']} rows, and there are {count}"
            )
        return cls(**recorded)

    def chosen(self, count: int, seed: int) -> Tensor:
        """The evaluated rows, a random choice of ``count`` that depends on the seed only."""
        return Stream.EVALUATED_ROWS.rows(count, self.rows, seed)


def schedule_for(
    sizes: Sizes, epochs: int, *, patience: int | None = None, every: int | None = None
) -> EvaluationSchedule:
    """The schedule of a fit.

    Args:
        sizes: sizes of the fit.
        epochs: maximum number of epochs.
        patience: epochs without a better objective that end it.
        every: the user's setting of the epochs between evaluations; then all rows are evaluated.
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
    """Seconds per epoch for evaluations and checkpoints, by the cost model."""
    return SHARE * training_seconds(sizes) - _ROW


def training_seconds(sizes: Sizes) -> float:
    """Seconds of the steps of an epoch, compiled, by the cost model."""
    steps = math.ceil(sizes.train / sizes.batch)
    beside = steps * (_STEP + _PER_PARAMETER * sizes.parameters)
    return beside + _GRADIENT * sizes.train * sizes.work * _OPERATION


def evaluation_seconds(sizes: Sizes, rows: int) -> float:
    """Seconds of an evaluation on so many rows, and of its checkpoint, by the cost model."""
    draws = rows * draws_for(rows, DRAWS)
    calls = 1 + math.ceil(draws / evaluated_batch(sizes.batch, sizes.numbers))
    products = (draws + min(rows, DRAWS)) * sizes.work  # the collapse alarm encodes too
    save = _SAVE + _SAVE_PER_PARAMETER * sizes.parameters
    return calls * _CALL + products * _OPERATION + save


def evaluated_batch(batch: int, numbers: int) -> int:
    """Rows per evaluated batch: as in training, or more if rows are small.

    Args:
        batch: rows of a training step.
        numbers: numbers per row, over all particles.
    """
    return max(batch, min(ROWS, NUMBERS // numbers))


def draws_for(rows: int, least: int) -> int:
    """Draws per row, so that there are at least ``least`` draws."""
    return math.ceil(least / rows)
