"""A step on one batch, repeated over all of them: the loop of all contenders in PyTorch."""

from collections.abc import Callable, Iterable, Iterator
from itertools import cycle, islice

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..data import resident, training_images
from ..job import Job, Run
from .networks import weights

__all__ = ["batches", "binarized", "repeat"]


def batches(job: Job) -> list[Tensor]:
    """The resident batches, on the job's device."""
    return list(torch.from_numpy(resident(job)).to(job.device))


def binarized(job: Job) -> Iterator[Tensor]:
    """Whole batches of a fit without end, shuffled and binarized anew in each epoch."""
    grey = torch.from_numpy(training_images(job)).to(job.device)
    while True:
        for rows in torch.randperm(len(grey)).split(job.batch)[: job.epoch]:
            yield torch.bernoulli(grey[rows])


def repeat(
    step: Callable[[Tensor], Tensor | float],
    job: Job,
    networks: tuple[nn.Module, nn.Module],
    optimizers: Callable[[], Iterable[Optimizer]] = tuple,
) -> Run:
    """Run ``step``, which takes a batch and gives its loss (nats per datum), on one after another.

    The last loss is read as a number, for which everything before it has to be computed: on CUDA
    nothing is in flight when the run returns. ``optimizers`` are those whose rate the job sets;
    ``networks`` are encoder and decoder.
    """
    endless = binarized(job) if job.images else cycle(batches(job))
    done = 0

    def run(steps: int) -> float:
        nonlocal done
        for x in islice(endless, steps):
            if job.epochs and done % job.epoch == 0:
                for optimizer in optimizers():
                    optimizer.param_groups[0]["lr"] = job.rate(done)
            loss = step(x)
            done += 1
        return float(loss)

    return Run(run, lambda: (weights(networks[0]), weights(networks[1])))
