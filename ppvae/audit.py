"""Before the first step: do model and guide agree, which KLs are exact, which scales apply?

All of it is read off one trace of each program, never off a class name, so that it holds for
anybody's programs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.infer.inspect import TrackProvenance
from pyro.ops.provenance import detach_provenance, get_provenance
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import constraints, kl_divergence

from ppvae.bounds import FreeBitsELBO, StickingTheLandingELBO, WeightedELBO
from ppvae.distributions.optimal_normal import OptimalNormal
from ppvae.errors import InputError
from ppvae.programs import Pair, frozen

__all__ = ["Audit", "Site", "audit", "first_outside"]


@dataclass(frozen=True)
class Site:
    """What is known of one sample site before the first step.

    Attributes:
        name: the site's name.
        model: family of the model's distribution there.
        guide: family of the guide's, or ``None`` where x is observed.
        kl: ``"exact"``, ``"Monte Carlo"``, ``"enumerated"`` (summed over), ``"point mass"``
            or, where x is observed, ``"-"``.
        shape: batch and event shape of one draw, data first.
        scale: what multiplies its log-probability, beta aside; 1, or N / B in a subsampled plate.
    """

    name: str
    model: str
    guide: str | None
    kl: str
    shape: tuple[int, ...]
    scale: float


@dataclass(frozen=True)
class Audit:
    """Facts of a pair of programs, as found on one batch.

    Attributes:
        sites: every site, in the model's order.
        is_bound: false where the guide has a point mass: its density is infinite, so that no
            number computed from it is a bound on log p(x).
        data_dim: dimension, counted from the right (-1, ...), along which the data are
            independent; ``None`` where no plate says so, and there are no figures per datum.
        data_size: N, where the programs subsample a plate of N data, else ``None``.
        is_local: every latent lies inside the plate of the data, so that log p(x) factorizes.
        vectorizes: several particles can be drawn in one call, in a plate outside all others.
        max_plate_nesting: number of nested plates.
        supports: constraint of each observed site that the data itself is observed at.
        notes: sentences that a user should read.
    """

    sites: tuple[Site, ...]
    is_bound: bool
    data_dim: int | None
    data_size: int | None
    is_local: bool
    vectorizes: bool
    max_plate_nesting: int
    supports: Mapping[str, tuple[str, constraints.Constraint]]
    notes: tuple[str, ...]

    @property
    def latents(self) -> tuple[str, ...]:
        """Names of the latent sites, in the model's order."""
        return tuple(site.name for site in self.sites if site.guide is not None)

    @property
    def exact(self) -> frozenset[str]:
        """Names of the latent sites whose KL the bound takes in closed form."""
        return frozenset(site.name for site in self.sites if site.kl == "exact")


