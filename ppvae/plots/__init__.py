"""Numbers to pictures: each function takes arrays and returns a figure; nothing else changes.

Figures are built as objects, without pyplot, and in one house style (`style`). One question a file:
how did the fit go (`training`), what does the model make of data (`pictures`), where does the guide
put them (`latent_space`), what lies all over two latents (`latent_plane`), how do bounds differ
(`comparison`).
"""

from ppvae.plots.arrays import Array, Limits
from ppvae.plots.comparison import compare_bounds
from ppvae.plots.latent_plane import manifold
from ppvae.plots.latent_space import latent
from ppvae.plots.pictures import interpolation, reconstructions, samples
from ppvae.plots.saving import save
from ppvae.plots.style import BLUE, GREY, OKABE_ITO, PALETTE, VERMILLION, Look
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
    "compare_bounds",
    "history",
    "interpolation",
    "latent",
    "manifold",
    "reconstructions",
    "samples",
    "save",
]
