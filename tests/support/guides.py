"""Every guide of one latent, with a model whose posterior is curved."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import ppvae.guides
from ppvae.guides import Amortized
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.models.conditional_vae import ConditionalVAE
from ppvae.networks import MLP

ROWS, COLUMNS = 5, 3

OWN: dict[str, dict[str, Any]] = {
    "Flow": {"hidden": (8,), "context": 4},
    "LowRank": {"rank": 2},
}
"""Arguments of families whose defaults are larger than a test needs."""

GUIDES = sorted(
    name
    for name in ppvae.guides.__all__
    if issubclass(getattr(ppvae.guides, name), Amortized) and name != "Amortized"
)
DENSITIES = [name for name in GUIDES if name != "Delta"]
every_guide = pytest.mark.parametrize("name", GUIDES)
every_density = pytest.mark.parametrize("name", DENSITIES)
CURVED = partial(MLP, hidden=(6,), activation="tanh")


def programs(
    name: str,
    latent_dim: int = 2,
    classes: int = 0,
    dtype: torch.dtype = torch.float64,
    noise: float = 0.3,
    **own: Any,
) -> tuple[Any, Any]:
    """A model with a curved posterior, and the guide of this name, without zero weights."""
    torch.manual_seed(0)
    parts = StandardNormal(latent_dim), Gaussian((COLUMNS,), variance=0.5), CURVED
    model = ConditionalVAE(*parts, classes) if classes else VAE(*parts)
    family = getattr(ppvae.guides, name)
    own = OWN.get(name, {}) | ({"model": model} if name == "SemiAmortized" else {}) | own
    guide = family(latent_dim, (COLUMNS,), classes=classes, **{"encoder": CURVED} | own)
    with torch.no_grad():
        for parameter in [*model.parameters(), *guide.parameters()]:
            parameter.add_(noise * torch.randn_like(parameter))
    return model.to(dtype), guide.to(dtype)


def data(rows: int = ROWS, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, COLUMNS, generator=generator, dtype=torch.float64)
