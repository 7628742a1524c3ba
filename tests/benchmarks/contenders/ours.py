"""The job with this package: its programs, its bound, eager and compiled."""

from functools import partial
from typing import Any, cast

import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor

from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound, Terms
from ppvae.compilation.step import CapturedStep
from ppvae.guides import MeanField
from ppvae.models import VAE, Bernoulli, StandardNormal
from ppvae.networks import MLP, ConvDecoder, ConvEncoder, Network
from ppvae.programs import Pair
from ppvae.training.progress import SUMS

from ..initial import initial_weights
from ..job import CHANNELS, Job, Run
from . import ours_fit
from .networks import put_weights
from .stepping import batches, repeat

__all__ = ["make"]


def make(job: Job, *, compiled: bool, precision: str) -> Run:
    """Run the package's training step.

    A job that is a fit is run by `ours_fit`, which decides on its own whether to compile.

    Args:
        job: what is fitted.
        compiled: whether the step is one compiled graph.
        precision: as ``--precision`` takes it, ``"32"`` or ``"bf16-mixed"``.
    """
    if job.images:
        return ours_fit.make(job)
    bound = _bound(job)
    optimizer = torch.optim.Adam(bound.parameters(), lr=job.lr)
    if compiled and job.device == "cuda":
        optimizer.param_groups[0]["capturable"] = True
    mixed = partial(torch.autocast, job.device, torch.bfloat16, enabled=precision == "bf16-mixed")

    def step(x: Tensor) -> Tensor:
        with mixed():
            loss: Tensor = -bound({"x": x}).objective / job.batch
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    guide, model = (cast("Any", bound.pair.program(role)) for role in ("guide", "model"))
    networks = (guide.encoder, model.decoder)
    if not compiled:
        return repeat(step, job, networks)
    step(batches(job)[0])  # creates the state of the optimizer
    captured = CapturedStep(bound, optimizer, _batch, per=1 / job.batch, clip=None, context=mixed)
    sums = torch.zeros(SUMS, dtype=torch.float64, device=job.device)

    def captured_step(x: Tensor) -> Tensor:
        sums.zero_()
        captured(x, 1.0, sums)
        *terms, rows = sums
        loss: Tensor = -Terms(*terms).objective / rows
        return loss

    return repeat(captured_step, job, networks)


def _batch(x: Tensor) -> dict[str, Tensor]:
    return {"x": x}


def _bound(job: Job) -> Bound:
    """The bound of the package's programs, with the job's layers."""
    encoder: Network
    decoder: Network
    if job.shape == "mlp":
        encoder, decoder = (
            partial(MLP, hidden=widths, activation=job.activation)
            for widths in (job.encoder, job.decoder)
        )
    else:
        encoder = partial(ConvEncoder, channels=CHANNELS)
        decoder = partial(ConvDecoder, channels=CHANNELS[::-1])
    model = VAE(StandardNormal(job.latent), Bernoulli(job.data_shape), decoder)
    guide = MeanField(job.latent, job.data_shape, encoder)
    for network, weights in zip((guide.encoder, model.decoder), initial_weights(job), strict=True):
        put_weights(network, weights)
    batch = {"x": batches(job)[0]}
    pair = Pair(model.to(job.device), guide.to(job.device), batch)
    facts = audit(pair, TraceMeanField_ELBO, batch)
    return Bound(pair, TraceMeanField_ELBO, facts, job.particles)