def audit(pair: Pair, elbo: type[ELBO], batch: Mapping[str, Tensor]) -> Audit:
    """Trace both programs once on ``batch`` and say what the bound ``elbo`` will make of them.

    The random state is left as it was, and so are running means.

    Raises:
        InputError: where the two disagree (a latent that the guide lacks, or has beside the
            model's; shapes or scales that differ; nothing observed), and where ``elbo`` would be
            wrong: no reparameterized draw, or an order of sites that crosses, under an analytic
            KL; enumeration under a bound that does not enumerate; a variance read off draws that
            the bound weighs; a mask in the data that the model does not take.
    """
    devices = [p.device for p in pair.parameters() if p.device.type == "cuda"][:1]
    with frozen(pair), torch.random.fork_rng(devices), pyro.validation_enabled(False):
        guide, model, parents = _traces(pair, batch)
        vectorizes, nesting = _try_particles(pair, batch, guide, model)

    analytic = issubclass(elbo, TraceMeanField_ELBO)
    _check_agreement(guide, model)
    _check_enumeration(elbo, guide, model)
    if analytic or issubclass(elbo, (StickingTheLandingELBO, WeightedELBO)):
        _check_reparameterized(elbo, guide)
    if issubclass(elbo, (FreeBitsELBO, WeightedELBO)):
        _check_density(elbo, guide)
    if issubclass(elbo, (TraceEnum_ELBO, WeightedELBO)):
        _check_variance(elbo, model)
    if analytic:
        _check_order(elbo, guide, model, parents)
    if "mask" in batch and "mask" not in pair.names("model"):
        raise InputError(
            "the data has a mask of what was observed, and the model does not name 'mask' in its "
            "signature: it would count missing entries as observed; take it in the model, or drop "
            "the mask from the data"
        )

    sites, notes, supports = [], [], {}
    x = batch["x"]
    for name, node in model.items():
        is_data = node["is_observed"]
        kl, family = "-", None
        if not is_data:
            kl, family = _kl(analytic, guide[name], node["fn"]), _family(guide[name]["fn"])
        elif node["value"].shape == x.shape:
            supports[name] = (_family(node["fn"]), node["fn"].support)
        scale = _number(node["scale"])
        expected = prod(_full_size(f) / f.size for f in node["cond_indep_stack"])
        if abs(scale - expected) > 1e-6 * expected:
            notes.append(
                f"site '{name}' is scaled by {scale:g} in the programs themselves: what is "
                "reported is the scaled program's figure, not a bound on log p(x)"
            )
        if analytic and kl == "Monte Carlo":
            notes.append(
                f"site '{name}': no closed-form KL from {family} to {_family(node['fn'])}; "
                f"{elbo.__name__} takes it by Monte Carlo there, as Trace_ELBO would"
            )
        shape = tuple(node["fn"].batch_shape) + tuple(node["fn"].event_shape)
        sites.append(Site(name, _family(node["fn"]), family, kl, shape, scale))

    frame = _data_frame(model, len(x))
    if frame is None:
        notes.append(
            "no plate of the model holds the data: figures are totals over a batch divided by its "
            "rows, and there is none for a single datum; write 'with pyro.plate(\"data\", len(x))'"
        )
    is_local = frame is not None and all(
        any(f.name == frame.name for f in model[s.name]["cond_indep_stack"])
        for s in sites
        if s.guide is not None
    )
    if issubclass(elbo, WeightedELBO):
        _check_locality(elbo, frame, guide)
    full = None if frame is None else _full_size(frame)
    is_bound = not any(site.kl == "point mass" for site in sites)
    if not is_bound:
        notes.append(
            "the guide has a point mass, whose density is infinite: there is no bound on log p(x) "
            "to report, only the reconstruction"
        )
    return Audit(
        sites=tuple(sites),
        is_bound=is_bound,
        data_dim=None if frame is None else frame.dim,
        data_size=full if full != len(x) else None,
        is_local=is_local,
        vectorizes=vectorizes,
        max_plate_nesting=nesting,
        supports=supports,
        notes=tuple(notes),
    )


def first_outside(
    support: constraints.Constraint, x: Tensor, mask: Tensor | None = None
) -> tuple[int, float] | None:
    """Row and value of the first element of ``x`` that ``support`` does not hold, if there is one.

    Elements that were not observed, where ``mask`` is not True, may be anything.

    Shapes: ``x`` is ``(batch, ...)``, and ``mask`` like it.
    """
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    outside = ~support.check(x)
    if mask is not None and mask.shape == outside.shape:
        outside = outside & mask
    if not outside.any():
        return None
    where = outside.nonzero()[0]
    return int(where[0]), float(x[tuple(where)])


_Node = dict[str, Any]
_Nodes = dict[str, _Node]


def _traces(
    pair: Pair, batch: Mapping[str, Tensor]
) -> tuple[_Nodes, _Nodes, dict[str, dict[str, frozenset[str]]]]:
    """Sample sites of guide and model, and the sites that each site's distribution depends on."""
    with TrackProvenance():
        guide = poutine.trace(pair.call_guide).get_trace(**batch)
        try:
            model = poutine.trace(poutine.replay(pair.call_model, trace=guide)).get_trace(**batch)
        except (RuntimeError, ValueError):
            # A draw of another shape than the model's own breaks the model before it can be
            # compared: let the model draw for itself, and say what differs.
            alone = poutine.trace(pair.call_model).get_trace(**batch)
            _check_agreement(_sites(guide), _sites(alone))
            raise
    parents: dict[str, dict[str, frozenset[str]]] = {}
    trace: Any
    cleaned: list[_Nodes] = []
    for role, trace in (("guide", guide), ("model", model)):
        nodes = _sites(trace)
        parents[role] = {
            name: frozenset(get_provenance(node["fn"].log_prob(detach_provenance(node["value"]))))
            & nodes.keys()
            for name, node in nodes.items()
        }
        cleaned.append(nodes)
    guide_nodes, model_nodes = cleaned
    # The distributions still carry provenance; a second trace has them plain.
    plain_guide: Any = poutine.trace(pair.call_guide).get_trace(**batch)
    plain_model: Any = poutine.trace(poutine.replay(pair.call_model, trace=plain_guide)).get_trace(
        **batch
    )
    return (
        {name: plain_guide.nodes[name] for name in guide_nodes},
        {name: plain_model.nodes[name] for name in model_nodes},
        parents,
    )


