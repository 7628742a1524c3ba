"""Traces of model and guide for bounds that need reparameterized draws, with their checks."""

from collections.abc import Callable
from typing import Any

from pyro.infer.enum import get_importance_trace
from pyro.infer.util import is_validation_enabled, validation_enabled
from pyro.poutine import Trace
from pyro.util import check_model_guide_match, check_site_shape

from ppvae.errors import InputError
from ppvae.programs.plates import Plates, describe, plates
from ppvae.programs.sites import Nodes, family_name, is_auxiliary, observed, sites


def importance_traces(
    elbo: Any,
    model: Callable[..., Any],
    guide: Callable[..., Any],
    args: Any,
    kwargs: Any,
    check: Callable[[Trace, Trace], object],
) -> tuple[Trace, Trace]:
    """Run the guide, then the model on its draws, for a bound that needs them reparameterized.

    ``check`` makes further checks of the bound on the two traces.

    Raises:
        InputError: for a site marked for enumeration; a site of the guide without a
            reparameterized draw; a latent that only the model has, or only the guide.
    """
    # Pyro validates after us, because our errors name the way out under this bound.
    with validation_enabled(False):
        p, q = get_importance_trace("flat", elbo.max_plate_nesting, model, guide, args, kwargs)
    _check_latents(p, q, type(elbo).__name__)
    check(p, q)
    if is_validation_enabled():
        check_model_guide_match(p, q, elbo.max_plate_nesting)
        node: Any
        for node in (*sites(p).values(), *sites(q).values()):
            check_site_shape(node, elbo.max_plate_nesting)
    return p, q


def shared_plates(model: Trace) -> Plates:
    """The vectorized plates that all observed sites share.

    Raises:
        InputError: if nothing is observed, or there is no such plate.
    """
    data = observed(model)
    if not data:
        raise InputError("the model has no observed site, and so no data; give one obs=")
    shared = plates(next(iter(data.values())))
    for name, node in data.items():
        shared &= plates(node)
        if not shared:
            raise InputError(
                f"observed site '{name}' ({describe(node)}) lies in no vectorized plate that all "
                "observed sites share, so that a datum is not defined; write "
                "'with pyro.plate(\"data\", len(x))' around all of them, or take Trace_ELBO"
            )
    return shared


def check_particles(count: int) -> None:
    """Refuse a number of draws below 1."""
    if count < 1:
        raise InputError(f"num_particles is {count}; it must be at least 1")


def check_reparameterized(guide: Nodes, bound: str) -> None:
    """Refuse sites of the guide whose draws have no gradient."""
    for name, node in guide.items():
        if not node["fn"].has_rsample:
            raise InputError(
                f"site '{name}' of the guide is {family_name(node['fn'])}, which has no "
                f"reparameterized draw, and {bound} needs one; take Trace_ELBO"
            )


def _check_latents(model: Trace, guide: Trace, bound: str) -> None:
    """Refuse enumerated sites, draws without a gradient, and latents of one program alone."""
    latents = [name for name, node in sites(model).items() if not node["is_observed"]]
    for name, node in (*sites(model).items(), *sites(guide).items()):
        how = node["infer"].get("enumerate")
        if how and not node["is_observed"]:
            raise InputError(
                f"site '{name}' asks to be enumerated ('{how}'), and {bound} does not enumerate; "
                "take TraceEnum_ELBO"
            )
    check_reparameterized(sites(guide), bound)
    for name, node in sites(guide).items():
        if name not in latents and not is_auxiliary(node):
            raise InputError(
                f"site '{name}' of the guide ({describe(node)}) is not a latent of the model; add "
                "it there, or mark it infer={'is_auxiliary': True}"
            )
    for name, node in sites(model).items():
        if name in latents and name not in guide.nodes:
            raise InputError(
                f"site '{name}' of the model ({describe(node)}) is neither observed nor in the "
                f"guide, and {bound} takes latents from the guide alone; draw it in the guide"
            )
