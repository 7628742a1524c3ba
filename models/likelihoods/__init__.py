"""Likelihoods p(x | z), one family per file."""

from ppvae.models.likelihoods.bernoulli import Bernoulli
from ppvae.models.likelihoods.binomial import Binomial
from ppvae.models.likelihoods.categorical import Categorical
from ppvae.models.likelihoods.continuous_bernoulli import ContinuousBernoulli
from ppvae.models.likelihoods.discretized_logistic import DiscretizedLogistic
from ppvae.models.likelihoods.gaussian import Gaussian
from ppvae.models.likelihoods.laplace import Laplace
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.mixture_of_discretized_logistics import MixtureOfDiscretizedLogistics
from ppvae.models.likelihoods.negative_binomial import NegativeBinomial
from ppvae.models.likelihoods.per_column import PerColumn
from ppvae.models.likelihoods.poisson import Poisson
from ppvae.models.likelihoods.student_t import StudentT
from ppvae.models.likelihoods.zero_inflated import ZeroInflated

__all__ = [
    "Bernoulli",
    "Binomial",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Gaussian",
    "Laplace",
    "Likelihood",
    "MixtureOfDiscretizedLogistics",
    "NegativeBinomial",
    "PerColumn",
    "Poisson",
    "StudentT",
    "ZeroInflated",
]