def _sites(trace: Any) -> _Nodes:
    """The sites of a trace that are random variables, plates and deterministic ones aside."""
    return {
        name: node
        for name, node in trace.nodes.items()
        if node["type"] == "sample"
        and not site_is_subsample(node)
        and not node["infer"].get("_deterministic")
    }


OTHER_GUIDE = (
    "take a --guide that infers those (of layers: TopDown, Ladder or BottomUp; of a class: "
    "SemiSupervised, with --elbo TraceEnum_ELBO)"
)
"""The way out of the two swaps that are tried first."""


def _check_agreement(guide: _Nodes, model: _Nodes) -> None:
    latents = [name for name, node in model.items() if not node["is_observed"]]
    if len(latents) == len(model):
        raise InputError(
            f"the model observes nothing (its sites: {_list(model)}); give the data to one of "
            "them, as in pyro.sample('x', ..., obs=x)"
        )
    for name, node in guide.items():
        if name in model and model[name]["is_observed"]:
            raise InputError(
                f"site '{name}' is observed in the model and sampled in the guide; "
                "a guide samples the latents alone"
            )
        if name not in model and not node["infer"].get("is_auxiliary"):
            raise InputError(
                f"the guide samples '{name}', which the model does not (its latents: "
                f"{_list(latents)}); {OTHER_GUIDE}, give the two the same name, or mark it with "
                "infer={'is_auxiliary': True}"
            )
    for name in latents:
        if name not in guide:
            raise InputError(
                f"the model samples '{name}', which the guide does not (its sites: {_list(guide)}):"
                f" it would be drawn from its prior and never inferred; {OTHER_GUIDE}, or sample "
                "it in your own"
            )
        p, q = model[name], guide[name]
        if p["value"].shape != q["value"].shape or p["fn"].event_shape != q["fn"].event_shape:
            raise InputError(
                f"site '{name}' has batch {tuple(p['fn'].batch_shape)} and event "
                f"{tuple(p['fn'].event_shape)} in the model, batch {tuple(q['fn'].batch_shape)} "
                f"and event {tuple(q['fn'].event_shape)} in the guide; make them equal, by "
                ".to_event() and by the plates"
            )
        if p["fn"].batch_shape != q["fn"].batch_shape:
            raise InputError(
                f"site '{name}' has batch {tuple(p['fn'].batch_shape)} in the model and "
                f"{tuple(q['fn'].batch_shape)} in the guide; put both in the same plates"
            )
        if abs(_number(p["scale"]) - _number(q["scale"])) > 1e-6 * _number(p["scale"]):
            raise InputError(
                f"site '{name}' is scaled by {_number(p['scale']):g} in the model and by "
                f"{_number(q['scale']):g} in the guide: bounds read one or the other, and none of "
                "them would be right; scale both alike, or leave the weight of the KL to beta"
            )


def _check_enumeration(elbo: type[ELBO], guide: _Nodes, model: _Nodes) -> None:
    if issubclass(elbo, TraceEnum_ELBO):
        if not any(node["infer"].get("enumerate") for node in (*guide.values(), *model.values())):
            raise InputError(
                f"{elbo.__name__} sums over sites that ask for it by infer={{'enumerate': "
                f"'parallel'}}, and none does (sites: {_list(model)}); take Trace_ELBO"
            )
        return
    for name, node in [*guide.items(), *model.items()]:
        if not node["is_observed"] and node["infer"].get("enumerate"):
            raise InputError(
                f"site '{name}' asks to be enumerated, and {elbo.__name__} does not enumerate; "
                "take TraceEnum_ELBO"
            )


def _check_density(elbo: type[ELBO], guide: _Nodes) -> None:
    for name, node in guide.items():
        if isinstance(_base(node["fn"]), dist.Delta):
            raise InputError(
                f"site '{name}' of the guide is a point mass, whose density is infinite, and "
                f"{elbo.__name__} is made of the guide's density; take another guide, or Trace_ELBO"
            )


def _check_variance(elbo: type[ELBO], model: _Nodes) -> None:
    for name, node in model.items():
        if isinstance(_base(node["fn"]), OptimalNormal):
            raise InputError(
                f"site '{name}': variance 'optimal' is the best where all draws count alike, and "
                f"{elbo.__name__} weighs them; take --likelihood.variance learned"
            )


