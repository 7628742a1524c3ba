"""Models p(x, z), and the priors and likelihoods that they are composed of.

Two names are both a prior and a likelihood, and need their module:
``priors.Laplace``, ``likelihoods.Laplace``.
"""

from typing import Any

from ppvae.models import likelihoods, priors
from ppvae.models.conditional_vae import ConditionalVAE
from ppvae.models.hierarchical_vae import HierarchicalVAE
from ppvae.models.likelihoods import (
    Bernoulli,
    Binomial,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    Likelihood,
    MixtureOfDiscretizedLogistics,
    NegativeBinomial,
    PerColumn,
    Poisson,
    ZeroInflated,
)
from ppvae.models.linear_gaussian import LinearGaussian
from ppvae.models.observation import observe
from ppvae.models.priors import (
    FlowPrior,
    LearnedNormal,
    MixtureOfNormals,
    Prior,
    StandardNormal,
    VampPrior,
)
from ppvae.models.semi_supervised_vae import SemiSupervisedVAE
from ppvae.models.vae import VAE

__all__ = [
    "VAE",
    "Bernoulli",
    "Binomial",
    "Categorical",
    "ConditionalVAE",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "FlowPrior",
    "Gaussian",
    "HierarchicalVAE",
    "LearnedNormal",
    "Likelihood",
    "LinearGaussian",
    "MixtureOfDiscretizedLogistics",
    "MixtureOfNormals",
    "NegativeBinomial",
    "PerColumn",
    "Poisson",
    "Prior",
    "SemiSupervisedVAE",
    "StandardNormal",
    "VampPrior",
    "ZeroInflated",
    "likelihoods",
    "observe",
    "priors",
]


def __getattr__(name: str) -> Any:
    """Raise an error that explains names with two meanings."""
    if name in ("Laplace", "StudentT"):
        raise AttributeError(
            f"{name} is a prior and a likelihood: take ppvae.models.priors.{name} or "
            f"ppvae.models.likelihoods.{name}"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
