"""The job's networks in plain PyTorch; `ppvae.networks` has the same layers."""

from torch import nn

from ..job import CHANNELS, HIDDEN, Job

__all__ = ["decoder", "encoder"]


def encoder(job: Job) -> nn.Sequential:
    """From x to loc and s, one after the other: ``(batch, 2 latent)``."""
    if job.shape == "mlp":
        return nn.Sequential(nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * job.latent))
    few, many = CHANNELS
    return nn.Sequential(
        nn.Conv2d(1, few, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(few, many, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(many * 7 * 7, 2 * job.latent),
    )


def decoder(job: Job) -> nn.Sequential:
    """From z to the logits of x."""
    if job.shape == "mlp":
        return nn.Sequential(nn.Linear(job.latent, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 784))
    few, many = CHANNELS
    return nn.Sequential(
        nn.Linear(job.latent, many * 7 * 7),
        nn.Unflatten(-1, (many, 7, 7)),
        nn.ReLU(),
        nn.ConvTranspose2d(many, few, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(few, 1, 3, stride=2, padding=1, output_padding=1),
    )
