"""The audit: one trace of each program, and the facts read from it."""

from collections.abc import Mapping
from dataclasses import replace

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import ELBO
from torch import Tensor
from torch.distributions import kl_divergence

from ppvae.bounds.audit.agreement import check_agreement
from ppvae.bounds.audit.notes import notes_of
from ppvae.bounds.audit.suitability import check_bound, check_suitability
from ppvae.bounds.audit.tracing import sites_and_parents, try_particles
from ppvae.bounds.enumeration import needs_score
from ppvae.bounds.traits import traits_of
from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.axes import Axes
from ppvae.programs.facts import Audit, Site
from ppvae.programs.plates import data_plate, full_size, is_in, is_scaled
from ppvae.programs.sites import Node, base, family_name, is_summed, number, point_masses
from ppvae.programs.streams import forked


def audit(pair: Pair, elbo: type[ELBO], batch: Mapping[str, Tensor]) -> Audit:
    """Trace both programs once on ``batch`` and report how the bound ``elbo`` will treat them.

    The random state and running means are left unchanged.

    Raises:
        InputError: where the two disagree (a latent that only one of them has; shapes or scales
            that differ; nothing observed), and where ``elbo`` would be wrong: no reparameterized
            draw, or crossing orders of sites, under an analytic KL; enumeration under a bound that
            does not enumerate; a variance computed from draws that the bound weighs; a mask in the
            data that the model does not take.
    """
    check_bound(elbo)
    # Pyro's own validation would raise first; the errors of the checks below name the way out.
    with evaluating(pair), forked(pair.device), pyro.validation_enabled(False):
        guide, model, parents = sites_and_parents(pair, elbo, batch)
        vectorizes, nesting = try_particles(pair, batch, guide, model)

    check_agreement(elbo, guide, model)
    plate = data_plate(model, len(batch["x"]))
    check_suitability(elbo, guide, model, parents, plate)
    _check_mask(pair, batch)
    _check_size_factor(pair, batch)

    x, without_density = batch["x"], point_masses(guide, model, parents)
    analytic = traits_of(elbo).has_closed_form_kl
    sites = tuple(
        _site(node, guide.get(name), analytic, name in without_density)
        for name, node in model.items()
    )
    of_x = (n for n, node in model.items() if node["is_observed"] and _is_data(node["value"], x))
    of_guide = [name for name in guide if name in model]
    full = len(x) if plate is None else full_size(plate)
    audit = Audit(
        sites=sites,
        is_bound=not any(site.kl == "point mass" for site in sites),
        axes=Axes(None if plate is None else plate.dim, nesting),
        data_size=full if full != len(x) else None,
        is_local=plate is not None and all(is_in(model[n], plate.name) for n in of_guide),
        vectorizes=vectorizes,
        supports={n: (family_name(model[n]["fn"]), model[n]["fn"].support) for n in of_x},
        notes=(),
        scaled=tuple(name for name, node in model.items() if is_scaled(node)),
        summed=tuple(name for name, node in model.items() if is_summed(name, node, guide)),
        mapped=tuple(
            name
            for name in of_guide
            if isinstance(base(guide[name]["fn"]), dist.Delta) and name not in without_density
        ),
        needs_scores=any(map(needs_score, guide.values())),
    )
    return replace(audit, notes=notes_of(audit, elbo, guide, model, parents, plate))


def _check_mask(pair: Pair, batch: Mapping[str, Tensor]) -> None:
    if "mask" in batch and "mask" not in pair.names("model"):
        raise InputError(
            "the data have a mask of observed entries, and the model does not name 'mask' in its "
            "signature: it would count missing entries as observed; take it in the model, or drop "
            "the mask from the data"
        )


def _check_size_factor(pair: Pair, batch: Mapping[str, Tensor]) -> None:
    if "size_factor" in batch and "size_factor" not in pair.names("model"):
        raise InputError(
            "the data have size factors, and the model does not name 'size_factor' in its "
            "signature: it would treat all rows as of one size; take it in the "
            "model, as ppvae.models.observe does, or leave them out by `size_factor='none'`"
        )


def _is_data(value: Tensor, x: Tensor) -> bool:
    """Whether a site observes x, in its own or another shape."""
    if value.shape == x.shape:
        return True
    return value.numel() == x.numel() and torch.equal(value.reshape(x.shape).to(x.dtype), x)


def _site(p: Node, q: Node | None, analytic: bool, is_point_mass: bool) -> Site:
    """The facts about a site of the model, given the guide's site of the same name."""
    kl, family, is_class = "-", None, False
    if not p["is_observed"] and q is None:
        kl = "enumerated"  # by the model alone: the agreement was checked
    elif q is not None:
        kl, family = _kl(analytic, q, p["fn"], is_point_mass), family_name(q["fn"])
        is_class = bool(q["fn"].has_enumerate_support)
    shape = tuple(p["fn"].batch_shape) + tuple(p["fn"].event_shape)
    return Site(p["name"], family_name(p["fn"]), family, kl, shape, number(p["scale"]), is_class)


def _kl(analytic: bool, guide: Node, p: dist.TorchDistribution, is_point_mass: bool) -> str:
    q = guide["fn"]
    if guide["infer"].get("enumerate"):
        return "enumerated"
    if is_point_mass:
        return "point mass"
    if not analytic or isinstance(base(q), dist.Delta):
        return "Monte Carlo"
    try:
        kl_divergence(q, p)
    except NotImplementedError:
        return "Monte Carlo"
    return "exact"
