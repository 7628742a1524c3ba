"""The aggregate posterior q(z).

q(z) = (1/N) sum_n q(z | x_n) is the distribution of the codes of the data (Makhzani et al., 2016;
Hoffman and Johnson, 2016). Its density is computed over all N components: over a mini-batch it
would be biased.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from pyro import poutine
from pyro.infer.inspect import TrackProvenance
from torch import Tensor

from ppvae.data import Batch, Split
from ppvae.diagnostics.bound.codes import check_density
from ppvae.diagnostics.bound.site_terms import univariate
from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.pair import traces
from ppvae.programs.sites import depends_on
from ppvae.programs.streams import forked

CHUNK = 2**21
"""Maximum of codes times data times dimensions in memory: 8 MiB of float32 per tensor."""


@dataclass(frozen=True)
class Aggregate:
    """The aggregate posterior's log-densities at given codes, in nats, on the CPU.

    Attributes:
        log_prob: log q(z) = log (1/N) sum_n q(z | x_n), ``(codes,)``, of all latents together.
        by_dimension: log q(z_j), ``(codes, dimensions)``, by site; empty if not asked for, or if
            the guide does not factorize.
        data: N.
    """

    log_prob: Tensor
    by_dimension: dict[str, Tensor]
    data: int


def aggregate_log_prob(
    pair: Pair,
    audit: Audit,
    split: Split,
    latents: Mapping[str, Tensor],
    *,
    by_dimension: bool = False,
    batch_size: int = 512,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
) -> Aggregate:
    """Score codes under the aggregate posterior of all N data.

    With one site in the guide, a batch is encoded once for all codes; with several, once for each
    chunk of codes, which are in the outermost plate. Memory is that of a chunk. ``latents`` are
    codes by site, in the shapes of `Codes.latents`; ``seed`` is that of their binarization, if a
    split is binarized again at each pass.

    Raises:
        InputError: as `draw_codes`, and if a site has no code.
    """
    check_density(audit)
    if set(latents) != set(audit.latents):
        raise InputError(
            f"codes are given for {sorted(latents)}, but the latents are {sorted(audit.latents)}; "
            "give codes for every latent"
        )
    device, split = torch.device(device), split.frozen(seed)
    codes = {name: value.to(device) for name, value in latents.items()}
    total = nothing = torch.tensor(-math.inf, dtype=torch.float64)
    separate: dict[str, Tensor] = {}
    some = next(split.chunks(min(2, len(split)), device))
    by_dimension = by_dimension and not why_undivided(pair, audit, some, ("guide",))
    with evaluating(pair), forked(device):
        for batch in split.chunks(batch_size, device):
            joint: list[Tensor] = []
            single: dict[str, list[Tensor]] = {name: [] for name in codes}
            for log_q, by_site in _scored(pair, audit, batch, codes, by_dimension=by_dimension):
                joint.append(log_q.logsumexp(1).cpu().double())
                for name, terms in by_site.items():
                    single[name].append(terms.logsumexp(1).cpu().double())
            total = torch.logaddexp(total, torch.cat(joint))
            for name, each in single.items():
                if each:
                    before = separate.get(name, nothing)
                    separate[name] = torch.logaddexp(before, torch.cat(each))
            on_rows(len(batch["x"]))
    log_n = math.log(len(split))
    return Aggregate(
        total - log_n,
        {name: value - log_n for name, value in separate.items()},
        len(split),
    )


def why_undivided(
    pair: Pair, audit: Audit, batch: Batch, roles: Sequence[str] = ("guide", "model")
) -> str:
    """Why q(z | x) or p(z) is not a product over dimensions of z; ``""`` if both are."""
    names = set(audit.latents)
    with evaluating(pair), forked(batch["x"].device), TrackProvenance():
        guide, model = traces(pair, batch)
        by_role = {"guide": guide, "model": model}
        for role, name in product(roles, audit.latents):
            node: Any = by_role[role].nodes[name]
            if univariate(node["fn"]) is None:
                return (
                    f"the {role}'s distribution of site '{name}' is not a product of univariate "
                    "ones"
                )
            others = (depends_on(node) & names) - {name}
            if others:
                return f"site '{name}' depends on '{min(others)}' in the {role}"
    return ""


def _scored(
    pair: Pair, audit: Audit, batch: Batch, codes: dict[str, Tensor], *, by_dimension: bool
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Score each chunk of codes: log q(z | x), ``(codes, data)``, and by dimension of each site."""
    rows = len(batch["x"])
    sizes = {name: math.prod(value.shape[1:]) for name, value in codes.items()}
    widest = max(sizes.values())
    if len(codes) > 1:
        # Networks between the sites run on every code with every datum: x approximates their width.
        widest = max(widest, math.prod(batch["x"].shape[1:]))
    size = max(1, CHUNK // (rows * widest))
    if len(codes) > 1 and not audit.vectorizes:
        size = 1
    fixed: Any = poutine.trace(pair.call_guide).get_trace(**batch) if len(codes) == 1 else None
    for start in range(0, len(next(iter(codes.values()))), size):
        chunk = {name: value[start : start + size] for name, value in codes.items()}
        trace = _conditioned(pair, audit, batch, chunk) if fixed is None else fixed
        log_q = torch.zeros((), device=batch["x"].device)
        by_site: dict[str, Tensor] = {}
        for name, value in chunk.items():
            fn: Any = trace.nodes[name]["fn"]
            wide = audit.axes.across(value, rows)
            base = univariate(fn) if by_dimension else None
            term = (fn if base is None else base).log_prob(wide)
            events = 0 if base is None else len(fn.event_shape)
            columns = audit.axes.columns(audit.axes.padded(term, events), events)
            columns = columns.expand(len(value), rows, -1)
            if base is not None:
                by_site[name] = columns
            log_q = log_q + columns.sum(-1)
        yield log_q, by_site


def _conditioned(pair: Pair, audit: Audit, batch: Batch, codes: Mapping[str, Tensor]) -> Any:
    """The trace of the guide with every code at every datum."""
    wide = {name: audit.axes.across(value, len(batch["x"])) for name, value in codes.items()}
    if not audit.vectorizes:
        wide = {name: audit.as_drawn(name, value) for name, value in wide.items()}
    guide = poutine.condition(pair.call_guide, wide)
    if audit.vectorizes:
        particles = len(next(iter(codes.values())))
        guide = audit.axes.plate(particles, "_codes")(guide)
    return poutine.trace(guide).get_trace(**batch)
