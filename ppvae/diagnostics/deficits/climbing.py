"""Short training from the current weights, with early stopping on held-out data."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ppvae.bounds.objective import Bound
from ppvae.data import Split
from ppvae.diagnostics.deficits.fitted import copied
from ppvae.networks.evaluation_mode import evaluating, modes_restored
from ppvae.programs.streams import Stream, generator

SHORT = 300
"""Steps of a short climb, which starts with lr 5e-3; longer ones start with less."""


def first_length(steps: int) -> float:
    """Initial learning rate of Adam: larger for fewer steps."""
    return max(1e-3, 5e-3 * math.sqrt(SHORT / max(steps, SHORT)))


@dataclass(frozen=True)
class Climb:
    """Training on a bound by Adam, with a cosine decay of the learning rate to 0.

    Attributes:
        train: training data; binarized again in each batch, if the data are.
        valid: data that select the weights.
        steps: number of steps.
        lr: initial learning rate.
        batch_size: data per step.
        choices: how often the weights are evaluated on ``valid``.
        seed: seed of order and noise: climbs of the same seed share both.
        device: where the programs are.
    """

    train: Split
    valid: Split
    steps: int
    lr: float
    batch_size: int = 128
    choices: int = 10
    seed: int = 0
    device: torch.device | str = "cpu"

    def __call__(self, bound: Bound, leaves: Iterable[nn.Parameter], *, beta: float = 1.0) -> float:
        """Train, and keep the weights of the best held-out bound at beta = 1.

        These may be the initial weights. A step whose gradient is not finite is skipped.

        Returns:
            the best held-out bound, in nats per datum.
        """
        learned = [leaf for leaf in leaves if leaf.requires_grad]
        best, kept = self.score(bound), copied(bound)
        if not learned:
            return best
        adam = torch.optim.Adam(learned, lr=self.lr)
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(adam, self.steps)
        every = max(1, math.ceil(self.steps / self.choices))
        stream = Stream.DEFICITS.drawn(self.seed, self.device)
        with modes_restored(bound), stream as noise:
            bound.train()
            for step, rows in enumerate(self._rows(), 1):
                noise.at(step)
                (batch,) = self.train.batches([rows], device=self.device)
                with torch.enable_grad():
                    loss = -bound(batch, beta).objective / len(rows)
                    gradient = torch.autograd.grad(loss, learned, allow_unused=True)
                if all(bool(each.isfinite().all()) for each in gradient if each is not None):
                    for leaf, each in zip(learned, gradient, strict=True):
                        leaf.grad = each
                    adam.step()
                rates.step()
                if step % every == 0 or step == self.steps:
                    score = self.score(bound)
                    if score > best:
                        best, kept = score, copied(bound)
        for leaf in learned:
            leaf.grad = None
        bound.load_state_dict(kept)
        return best

    def score(self, bound: Bound) -> float:
        """Mean of the bound at beta = 1 over the held-out data, always with the same noise."""
        total = 0.0
        with evaluating(bound), Stream.DEFICITS.drawn(self.seed, self.device) as noise:
            for number, batch in enumerate(self.valid.chunks(1024, self.device)):
                noise.at(0, number)
                total += float(bound(batch).elbo)
        return total / len(self.valid) if math.isfinite(total) else -math.inf

    def _rows(self) -> Iterator[Tensor]:
        """The rows of each step, shuffled in each epoch."""
        order = generator(Stream.DEFICITS.seed(self.seed, 1))
        size, left = min(self.batch_size, len(self.train)), self.steps
        while left > 0:
            rows = torch.randperm(len(self.train), generator=order)
            whole = [each for each in rows.split(size) if len(each) == size][:left]
            left -= len(whole)
            yield from whole
