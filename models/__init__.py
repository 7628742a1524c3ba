"""Generative stories p(x, z), and the priors and likelihoods that they are composed of."""

from ppvae.models.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, Likelihood
from ppvae.models.priors import Prior, StandardNormal
from ppvae.models.vae import VAE

__all__ = [
    "VAE",
    "Bernoulli",
    "ContinuousBernoulli",
    "Gaussian",
    "Likelihood",
    "Prior",
    "StandardNormal",
]
