"""Generative stories p(x, z), and the priors and likelihoods that they are composed of.

Two families are priors and likelihoods both, and are named by where they stand:
``priors.Laplace``, ``likelihoods.Laplace``.
"""

from ppvae.models import likelihoods, priors
from ppvae.models.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, Likelihood
from ppvae.models.observation import observe
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
    "likelihoods",
    "observe",
    "priors",
]
