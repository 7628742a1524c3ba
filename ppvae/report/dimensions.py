"""KL of each latent dimension."""

from typing import Any

import numpy as np

from ppvae.diagnostics.bound.activity import activity
from ppvae.diagnostics.bound.alt_text import kl_by_dimension_alt
from ppvae.diagnostics.shared.wording import decimals
from ppvae.errors import InputError
from ppvae.programs.sites import dimension_names
from ppvae.report.diagnosis import pictured
from ppvae.report.page_data import PageData
from ppvae.report.pictures import drawn
from ppvae.report.sections import Section, Table

TITLE = "KL of each latent dimension"

LINES = 10
"""Maximum number of dimensions in the table."""


def section(page: PageData) -> Section:
    """The KL by dimension: the figure of the diagnosis, or one drawn for the page."""
    from ppvae.diagnostics.bound.figures import draw_kl_by_dimension

    diagnosed = pictured(page, "kl_by_dimension")
    if diagnosed is not None:
        kl = (page.diagnosis or {})["answers"]["bound"]["kl_by_dimension"]
        sites = {site: np.array(values, dtype=np.float64) for site, values in kl.items()}
        return Section("kl", TITLE, pictures=(diagnosed,), tables=(_table(sites),))
    terms = page.terms
    if not terms.kl:
        raise InputError("the guide is a point mass, whose KL is infinite")
    if not terms.kl_by_dimension:
        reasons = "; ".join(terms.undivided.values())
        raise InputError(f"no latent has a KL by dimension: {reasons}")
    sites = {site: kl.mean(0).double().numpy() for site, kl in terms.kl_by_dimension.items()}
    sentence = f"Means over {len(page.rows):,} {page.data_name} data."
    apart = [f"{site} has none: {why}." for site, why in terms.undivided.items()]
    variance = _variance(page, sites)
    kl = np.concatenate(list(sites.values()))
    figure = draw_kl_by_dimension(kl, variance, names=_names(sites))
    picture = drawn(figure, kl_by_dimension_alt(sites, has_variance=variance is not None))
    return Section("kl", TITLE, (sentence, *apart), pictures=(picture,), tables=(_table(sites),))


def _names(sites: dict[str, Any]) -> list[str]:
    return dimension_names({site: len(values) for site, values in sites.items()})


def _variance(page: PageData, sites: dict[str, Any]) -> Any:
    """Variance of the posterior means; None if a site lacks it and its bars would look inactive."""
    if len(page.rows) < 2:
        return None
    moves = activity(page.embedding).variance
    if any(len(moves.get(site, ())) != len(values) for site, values in sites.items()):
        return None
    return np.concatenate([moves[site].numpy() for site in sites])


def _table(sites: dict[str, Any]) -> Table:
    values = np.concatenate(list(sites.values()))
    greatest = np.argsort(-values, kind="stable")[:LINES]
    names = _names(sites)
    return Table(
        "KL by dimension, the largest first" + ("" if len(values) <= LINES else f" ({LINES})"),
        ("dimension", "nats per datum"),
        tuple((names[i], decimals(float(values[i]), 3)) for i in greatest),
    )
