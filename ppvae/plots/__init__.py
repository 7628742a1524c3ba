"""Numbers to pictures: each function takes arrays and returns a figure; nothing else changes.

Figures are built as objects, without pyplot, and in one house style (`style`). One question a file:
how did the fit go (`training`), what does the model make of data (`pictures`), where does the guide
put them (`latent_space`), what lies all over two latents (`latent_plane`), how do bounds differ
(`comparison`); and of a diagnosis: where are the nats lost (`budget`), what is in the KL (`terms`),
what is log p(x) (`evidence`), where is the gap to it (`gaps`), can the guide be trusted for each
datum (`reliability`), does it lie where the posterior does (`chains`), is it calibrated
(`calibration`), are the data like the model's (`predictive`), which estimator of the gradient
(`estimators`).
"""

from ppvae.plots.arrays import Array, Limits
from ppvae.plots.budget import budget
from ppvae.plots.calibration import calibration
from ppvae.plots.chains import posterior_against_guide
from ppvae.plots.comparison import compare_bounds
from ppvae.plots.curves import curves
from ppvae.plots.estimators import estimators
from ppvae.plots.evidence import bound_curve, sandwich
from ppvae.plots.gaps import gaps
from ppvae.plots.latent_plane import manifold
from ppvae.plots.latent_space import latent
from ppvae.plots.pictures import imputations, interpolation, reconstructions, samples
from ppvae.plots.predictive import predictive
from ppvae.plots.prior_and_codes import prior_and_codes
from ppvae.plots.reliability import reliability, worst_data
from ppvae.plots.saving import png, save
from ppvae.plots.side_by_side import side_by_side
from ppvae.plots.style import BLUE, GREY, OKABE_ITO, PALETTE, VERMILLION, Look
from ppvae.plots.terms import kl_by_dimension, surgery
from ppvae.plots.training import history

__all__ = [
    "BLUE",
    "GREY",
    "OKABE_ITO",
    "PALETTE",
    "VERMILLION",
    "Array",
    "Limits",
    "Look",
    "bound_curve",
    "budget",
    "calibration",
    "compare_bounds",
    "curves",
    "estimators",
    "gaps",
    "history",
    "imputations",
    "interpolation",
    "kl_by_dimension",
    "latent",
    "manifold",
    "png",
    "posterior_against_guide",
    "predictive",
    "prior_and_codes",
    "reconstructions",
    "reliability",
    "samples",
    "sandwich",
    "save",
    "side_by_side",
    "surgery",
    "worst_data",
]
