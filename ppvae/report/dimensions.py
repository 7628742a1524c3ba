"""What the KL is, latent dimension by latent dimension."""

from typing import Any

import numpy as np

from ppvae.diagnostics.activity import activity
from ppvae.errors import InputError
from ppvae.programs.sites import dimension_names
from ppvae.report.material import Material
from ppvae.report.parts import Section, Table, decimals
from ppvae.report.pictures import drawn, read

__all__ = ["section"]

TITLE = "KL of each latent dimension"

LINES = 20
"""Most dimensions in the table."""


def section(material: Material) -> Section:
    """The KL by dimension: the diagnosis' own figure, or one drawn for the page."""
    from ppvae import plots

    file = material.diagnosis_figure("kl_by_dimension")
    if file is not None:
        kl = (material.diagnosis or {})["answers"]["bound"]["kl_by_dimension"]
        sites = {site: np.array(values, dtype=np.float64) for site, values in kl.items()}
        sizes = (material.diagnosis or {})["answers"]["bound"].get("latent_dimensions") or {}
        is_below = all(sizes.get(site) == len(values) for site, values in sites.items())
        picture = read(file, _alt(sites, is_below=is_below))
        return Section("kl", TITLE, pictures=(picture,), tables=(_table(sites),))
    terms = material.terms
    if not terms.kl:
        raise InputError("the guide is a point mass, whose KL is infinite")
    if not terms.kl_by_dimension:
        reasons = "; ".join(terms.undivided.values())
        raise InputError(f"no latent has a KL by dimension: {reasons}")
    sites = {site: kl.mean(0).double().numpy() for site, kl in terms.kl_by_dimension.items()}
    said = f"Means over {len(material.rows):,} of the {material.data_name} data."
    apart = [f"{site} has none: {why}." for site, why in terms.undivided.items()]
    variance = _variance(material, sites)
    kl = np.concatenate(list(sites.values()))
    figure = plots.kl_by_dimension(kl, variance, names=_names(sites))
    picture = drawn(figure, _alt(sites, is_below=variance is not None))
    return Section("kl", TITLE, (said, *apart), pictures=(picture,), tables=(_table(sites),))


def _names(sites: dict[str, Any]) -> list[str]:
    return dimension_names({site: len(values) for site, values in sites.items()})


def _variance(material: Material, sites: dict[str, Any]) -> Any:
    """Of the posterior means; none where a site has none, whose bars would be called inactive."""
    if len(material.rows) < 2:
        return None
    moves = activity(material.embedding).variance
    if any(len(moves.get(site, ())) != len(values) for site, values in sites.items()):
        return None
    return np.concatenate([moves[site].numpy() for site in sites])


def _alt(sites: dict[str, Any], *, is_below: bool) -> str:
    values, names = np.concatenate(list(sites.values())), _names(sites)
    first = int(values.argmax())
    below = ", and below the variance of its posterior mean over data" if is_below else ""
    return (
        f"Bars: the KL of each of {len(values)} latent dimensions in nats per datum, the greatest "
        f"first{below}. The greatest is {decimals(float(values[first]))}, of {names[first]}; their "
        f"sum is {decimals(float(values.sum()))}."
    )


def _table(sites: dict[str, Any]) -> Table:
    values = np.concatenate(list(sites.values()))
    greatest = np.argsort(-values, kind="stable")[:LINES]
    names = _names(sites)
    return Table(
        "KL in numbers, the greatest first" + ("" if len(values) <= LINES else f" ({LINES})"),
        ("dimension", "nats per datum"),
        tuple((names[i], decimals(float(values[i]), 3)) for i in greatest),
    )
