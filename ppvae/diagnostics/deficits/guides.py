"""Candidate guides: richer families whose encoder starts as the fitted one."""

from functools import partial
from math import prod
from typing import Any

from torch import nn

from ppvae.diagnostics.deficits.beside import Appended, First
from ppvae.diagnostics.deficits.candidates import Candidate, network_of, put_guide
from ppvae.diagnostics.deficits.fitted import Fitted
from ppvae.errors import InputError
from ppvae.guides import Amortized, Flow, FullRank, LowRank, MeanField, Mixture
from ppvae.networks import MLP

LARGE = 64
"""Number of latent dimensions above which correlations are of low rank."""


def guides(fitted: Fitted) -> list[Candidate]:
    """A normal with correlations, and a flow, if richer than the guide.

    For a mean-field guide both start at it: their encoder is the fitted one, with another network
    for the new parameters.

    Raises:
        InputError: for latents other than one vector "z" per datum; for a flow, since no family is
            richer; for a model with parameters by ``pyro.param``.
    """
    size = latent_size(fitted)
    guide: Any = fitted.pair.program("guide")
    if isinstance(guide, Flow):
        raise InputError("the guide is a Flow, and no family of this package is richer")
    if len(fitted.pair.params):
        raise InputError(
            "the programs make parameters by pyro.param, which another guide would initialize "
            "again; keep them in modules"
        )
    families: list[type[Amortized]] = [Flow]
    if not isinstance(guide, (FullRank, LowRank, Mixture)) and size > 1:
        families.insert(0, FullRank if size <= LARGE else LowRank)
    return [_richer(fitted, family, size) for family in families]


def latent_size(fitted: Fitted) -> int:
    """Number of dimensions of the latent vector.

    Raises:
        InputError: if there is another latent, or it is not real-valued.
    """
    latents = [site for site in fitted.facts.sites if site.guide is not None]
    if [site.name for site in latents] != ["z"] or len(latents[0].shape) != 2:
        names = ", ".join(site.name for site in latents)
        raise InputError(
            "it needs a model with one latent vector per datum, at the site 'z', but this one has "
            f"{names}"
        )
    return latents[0].shape[1]


def _richer(fitted: Fitted, family: type[Amortized], size: int) -> Candidate:
    old: Any = fitted.pair.program("guide")
    x = fitted.batch["x"]
    given: dict[str, Any] = {"latent_dim": size, "data_shape": tuple(x.shape[1:])}
    is_own = isinstance(old, (MeanField, FullRank, LowRank, Mixture))
    remedy = f"a richer family: `guide='{family.__name__}'`"
    if not is_own:
        new = family(**given, encoder=MLP)
        new = new.to(fitted.pair.device, fitted.pair.dtype)
        put = partial(put_guide, fitted, new, fresh=tuple(new.parameters()))
        return Candidate(family.__name__, remedy, put, family is Flow)
    place, in_shape, out_shape = network_of(fitted, "encoder")

    def grown(_: Any, wanted: tuple[int, ...]) -> nn.Module:
        first, shape = place.module, out_shape
        if prod(shape) != 2 * size:  # loc and log scale come first
            first, shape = First(first, shape, (2 * size,)), (2 * size,)
        return Appended(first, in_shape, shape, wanted)

    # Its other input, classes or covariates, has one size.
    new = family(**given, encoder=grown, covariates=old.y_size)
    new = new.to(fitted.pair.device, fitted.pair.dtype)
    kept = {id(p) for p in place.module.parameters()}
    fresh = tuple(p for p in new.parameters() if id(p) not in kept)
    put = partial(put_guide, fitted, new, fresh=fresh)
    return Candidate(family.__name__, remedy, put, family is Flow)
