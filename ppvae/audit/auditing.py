"""One trace of each program, and all that is read off it."""

from collections.abc import Mapping
from math import prod

import pyro
import pyro.distributions as dist
from pyro.infer import ELBO, TraceMeanField_ELBO
from torch import Tensor
from torch.distributions import kl_divergence

from ppvae.audit.agreement import check_agreement
from ppvae.audit.facts import Audit, Site
from ppvae.audit.nodes import Node, base, family_name, full_size, number
from ppvae.audit.suitability import check_suitability
from ppvae.audit.tracing import data_frame, traces, try_particles
from ppvae.errors import InputError
from ppvae.programs import Pair, frozen
from ppvae.randomness import forked

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
    # What the two lack is said below, in words that name the way out; Pyro would complain first.
    with frozen(pair), forked(pair.device), pyro.validation_enabled(False):
        guide, model, parents = traces(pair, batch)
        vectorizes, nesting = try_particles(pair, batch, guide, model)

    analytic = issubclass(elbo, TraceMeanField_ELBO)
    check_agreement(guide, model)
    frame = data_frame(model, len(batch["x"]))
    check_suitability(elbo, guide, model, parents, frame)
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
            kl, family = _kl(analytic, guide[name], node["fn"]), family_name(guide[name]["fn"])
        elif node["value"].shape == x.shape:
            supports[name] = (family_name(node["fn"]), node["fn"].support)
        scale = number(node["scale"])
        expected = prod(full_size(f) / f.size for f in node["cond_indep_stack"])
        if abs(scale - expected) > 1e-6 * expected:
            notes.append(
                f"site '{name}' is scaled by {scale:g} in the programs themselves: what is "
                "reported is the scaled program's figure, not a bound on log p(x)"
            )
        if analytic and kl == "Monte Carlo":
            notes.append(
                f"site '{name}': no closed-form KL from {family} to {family_name(node['fn'])}; "
                f"{elbo.__name__} takes it by Monte Carlo there, as Trace_ELBO would"
            )
        shape = tuple(node["fn"].batch_shape) + tuple(node["fn"].event_shape)
        sites.append(Site(name, family_name(node["fn"]), family, kl, shape, scale))

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
    full = None if frame is None else full_size(frame)
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


def _kl(analytic: bool, guide: Node, p: dist.TorchDistribution) -> str:
    q = guide["fn"]
    if guide["infer"].get("enumerate"):
        return "enumerated"
    if isinstance(base(q), dist.Delta):
        return "point mass"
    if not analytic:
        return "Monte Carlo"
    try:
        kl_divergence(q, p)
    except NotImplementedError:
        return "Monte Carlo"
    return "exact"
