"""Priors p(z), one family per file."""

from ppvae.models.priors.flow_prior import FlowPrior
from ppvae.models.priors.laplace import Laplace
from ppvae.models.priors.learned_normal import LearnedNormal
from ppvae.models.priors.mixture_of_normals import MixtureOfNormals
from ppvae.models.priors.prior import Prior
from ppvae.models.priors.standard_normal import StandardNormal
from ppvae.models.priors.student_t import StudentT
from ppvae.models.priors.vamp_prior import VampPrior

__all__ = [
    "FlowPrior",
    "Laplace",
    "LearnedNormal",
    "MixtureOfNormals",
    "Prior",
    "StandardNormal",
    "StudentT",
    "VampPrior",
]
