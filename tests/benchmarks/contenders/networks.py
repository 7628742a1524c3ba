"""The job's networks in plain PyTorch; `ppvae.networks` has the same layers."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from ..initial import initial_weights
from ..job import CHANNELS, Job, Layers

__all__ = ["decoder", "encoder", "log_scale", "put_weights", "weights"]

_ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU, "softplus": nn.Softplus}


def encoder(job: Job) -> nn.Sequential:
    """Encoder from x to loc and s, concatenated: ``(batch, 2 latent)``; with initial weights."""
    layers = _encoder(job)
    put_weights(layers, initial_weights(job)[0])
    return layers


def decoder(job: Job) -> nn.Sequential:
    """Decoder from z to the logits of x, with initial weights."""
    layers = _decoder(job)
    put_weights(layers, initial_weights(job)[1])
    return layers


def put_weights(network: nn.Module, weights: Layers) -> None:
    """Set the weights of a network, layer by layer."""
    flat = [values for layer in weights for values in layer]
    with torch.no_grad():
        for parameter, values in zip(network.parameters(), flat, strict=True):
            parameter.copy_(torch.from_numpy(values))


def weights(network: nn.Module) -> Layers:
    """Current weights and biases of the linear layers."""
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    return [(f.weight.detach().cpu().numpy(), f.bias.detach().cpu().numpy()) for f in layers]


def log_scale(s: Tensor, job: Job) -> Tensor:
    """Logarithm of the posterior's scale, from s of the encoder."""
    if job.spread == "bounded":
        return 10 * torch.tanh(torch.where(s > 0, torch.asinh(s), s) / 10)
    return s / 2 if job.spread == "log_variance" else s


def _mlp(job: Job, widths: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), _ACTIVATIONS[job.activation]()]
    return nn.Sequential(*layers[:-1])


def _encoder(job: Job) -> nn.Sequential:
    if job.shape == "mlp":
        return _mlp(job, [784, *job.encoder, 2 * job.latent])
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
        return _mlp(job, [job.latent, *job.decoder, 784])
    few, many = CHANNELS
    return nn.Sequential(
        nn.Linear(job.latent, many * 7 * 7),
        nn.Unflatten(-1, (many, 7, 7)),
        nn.ReLU(),
        nn.ConvTranspose2d(many, few, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(few, 1, 3, stride=2, padding=1, output_padding=1),
    )
