"""p(z), one family a file."""

from ppvae.models.priors.prior import Prior
from ppvae.models.priors.standard_normal import StandardNormal

__all__ = ["Prior", "StandardNormal"]
