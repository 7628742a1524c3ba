"""Notes of the audit: facts about model and guide under a bound that a user should know."""

from collections.abc import Iterator
from itertools import chain

import pyro.distributions as dist
from pyro.infer import ELBO

from ppvae.bounds.traits import traits_of
from ppvae.programs.facts import Audit, Site
from ppvae.programs.plates import Plate, full_size, is_in
from ppvae.programs.sites import Nodes, Parents, auxiliary, base, listed


def notes_of(
    audit: Audit,
    elbo: type[ELBO],
    guide: Nodes,
    model: Nodes,
    parents: Parents,
    plate: Plate | None,
) -> tuple[str, ...]:
    """All notes, as sentences."""
    notes = chain(
        chain.from_iterable(_of_site(audit, site, elbo, guide) for site in audit.sites),
        _of_data(plate),
        _of_auxiliary(guide, model, parents),
        _of_shared(guide, model, plate),
        _of_guide(audit),
    )
    return tuple(notes)


def _of_site(audit: Audit, site: Site, elbo: type[ELBO], guide: Nodes) -> Iterator[str]:
    if site.name in audit.scaled:
        yield (
            f"site '{site.name}' is scaled by {site.scale:g} in the programs themselves, so that "
            "reported figures are those of the scaled program and not a bound on log p(x); "
            "leave the weight of the KL to beta"
        )
    is_drawn = site.kl == "Monte Carlo" and not isinstance(base(guide[site.name]["fn"]), dist.Delta)
    if traits_of(elbo).has_closed_form_kl and is_drawn:
        yield (
            f"site '{site.name}': no closed-form KL from {site.guide} to {site.model}; "
            f"{elbo.__name__} takes it by Monte Carlo there, as Trace_ELBO would"
        )


def _of_data(plate: Plate | None) -> Iterator[str]:
    if plate is None:
        yield (
            "no plate of the model holds the data: figures are totals over a batch divided by its "
            "rows, and not per datum; write 'with pyro.plate(\"data\", len(x))'"
        )


def _of_auxiliary(guide: Nodes, model: Nodes, parents: Parents) -> Iterator[str]:
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
    for draw in draws:
        if draw not in mapped or too_many:
            yield (
                f"site '{draw}' of the guide is auxiliary, and no latent is a Delta of it alone: "
                "its entropy is added to the reported figure, which may exceed log p(x) and is no "
                "bound; draw such noise by torch.randn, or give the model a site of that name"
            )


def _of_shared(guide: Nodes, model: Nodes, plate: Plate | None) -> Iterator[str]:
    if plate is None or full_size(plate) != plate.size:
        return
    shared = [name for name in guide if name in model and not is_in(model[name], plate.name)]
    if shared:
        several = len(shared) > 1
        yield (
            f"{'latents' if several else 'latent'} {listed(shared)} {'are' if several else 'is'} "
            "shared by all data, and counted once per batch: with several batches the KL counts "
            f"too often; for N training rows write pyro.plate('{plate.name}', N, "
            "subsample=torch.arange(len(x))) in model and guide"
        )


def _of_guide(audit: Audit) -> Iterator[str]:
    if audit.summed:
        yield (
            f"the model sums over {listed(audit.summed)}: the bound is that of the other latents, "
            "and importance weights, which need a draw of every latent, are not computed"
        )
    if not audit.is_bound:
        yield (
            "the guide has a point mass, whose density is infinite: only the reconstruction is "
            "reported, as there is no bound on log p(x)"
        )
