"""The job in plain PyTorch, with the loss written out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..job import Job, Run
from .networks import decoder, encoder, log_scale
from .stepping import repeat

__all__ = ["make"]


class _Loss(nn.Module):
    """Minus the evidence lower bound, nats per datum."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job
        self.encoder, self.decoder = encoder(job), decoder(job)

    def forward(self, x: Tensor) -> Tensor:
        loc, s = self.encoder(x).chunk(2, dim=-1)
        log = log_scale(s, self.job)
        scale = log.exp()
        z = loc + scale * torch.randn_like(loc)
        missed = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        kl = 0.5 * (loc**2 + scale**2 - 2 * log - 1).sum()
        mean: Tensor = (missed + kl) / len(x)
        return mean


def make(job: Job, mode: str | None = None) -> Run:
    """Run the loss eagerly, or compiled in a mode of `torch.compile`."""
    loss = _Loss(job).to(job.device)
    optimizer = torch.optim.Adam(loss.parameters(), lr=job.lr)
    climbed = loss if mode is None else torch.compile(loss, mode=mode)

    def step(x: Tensor) -> Tensor:
        optimizer.zero_grad()
        value: Tensor = climbed(x)
        value.backward()
        optimizer.step()
        return value.detach()

    return repeat(step, job, (loss.encoder, loss.decoder), lambda: [optimizer])