def _check_locality(elbo: type[ELBO], frame: Any, guide: _Nodes) -> None:
    inside = "inside 'with pyro.plate(\"data\", len(x))', or take Trace_ELBO"
    if frame is None:
        raise InputError(
            f"{elbo.__name__} weighs the draws of each datum, and no plate of the model holds the "
            f"data; write the model {inside}"
        )
    for name, node in guide.items():
        if not any(f.name == frame.name for f in node["cond_indep_stack"]):
            raise InputError(
                f"site '{name}' of the guide is shared by all data, and {elbo.__name__} weighs the "
                f"draws of each datum; draw it {inside}"
            )


def _check_reparameterized(elbo: type[ELBO], guide: _Nodes) -> None:
    for name, node in guide.items():
        if not node["fn"].has_rsample:
            raise InputError(
                f"site '{name}' of the guide is {_family(node['fn'])}, which has no "
                f"reparameterized draw, and {elbo.__name__} needs one; take Trace_ELBO"
            )


def _check_order(
    elbo: type[ELBO],
    guide: _Nodes,
    model: _Nodes,
    parents: Mapping[str, Mapping[str, frozenset[str]]],
) -> None:
    """Refuse a site whose parents in the model are among its descendants in the guide.

    There KL(q(a | ...) || p(a | b)) is taken at a b that was drawn given this very a, so that the
    sum of such terms is not the KL of the joint distributions.
    """
    ancestors: dict[str, frozenset[str]] = {}
    for name in guide:  # in the order of sampling, so parents come first
        direct = parents["guide"][name] - {name}
        ancestors[name] = direct.union(*(ancestors.get(p, frozenset()) for p in direct))
    for name in (n for n in guide if n in model):
        crossing = [
            parent
            for parent in parents["model"][name] - {name}
            if name in ancestors.get(parent, ())
        ]
        if crossing:
            raise InputError(
                f"in the model '{name}' depends on '{crossing[0]}', and in the guide "
                f"'{crossing[0]}' depends on '{name}': {elbo.__name__} would be wrong by nats for "
                f"such a pair; take Trace_ELBO, or let the guide draw '{crossing[0]}' first"
            )


def _try_particles(
    pair: Pair, batch: Mapping[str, Tensor], guide: _Nodes, model: _Nodes
) -> tuple[bool, int]:
    """Whether a plate of particles outside all others works, and the number of plates inside it."""
    dims = [
        frame.dim
        for node in [*guide.values(), *model.values()]
        for frame in node["cond_indep_stack"]
        if frame.vectorized
    ]
    nesting = -min(dims, default=0)
    particles = pyro.plate("_particles", 2, dim=-nesting - 1)
    try:
        with particles:
            q = poutine.trace(pair.call_guide).get_trace(**batch)
            p = poutine.trace(poutine.replay(pair.call_model, trace=q)).get_trace(**batch)
        p.compute_log_prob()
    except (RuntimeError, ValueError, IndexError):
        return False, nesting  # a network that takes one batch dimension only, for one
    for name, node in model.items():
        shape, log_prob = node["fn"].batch_shape, p.nodes[name]["log_prob"]
        padded = (2, *(1,) * (nesting - len(shape)), *shape)
        if tuple(log_prob.shape) != padded:
            return False, nesting
    return True, nesting


def _data_frame(model: _Nodes, rows: int) -> Any:
    """The plate of the observed sites that holds the data: by size, and by name if two have it."""
    frames = {
        frame.name: frame
        for node in model.values()
        if node["is_observed"]
        for frame in node["cond_indep_stack"]
        if frame.vectorized and frame.size == rows
    }
    return frames.get("data") or next(iter(frames.values()), None)


def _full_size(frame: Any) -> int:
    return int(frame.size if frame.full_size is None else frame.full_size)


def _kl(analytic: bool, guide: _Node, p: dist.TorchDistribution) -> str:
    q = guide["fn"]
    if guide["infer"].get("enumerate"):
        return "enumerated"
    if isinstance(_base(q), dist.Delta):
        return "point mass"
    if not analytic:
        return "Monte Carlo"
    try:
        kl_divergence(q, p)
    except NotImplementedError:
        return "Monte Carlo"
    return "exact"


def _base(fn: Any) -> Any:
    while isinstance(
        fn, (torch.distributions.Independent, dist.MaskedDistribution, dist.ExpandedDistribution)
    ):
        fn = fn.base_dist
    return fn


def _family(fn: Any) -> str:
    return type(_base(fn)).__name__


def _number(scale: Any) -> float:
    return float(scale.mean() if isinstance(scale, Tensor) else scale)


def _list(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
