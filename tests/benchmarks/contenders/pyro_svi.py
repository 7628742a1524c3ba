"""The job as in Pyro's tutorial: `SVI.step`, Pyro's Adam, Pyro's default validation."""

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI
from pyro.optim import Adam  # type: ignore[attr-defined]  # Pyro defines it at run time
from torch import Tensor, nn

from ..job import Job, Run
from .networks import decoder, encoder, log_scale
from .stepping import repeat

__all__ = ["make"]


class _VAE(nn.Module):
    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job
        self.encoder, self.decoder = encoder(job), decoder(job)

    def model(self, x: Tensor) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            loc = x.new_zeros(x.shape[0], self.job.latent)
            z = pyro.sample("z", dist.Normal(loc, torch.ones_like(loc)).to_event(1))
            likelihood = dist.Bernoulli(logits=self.decoder(z))
            pyro.sample("x", likelihood.to_event(len(self.job.data_shape)), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", x.shape[0]):
            loc, s = self.encoder(x).chunk(2, dim=-1)
            scale = torch.exp(log_scale(s, self.job))
            pyro.sample("z", dist.Normal(loc, scale).to_event(1))


def make(job: Job, elbo: str) -> Run:
    """Run `SVI.step` with a bound of Pyro, by name."""
    vae = _VAE(job).to(job.device)
    adam = Adam({"lr": job.lr})
    svi = SVI(vae.model, vae.guide, adam, getattr(pyro.infer, elbo)())

    def step(x: Tensor) -> float:
        return float(svi.step(x)) / job.batch

    # Pyro creates an optimizer of torch for each parameter in the first step.
    return repeat(step, job, (vae.encoder, vae.decoder), adam.optim_objs.values)
