"""A step on one batch, repeated over the resident ones: the loop of all contenders in PyTorch."""

from collections.abc import Callable
from itertools import cycle, islice

import torch
from torch import Tensor

from ..data import resident
from ..job import Job, Run

__all__ = ["batches", "repeat"]


def batches(job: Job) -> list[Tensor]:
    """The resident batches, on the job's device."""
    return list(torch.from_numpy(resident(job)).to(job.device))


def repeat(step: Callable[[Tensor], Tensor | float], job: Job) -> Run:
    """Run ``step``, which takes a batch and gives its loss (nats per datum), on one after another.

    The last loss is read as a number, for which everything before it has to be computed: on CUDA
    nothing is in flight when the run returns.
    """
    endless = cycle(batches(job))

    def run(steps: int) -> float:
        for x in islice(endless, steps):
            loss = step(x)
        return float(loss)

    return run
