"""Codes of data: draws from the aggregate posterior q(z) = (1/N) sum_n q(z | x_n)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.data import Batch, Split
from ppvae.diagnostics.bound.site_terms import Traced, univariate
from ppvae.errors import InputError, check_at_least
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.sites import Node
from ppvae.programs.streams import Stream


@dataclass(frozen=True)
class Codes:
    """Draws z ~ q(z) of the aggregate posterior, each with the index of its datum; on the CPU.

    Attributes:
        latents: values by site, ``(draws, *plates, *event)``: the plate of the data has size 1, and
            so do plates that a site is not in.
        rows: n of each draw z ~ q(z | x_n), ``(draws,)``.
        log_guide: log q(z | x_n), ``(draws,)``, in nats.
        log_prior: log p(z), ``(draws,)``, in nats.
        prior_by_dimension: log p(z_j), ``(draws, dimensions)``, in nats, by site, for sites whose
            prior is a product of univariate ones.
    """

    latents: dict[str, Tensor]
    rows: Tensor
    log_guide: Tensor
    log_prior: Tensor
    prior_by_dimension: dict[str, Tensor]

    @property
    def columns(self) -> dict[str, Tensor]:
        """The values of each site as ``(draws, dimensions)``."""
        return {name: value.flatten(1) for name, value in self.latents.items()}


def draw_codes(
    pair: Pair,
    audit: Audit,
    split: Split,
    *,
    draws: int,
    batch_size: int = 512,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
) -> Codes:
    """Draw z ~ q(z): first a datum, then a code of it.

    Data are drawn without replacement, repeatedly: with ``draws`` a multiple of N, each datum has
    the same number of codes. ``on_rows`` is called with the number of new draws.

    Raises:
        InputError: for fewer than one draw, and if q(z | x) has no density per datum: a point mass,
            an auxiliary site, a mask on a latent, latents shared by all data, or no plate of the
            data.
    """
    check_at_least(1, draws=draws)
    check_density(audit)
    device, split = torch.device(device), split.frozen(seed)
    parts = []
    with evaluating(pair), Stream.CODES.drawn(seed, device) as noise:
        passes = -(-draws // len(split))
        rows = torch.cat([torch.randperm(len(split)) for _ in range(passes)])[:draws]
        chunks = rows.split(batch_size)
        for number, batch in enumerate(split.batches(chunks, device=device)):
            noise.at(number)
            parts.append(_drawn(pair, audit, batch, chunks[number]))
            on_rows(len(chunks[number]))
    return Codes(
        {name: torch.cat([p.latents[name] for p in parts]) for name in parts[0].latents},
        rows,
        torch.cat([part.log_guide for part in parts]),
        torch.cat([part.log_prior for part in parts]),
        {
            name: torch.cat([p.prior_by_dimension[name] for p in parts])
            for name in parts[0].prior_by_dimension
        },
    )


def check_density(audit: Audit) -> None:
    """Refuse a guide whose q(z | x) has no density per datum."""
    if not audit.is_bound:
        raise InputError("a guide with a point mass has no density, and so no aggregate posterior")
    if not audit.is_local:
        raise InputError(
            "the aggregate posterior needs every latent inside the plate of the data; here some "
            "are shared by all data, or there is no such plate"
        )


def _check_sites(audit: Audit, nodes: Mapping[str, Node]) -> None:
    """Refuse sites for which the product over sites is not q(z | x)."""
    for name, node in nodes.items():
        if name not in audit.latents:
            raise InputError(
                f"the guide draws '{name}', which is not in the model: the density of the other "
                "latents is an integral over it, which the aggregate posterior does not compute"
            )
        is_masked = node["mask"] is not None and node["mask"] is not True
        if is_masked or isinstance(node["fn"], dist.MaskedDistribution):
            raise InputError(
                f"latent site '{name}' is masked: it has no density for some data, so there is no "
                "aggregate posterior; give only data where it is not masked, without a mask"
            )


def _drawn(pair: Pair, audit: Audit, batch: Batch, rows: Tensor) -> Codes:
    """One code per datum of a batch."""
    traced = Traced(pair, audit, batch, 1)
    _check_sites(audit, traced.guide)
    log_guide = log_prior = torch.zeros((), dtype=torch.float64)
    latents, by_dimension = {}, {}
    for name in audit.latents:
        q, p = traced.guide[name], traced.model[name]
        value, events = q["value"], len(q["fn"].event_shape)
        full = audit.axes.padded(value, events)
        latents[name] = full.transpose(0, audit.axes.data_axis).cpu()
        log_guide = log_guide + _by_row(traced, q, q["fn"].log_prob(value))
        log_prior = log_prior + _by_row(traced, p, p["fn"].log_prob(value))
        base = univariate(p["fn"])
        if base is not None:
            columns = traced.columns(p, base.log_prob(value), events)[0]
            by_dimension[name] = columns.cpu().double()
    return Codes(latents, rows, log_guide, log_prior, by_dimension)


def _by_row(traced: Traced, node: Node, log_prob: Tensor) -> Tensor:
    """Log-density per datum, ``(data,)``, without the scale of the site."""
    return traced.columns(node, log_prob, 0).sum(-1)[0].cpu().double()
