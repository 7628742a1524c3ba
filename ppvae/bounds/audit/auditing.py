"""The audit: one trace of each program, and the facts that are read off it."""

from collections.abc import Mapping, Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import ELBO
from torch import Tensor
from torch.distributions import kl_divergence

from ppvae.bounds.audit.agreement import check_agreement
from ppvae.bounds.audit.suitability import check_bound, check_suitability
from ppvae.bounds.audit.tracing import traces, try_particles
from ppvae.bounds.traits import traits_of
from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.axes import Axes
from ppvae.programs.facts import Audit, Site
from ppvae.programs.plates import Plate, data_plate, full_size, is_in, subsampling
from ppvae.programs.sites import (
    Node,
    Nodes,
    Parents,
    auxiliary,
    base,
    family_name,
    is_summed,
    listed,
    number,
    point_masses,
)
from ppvae.programs.streams import forked

__all__ = ["audit"]


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
    check_bound(elbo)
    # What the two lack is said below, in words that name the way out; Pyro would complain first.
    with evaluating(pair), forked(pair.device), pyro.validation_enabled(False):
        guide, model, parents = traces(pair, elbo, batch)
        vectorizes, nesting = try_particles(pair, batch, guide, model)

    analytic = traits_of(elbo).has_closed_form_kl
    check_agreement(elbo, guide, model)
    plate = data_plate(model, len(batch["x"]))
    check_suitability(elbo, guide, model, parents, plate)
    if "mask" in batch and "mask" not in pair.names("model"):
        raise InputError(
            "the data has a mask of what was observed, and the model does not name 'mask' in its "
            "signature: it would count missing entries as observed; take it in the model, or drop "
            "the mask from the data"
        )

    sites, notes, supports = [], [], {}
    scaled, summed = [], []
    without_density = point_masses(guide, model, parents)
    x = batch["x"]
    for name, node in model.items():
        is_data = node["is_observed"]
        kl, family = "-", None
        if is_summed(name, node, guide):
            kl = "enumerated"
            summed.append(name)
        elif not is_data:
            kl = _kl(analytic, guide[name], node["fn"], name in without_density)
            family = family_name(guide[name]["fn"])
        elif _is_data(node["value"], x):
            supports[name] = (family_name(node["fn"]), node["fn"].support)
        scale = number(node["scale"])
        expected = subsampling(node)
        if abs(scale - expected) > 1e-6 * expected:
            scaled.append(name)
            notes.append(
                f"site '{name}' is scaled by {scale:g} in the programs themselves: what is "
                "reported is the scaled program's figure, not a bound on log p(x), which they do "
                "not have; leave the weight of the KL to beta"
            )
        is_delta = not is_data and name in guide and isinstance(base(guide[name]["fn"]), dist.Delta)
        if analytic and kl == "Monte Carlo" and not is_delta:
            notes.append(
                f"site '{name}': no closed-form KL from {family} to {family_name(node['fn'])}; "
                f"{elbo.__name__} takes it by Monte Carlo there, as Trace_ELBO would"
            )
        shape = tuple(node["fn"].batch_shape) + tuple(node["fn"].event_shape)
        is_class = name in guide and bool(guide[name]["fn"].has_enumerate_support)
        sites.append(Site(name, family_name(node["fn"]), family, kl, shape, scale, is_class))

    if plate is None:
        notes.append(
            "no plate of the model holds the data: figures are totals over a batch divided by its "
            "rows, and there is none for a single datum; write 'with pyro.plate(\"data\", len(x))'"
        )
    is_local = plate is not None and all(
        is_in(model[site.name], plate.name) for site in sites if site.guide is not None
    )
    full = None if plate is None else full_size(plate)
    notes += _notes(guide, model, parents, plate, summed)
    is_bound = not any(site.kl == "point mass" for site in sites)
    if not is_bound:
        notes.append(
            "the guide has a point mass, whose density is infinite: there is no bound on log p(x) "
            "to report, only the reconstruction"
        )
    return Audit(
        sites=tuple(sites),
        is_bound=is_bound,
        axes=Axes(None if plate is None else plate.dim, nesting),
        data_size=full if full != len(x) else None,
        is_local=is_local,
        vectorizes=vectorizes,
        supports=supports,
        notes=tuple(notes),
        scaled=tuple(scaled),
        summed=tuple(summed),
        mapped=tuple(
            name
            for name, node in guide.items()
            if name in model
            and isinstance(base(node["fn"]), dist.Delta)
            and name not in without_density
        ),
    )


def _is_data(value: Tensor, x: Tensor) -> bool:
    """Whether a site observes x as it is, or in another shape."""
    if value.shape == x.shape:
        return True
    return value.numel() == x.numel() and torch.equal(value.reshape(x.shape).to(x.dtype), x)


def _notes(
    guide: Nodes, model: Nodes, parents: Parents, plate: Plate | None, summed: Sequence[str]
) -> list[str]:
    """Notes on auxiliary draws, on latents that all data share, and on sums."""
    draws = auxiliary(guide, model)
    used = {
        name: {draw for draw in draws if draw in parents["guide"][name]}
        for name, node in guide.items()
        if isinstance(base(node["fn"]), dist.Delta)
    }
    mapped = set().union(*used.values())
    too_many = sum(guide[draw]["value"].numel() for draw in mapped) > sum(
        guide[name]["value"].numel() for name, of in used.items() if of
    )
    notes = [
        f"site '{draw}' of the guide is auxiliary, and no latent is a Delta of it alone: its "
        "entropy is added to what is reported, which may lie above log p(x) and is no bound; draw "
        "such noise by torch.randn, or give the model a site of that name"
        for draw in draws
        if draw not in mapped or too_many
    ]
    shared = [
        name
        for name in guide
        if name in model and plate is not None and not is_in(model[name], plate.name)
    ]
    if shared and plate is not None and full_size(plate) == plate.size:
        notes.append(
            f"{'latents' if len(shared) > 1 else 'latent'} {listed(shared)} "
            f"{'are' if len(shared) > 1 else 'is'} shared by all data, and counted once a batch: "
            f"with several batches its KL counts too often; of N training rows write "
            f"pyro.plate('{plate.name}', N, subsample=torch.arange(len(x))) in model and guide"
        )
    if summed:
        notes.append(
            f"the model sums over {listed(summed)}: the bound is that of the other latents, and "
            "importance weights, which draw all of them, are not taken"
        )
    return notes


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
