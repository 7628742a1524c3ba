"""p(x | z), one family a file."""

from ppvae.models.likelihoods.bernoulli import Bernoulli
from ppvae.models.likelihoods.continuous_bernoulli import ContinuousBernoulli
from ppvae.models.likelihoods.gaussian import Gaussian
from ppvae.models.likelihoods.likelihood import Likelihood

__all__ = ["Bernoulli", "ContinuousBernoulli", "Gaussian", "Likelihood"]
