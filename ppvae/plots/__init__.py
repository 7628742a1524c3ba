"""Figures: each function takes arrays and returns a figure, without other effects.

Figures are objects, made without pyplot, in one style (`style`): training curves (`training`),
reconstructions and draws (`pictures`, `interpolation`, `worst_data`), codes (`latent_space`), the
decoded plane of two latents (`latent_plane`), general curves and bars (`curves`, `budget`). The
figures of a diagnostic question are in its folder of `ppvae.diagnostics`.
"""

from ppvae.plots.arrays import Array, Limits
from ppvae.plots.budget import budget
from ppvae.plots.columns import Columns
from ppvae.plots.curves import curves
from ppvae.plots.interpolation import interpolation
from ppvae.plots.latent_plane import manifold
from ppvae.plots.latent_space import latent
from ppvae.plots.pictures import imputations, reconstructions, samples
from ppvae.plots.png import png
from ppvae.plots.prior_and_codes import prior_and_codes
from ppvae.plots.side_by_side import side_by_side
from ppvae.plots.style import BLUE, GREY, OKABE_ITO, PALETTE, VERMILLION, Look, in_house_style
from ppvae.plots.svg import svg
from ppvae.plots.tables import marginals, pairs, rebuilt_columns
from ppvae.plots.training import history
from ppvae.plots.worst_data import worst_data

__all__ = [
    "BLUE",
    "GREY",
    "OKABE_ITO",
    "PALETTE",
    "VERMILLION",
    "Array",
    "Columns",
    "Limits",
    "Look",
    "budget",
    "curves",
    "history",
    "imputations",
    "in_house_style",
    "interpolation",
    "latent",
    "manifold",
    "marginals",
    "pairs",
    "png",
    "prior_and_codes",
    "rebuilt_columns",
    "reconstructions",
    "samples",
    "side_by_side",
    "svg",
    "worst_data",
]
