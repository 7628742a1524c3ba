"""What bounds ask of the sites of two traces, and what they say of a site that they cannot use."""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from pyro.infer.enum import get_importance_trace
from pyro.infer.util import is_validation_enabled, validation_enabled
from pyro.poutine import Trace
from pyro.poutine.indep_messenger import CondIndepStackFrame
from pyro.util import check_model_guide_match, check_site_shape

from ppvae.errors import InputError

__all__ = [
    "PARTICLES",
    "Plates",
    "base",
    "check_particles",
    "describe",
    "family",
    "importance_traces",
    "names",
    "observed",
    "plates_of",
    "ratio",
    "shared_plates",
    "sites",
]

PARTICLES = "num_particles_vectorized"
"""What Pyro calls the plate of the particles."""

Plates = frozenset[CondIndepStackFrame]


def importance_traces(
    elbo: Any,
    model: Callable[..., Any],
    guide: Callable[..., Any],
    args: Any,
    kwargs: Any,
    check: Callable[[Trace, Trace], object],
) -> tuple[Trace, Trace]:
    """Run the guide, then the model on its draws, for a bound that needs them reparameterized.

    Args:
        elbo: the bound.
        model: one program.
        guide: the other.
        args: what they are called with.
        kwargs: and by name.
        check: of the two traces, for what else the bound refuses.

    Raises:
        InputError: for a site that is to be enumerated; one of the guide that has no
            reparameterized draw; a latent that only the model has, or only the guide.
    """
    # Pyro's complaints come after ours, which name the way out under this bound.
    with validation_enabled(False):
        p, q = get_importance_trace("flat", elbo.max_plate_nesting, model, guide, args, kwargs)
    _check_latents(p, q, type(elbo).__name__)
    check(p, q)
    if is_validation_enabled():
        check_model_guide_match(p, q, elbo.max_plate_nesting)
        for _, node in (*sites(p), *sites(q)):
            check_site_shape(node, elbo.max_plate_nesting)
    return p, q


def sites(trace: Trace) -> list[tuple[str, Any]]:
    """All sites that have a density: Pyro records a deterministic value as an observed one."""
    nodes: dict[str, Any] = {**trace.nodes}
    return [
        (name, node)
        for name, node in nodes.items()
        if node["type"] == "sample" and not node["infer"].get("_deterministic")
    ]


def observed(model: Trace) -> list[tuple[str, Any]]:
    """The sites of the data, which have a value of their own."""
    return [(name, node) for name, node in sites(model) if node["is_observed"]]


def plates_of(node: Any) -> Plates:
    """The vectorized plates of a site, that of the particles apart."""
    frames = node["cond_indep_stack"]
    return frozenset(f for f in frames if f.vectorized and f.name != PARTICLES)


def ratio(frame: CondIndepStackFrame) -> float:
    """N / B, where a plate takes B of N."""
    return 1.0 if frame.full_size is None else frame.full_size / frame.size


def shared_plates(model: Trace) -> Plates:
    """The vectorized plates that all observed sites share.

    Raises:
        InputError: if nothing is observed, or there is no such plate.
    """
    data = observed(model)
    if not data:
        raise InputError("the model has no observed site, and so there are no data; give one obs=")
    shared = plates_of(data[0][1])
    for name, node in data:
        shared &= plates_of(node)
        if not shared:
            raise InputError(
                f"observed site '{name}' ({describe(node)}) lies in no vectorized plate that all "
                "observed sites share, so that nothing says what one datum is; write "
                "'with pyro.plate(\"data\", len(x))' around all of them, or take Trace_ELBO"
            )
    return shared


def check_particles(count: int) -> None:
    """Refuse a number of draws below 1."""
    if count < 1:
        raise InputError(f"num_particles is {count}; it must be at least 1")


def names(plates: Plates) -> str:
    """Plates, as a sentence names them."""
    return " or ".join(sorted(f"'{frame.name}'" for frame in plates))


def describe(node: Any) -> str:
    """Family and plates of a site, as a sentence names them."""
    frames = [f for f in node["cond_indep_stack"] if f.name != PARTICLES]
    inside = [f"'{f.name}'" if f.vectorized else f"'{f.name}' (a loop)" for f in frames]
    return f"{family(node['fn'])}, in {'plate ' if inside else 'no plate'}{', '.join(inside)}"


def family(fn: Any) -> str:
    """A distribution's name, whatever its events and masks."""
    return type(base(fn)).__name__


def base(fn: Any) -> Any:
    """A distribution without what makes events of it, masks it or repeats it."""
    while isinstance(
        fn, (torch.distributions.Independent, dist.MaskedDistribution, dist.ExpandedDistribution)
    ):
        fn = fn.base_dist
    return fn


def _check_latents(model: Trace, guide: Trace, bound: str) -> None:
    """Refuse draws that have no gradient, or no density in one of p(x, z) and q(z | x)."""
    latents = [name for name, node in sites(model) if not node["is_observed"]]
    for name, node in (*sites(model), *sites(guide)):
        how = node["infer"].get("enumerate")
        if how and not node["is_observed"]:
            raise InputError(
                f"site '{name}' asks to be enumerated ('{how}'), and {bound} does not enumerate; "
                "take TraceEnum_ELBO"
            )
    for name, node in sites(guide):
        if not node["fn"].has_rsample:
            raise InputError(
                f"site '{name}' of the guide is {family(node['fn'])}, which has no "
                f"reparameterized draw, and {bound} needs one; take Trace_ELBO"
            )
        if name not in latents and not node["infer"].get("is_auxiliary"):
            raise InputError(
                f"site '{name}' of the guide ({describe(node)}) is no latent of the model; add it "
                "there, or mark it infer={'is_auxiliary': True}"
            )
    for name, node in sites(model):
        if name in latents and name not in guide.nodes:
            raise InputError(
                f"site '{name}' of the model ({describe(node)}) is neither observed nor in the "
                f"guide, and {bound} takes latents from there alone; draw it in the guide"
            )
