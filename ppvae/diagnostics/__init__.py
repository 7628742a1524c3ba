"""What a fitted pair of programs has learned, and how far its figures can be trusted.

One question a file: where does the guide put each datum (`posterior`), is the latent used
(`activity`), what is log p(x) (`evidence`).
"""

from ppvae.diagnostics.activity import active_units
from ppvae.diagnostics.evidence import Evidence, log_evidence, log_weights
from ppvae.diagnostics.posterior import Embedding, embed
from ppvae.diagnostics.subject import subject

__all__ = [
    "Embedding",
    "Evidence",
    "active_units",
    "embed",
    "log_evidence",
    "log_weights",
    "subject",
]
