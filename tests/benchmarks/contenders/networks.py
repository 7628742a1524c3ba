"""The job's networks in plain PyTorch; `ppvae.networks` has the same layers."""

import torch
from torch import nn

from ..initial import Layers, initial_weights
from ..job import CHANNELS, HIDDEN, Job

__all__ = ["decoder", "encoder", "put_weights"]


def encoder(job: Job) -> nn.Sequential:
    """From x to loc and s, one after the other: ``(batch, 2 latent)``; with initial weights."""
    layers = _encoder(job)
    put_weights(layers, initial_weights(job)[0])
    return layers


def decoder(job: Job) -> nn.Sequential:
    """From z to the logits of x; with initial weights."""
    layers = _decoder(job)
    put_weights(layers, initial_weights(job)[1])
    return layers


def put_weights(network: nn.Module, weights: Layers) -> None:
    """Give a network these weights, layer by layer."""
    flat = [values for layer in weights for values in layer]
    with torch.no_grad():
        for parameter, values in zip(network.parameters(), flat, strict=True):
            parameter.copy_(torch.from_numpy(values))


def _encoder(job: Job) -> nn.Sequential:
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


def _decoder(job: Job) -> nn.Sequential:
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
