"""Numbers to pictures: each function takes arrays and returns a figure; nothing else changes.

Figures are built as objects, without pyplot, and in one house style (`style`): how a fit went
(`training`), what a model makes of data (`pictures`, `interpolation`, `worst_data`), where the
guide puts them (`latent_space`), what lies all over two latents (`latent_plane`), curves and bars
of anything (`curves`, `budget`). Figures of a question are in its folder of `ppvae.diagnostics`.
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
