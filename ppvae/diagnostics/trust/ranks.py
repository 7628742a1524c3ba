"""Ranks of simulated latents, and of their densities, among draws of the guide."""

import torch
from torch import Tensor

from ppvae.data import Batch
from ppvae.diagnostics.shared.simulation import simulate
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.programs.densities import Densities, Draws
from ppvae.programs.facts import Audit
from ppvae.programs.sites import dimension_names

CHUNK = 2**23
"""Maximum of numbers of x times draws in memory: 32 MiB of float32 per tensor."""

JOINT = ("log p(x, z)", "log q(z | x)")
"""Joint quantities of z and x, which detect what single dimensions of z do not show."""


def ranks_of(
    pair: Pair, audit: Audit, batch: Batch, draws: int, *, check: bool
) -> tuple[Tensor, Tensor, list[tuple[str, str]]]:
    """Numbers of draws below and equal to simulated values, ``(data, quantities)``; names."""
    simulated, latents = simulate(pair, audit, batch, check=check)
    densities = Densities(pair, audit, simulated)
    truth = densities.at(latents)
    sites = audit.latents
    joint = JOINT if truth.latents.keys() == set(sites) else JOINT[:1]
    true = _quantities(densities, sites, truth, joint)[0]
    # Equal log-densities may differ by rounding, since they are from calls of different shapes.
    tolerance = true.abs() * 16 * torch.finfo(true.dtype).eps
    tolerance[:, : -len(joint)] = 0
    below, equal = (torch.zeros(true.shape, dtype=torch.float64) for _ in range(2))
    at_once = max(1, CHUNK // max(true.numel(), simulated["x"].numel()))
    for start in range(0, draws, at_once):
        draw = densities.draw(min(at_once, draws - start))
        values = _quantities(densities, sites, draw, joint)
        if true.isnan().any() or values.isnan().any():
            raise InputError(
                "a latent, or its density, is not a number on simulated data, so there is nothing "
                "to rank; take another checkpoint"
            )
        below += (values < true - tolerance).sum(0).cpu()
        equal += ((values - true).abs() <= tolerance).sum(0).cpu()
    labels = [
        (name, site)
        for site in sites
        for name in dimension_names({site: densities.columns(site, latents[site]).shape[-1]})
    ]
    return below, equal, [*labels, *((name, "") for name in joint)]


def _quantities(
    densities: Densities, sites: tuple[str, ...], draws: Draws, joint: tuple[str, ...]
) -> Tensor:
    """Every dimension of every latent, and then ``joint``: ``(particles, data, quantities)``."""
    z = [densities.columns(site, draws.latents[site]) for site in sites]
    logs = [draws.log_joint, draws.log_guide][: len(joint)]
    return torch.cat([*z, *(log[..., None] for log in logs if log is not None)], dim=-1)
