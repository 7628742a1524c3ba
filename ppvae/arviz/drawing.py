"""Draws of latents from guide and prior, and of x at each of them."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppvae.arviz.arrays import Array, Arrays, Part
from ppvae.arviz.redrawing import Redraw
from ppvae.arviz.sites import Sites, data_plate
from ppvae.data import Batch, Split
from ppvae.programs import Pair
from ppvae.programs.densities import Densities
from ppvae.programs.facts import Audit
from ppvae.programs.plates import is_in
from ppvae.programs.sites import sites as sites_of
from ppvae.programs.streams import OpenStream

CHUNK = 2**21
"""Elements of x times draws held at once: 8 MiB of float32 per tensor of that shape."""

BATCH = 128
"""Data per batch of draws."""


def draw(
    pair: Pair,
    audit: Audit,
    sites: Sites,
    split: Split,
    count: int,
    *,
    noise: OpenStream,
    device: torch.device,
) -> Iterator[Part]:
    """Draw ``count`` times for each datum; modes and generators are left to the caller."""
    draws, size = (_local, BATCH) if audit.is_local else (_shared, len(split))
    for number, batch in enumerate(split.chunks(size, device)):
        noise.at(number)
        for sample, arrays in draws(pair, audit, sites, batch, count):
            if sample > 0:
                del arrays["observed_data"]  # the same as at the first draw
            yield Part(sample, number * size, arrays)


def _local(
    pair: Pair, audit: Audit, sites: Sites, batch: Batch, count: int
) -> Iterator[tuple[int, Arrays]]:
    """Draw where each datum has its own latents: many draws in each call."""
    densities = Densities(pair, audit, batch)
    at_once = max(1, CHUNK // batch["x"].numel())
    for sample in range(0, count, at_once):
        particles = min(at_once, count - sample)
        posterior = densities.draw(particles)
        with Redraw(sites.observed) as again:
            densities.at(posterior.latents, guide=False)
        with Redraw(sites.observed) as anew:
            before = densities.draw_prior(particles)
        arrays: Arrays = {
            **_draws("posterior", sites, posterior.latents, again),
            "sample_stats": _stats(("sample", "data"), posterior.log_joint, posterior.log_guide),
            **_draws("prior", sites, before.latents, anew),
            "observed_data": again.observed,
        }
        yield sample, arrays


def _shared(
    pair: Pair, audit: Audit, sites: Sites, batch: Batch, count: int
) -> Iterator[tuple[int, Arrays]]:
    """Draw where data share latents, or may do so: all data in each call."""
    rows = len(batch["x"])
    share = rows / (audit.data_size or rows)
    for sample in range(count):
        q = poutine.trace(pair.call_guide).get_trace(**batch)
        model = poutine.replay(pair.call_model, trace=q)
        p = poutine.trace(model).get_trace(**batch)
        with Redraw(sites.observed) as again:
            model(**batch)
        with Redraw(sites.observed) as anew:
            before = poutine.trace(pair.call_model).get_trace(**batch)
        plate = data_plate(p, audit, rows)
        log_guide = _total(q, plate, share) if audit.is_bound else None
        arrays: Arrays = {
            **_draws("posterior", sites, _values(q, audit), again),
            "sample_stats": _stats(("sample",), _total(p, plate, share), log_guide),
            **_draws("prior", sites, _values(before, audit), anew),
            "observed_data": again.observed,
        }
        yield sample, arrays


def _draws(group: str, sites: Sites, latents: Mapping[str, Tensor], x: Redraw) -> Arrays:
    """Draws of the latents, and of x at these."""
    by_variable = {
        site.variable: Array(("sample", *site.dims), site.arranged(latents[site.name]))
        for site in sites.latent
    }
    return {group: by_variable, f"{group}_predictive": x.drawn}


def _stats(dims: tuple[str, ...], log_joint: Tensor, log_guide: Tensor | None) -> dict[str, Array]:
    """The log-densities log p(x, z), and log q(z | x) if there is one."""
    logs = {"log_joint": log_joint, "log_guide": log_guide}
    return {n: Array(dims, value.cpu().numpy()) for n, value in logs.items() if value is not None}


def _values(trace: Any, audit: Audit) -> dict[str, Tensor]:
    return {name: trace.nodes[name]["value"] for name in audit.latents}


def _total(trace: Any, plate: str | None, share: float) -> Tensor:
    """Log-density of all sites together, ``(1,)``, in float64.

    A subsampled plate scales by N / B; ``share`` undoes that for the sites in ``plate``, that of
    the data.
    """
    trace.compute_log_prob()
    total = torch.zeros((), dtype=torch.float64)
    for node in sites_of(trace).values():
        in_data = plate is not None and is_in(node, plate)
        total += node["log_prob"].sum().cpu().double() * (share if in_data else 1.0)
    return total.reshape(1)
