"""Agreement of model and guide: the same latents, of the same shapes and scales."""

from pyro.infer import ELBO

from ppvae.bounds.traits import traits_of
from ppvae.errors import InputError
from ppvae.programs.sites import Nodes, is_auxiliary, is_summed, listed, number

OTHER_GUIDE = (
    "take a `guide` that infers those (for layers: TopDown, Ladder or BottomUp; for a class: "
    "SemiSupervised, with `elbo='TraceEnum_ELBO'`)"
)
"""The first way out in errors about latents that differ: another guide."""


def check_agreement(elbo: type[ELBO], guide: Nodes, model: Nodes) -> None:
    """Refuse two programs that disagree, naming the site and the way out."""
    latents = [name for name, node in model.items() if not node["is_observed"]]
    if len(latents) == len(model):
        raise InputError(
            f"the model observes nothing (its sites: {listed(model)}); give the data to one of "
            "them, as in pyro.sample('x', ..., obs=x)"
        )
    for name, node in guide.items():
        if name in model and model[name]["is_observed"]:
            raise InputError(
                f"site '{name}' is observed in the model and sampled in the guide; "
                "a guide samples latents only"
            )
        if name not in model and not is_auxiliary(node):
            raise InputError(
                f"the guide samples '{name}', which the model does not (its latents: "
                f"{listed(latents)}); {OTHER_GUIDE}, or give the two the same name; mark noise "
                "from which a latent is computed by infer={'is_auxiliary': True}, and make the "
                "latent a Delta of it"
            )
    for name in latents:
        if is_summed(name, model[name], guide):
            if traits_of(elbo).enumerates:
                continue
            raise InputError(
                f"site '{name}' of the model asks to be enumerated, and {elbo.__name__} does not "
                "enumerate; take TraceEnum_ELBO, which sums over it, or sample it in the guide"
            )
        if name not in guide:
            raise InputError(
                f"the model samples '{name}', which the guide does not (its sites: "
                f"{listed(guide)}): it would be drawn from its prior and never inferred; "
                f"{OTHER_GUIDE}, or sample it in your own"
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
        if abs(number(p["scale"]) - number(q["scale"])) > 1e-6 * number(p["scale"]):
            raise InputError(
                f"site '{name}' is scaled by {number(p['scale']):g} in the model and by "
                f"{number(q['scale']):g} in the guide: bounds read only one of the two, and would "
                "be wrong; scale both alike, or leave the weight of the KL to beta"
            )
