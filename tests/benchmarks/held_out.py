"""Bound on held-out images, computed from weights in the same way for all contenders."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import held_out_images
from .job import Activation, Job, Layers

__all__ = ["held_out_bound"]

Floats = NDArray[np.floating[Any]]

_CHUNK = 1_000

_ACTIVATIONS: dict[Activation, Callable[[Floats], Floats]] = {
    "relu": lambda h: np.maximum(h, 0),
    "silu": lambda h: h / (1 + np.exp(-h)),
    "softplus": lambda h: np.logaddexp(h, 0),
}


def held_out_bound(job: Job, encoder: Layers, decoder: Layers) -> float:
    """Mean of log p(x | z) - KL(q(z | x) || p(z)), nats per image, with one z per image.

    The noise is the same in every call.
    """
    images = held_out_images(job)
    noise = np.random.default_rng(0).standard_normal((len(images), job.latent), np.float32)
    total = 0.0
    for i in range(0, len(images), _CHUNK):
        x = images[i : i + _CHUNK]
        loc, s = np.split(_network(encoder, x, job), 2, axis=-1)
        log_scale = _log_scale(s, job)
        scale = np.exp(log_scale)
        logits = _network(decoder, loc + scale * noise[i : i + _CHUNK], job)
        kl = (loc**2 + scale**2 - 1) / 2 - log_scale
        log_likelihood = x * logits - np.logaddexp(logits, 0)
        total += float(log_likelihood.sum(dtype=np.float64) - kl.sum(dtype=np.float64))
    return total / len(images)


def _log_scale(s: Floats, job: Job) -> Floats:
    if job.spread == "bounded":
        return 10 * np.tanh(np.where(s > 0, np.arcsinh(s), s) / 10)
    return s / 2 if job.spread == "log_variance" else s


def _network(layers: Layers, x: Floats, job: Job) -> Floats:
    for i, (weight, bias) in enumerate(layers):
        x = x if i == 0 else _ACTIVATIONS[job.activation](x)
        x = x @ weight.T + bias
    return x
