"""The training loop of all contenders in PyTorch."""

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
    """The batches in memory, on the job's device."""
    return list(torch.from_numpy(resident(job)).to(job.device))


def binarized(job: Job) -> Iterator[Tensor]:
    """Endless whole batches of a fit, shuffled and binarized anew in each epoch."""
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
    """Repeat ``step`` over batches.

    The run returns the last loss as a number, so that CUDA finishes all steps before.

    Args:
        step: takes a batch, and returns its loss in nats per datum.
        job: what is fitted.
        networks: encoder and decoder.
        optimizers: optimizers whose learning rate the job sets.
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
