"""Variational families q(z | x), each an amortized Pyro program."""

# Registers the KLs in closed form that torch and Pyro lack for these families.
import ppvae.distributions.divergences  # noqa: F401  # see above
from ppvae.guides.amortized import Amortized
from ppvae.guides.bottom_up import BottomUp
from ppvae.guides.delta import Delta
from ppvae.guides.exact_posterior import ExactPosterior
from ppvae.guides.flow import Flow
from ppvae.guides.full_rank import FullRank
from ppvae.guides.ladder import Ladder
from ppvae.guides.low_rank import LowRank
from ppvae.guides.mean_field import MeanField
from ppvae.guides.mixture import Mixture
from ppvae.guides.semi_amortized import SemiAmortized
from ppvae.guides.semi_supervised import SemiSupervised
from ppvae.guides.top_down import TopDown

__all__ = [
    "Amortized",
    "BottomUp",
    "Delta",
    "ExactPosterior",
    "Flow",
    "FullRank",
    "Ladder",
    "LowRank",
    "MeanField",
    "Mixture",
    "SemiAmortized",
    "SemiSupervised",
    "TopDown",
]
