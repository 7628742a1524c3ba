"""Where the nats are lost, as a diagnosis found; and its other figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from ppvae.report.material import Material
from ppvae.report.parts import Picture, Section, Table, decimals
from ppvae.report.pictures import read

__all__ = ["gaps", "rest"]

ELSEWHERE = ("kl_by_dimension", "worst_data")
"""Figures of a diagnosis that have a section of their own."""

GAPS = ("budget", "gaps")

ALTS = {
    "budget": "Bars: the nats per datum that are lost in each place; the table has the same.",
    "gaps": "The approximation and the amortization gap of each datum.",
    "surgery": "Bars: what the KL is spent on, such as mutual information of data and codes.",
    "bound_curve": "The bound of K importance samples, rising with K towards log p(x).",
    "sandwich": "Lower and upper bounds on log p(x) of simulated data, by annealing.",
    "reliability": "Histograms over data of Pareto k-hat and of the effective sample size.",
    "calibration": "Ranks of simulated latents among draws of the guide.",
    "predictive": "Statistics of the data among those of data sets drawn from the model.",
    "estimators": "Noise of the gradient, by estimator and number of particles.",
}


def gaps(material: Material) -> Section:
    """Gaps and other losses."""
    if material.diagnosis is None:
        unasked = "They were not measured: python -m ppvae.diagnose does, guide and encoder apart."
        return Section("gaps", "Gaps", (unasked,))
    record = material.diagnosis
    losses = [loss for loss in record.get("losses", []) if isinstance(loss, Mapping)]
    pictures = _pictures(material, GAPS)
    said: tuple[str, ...] = (
        () if losses or pictures else ("No question was asked that measures them.",)
    )
    return Section(
        "gaps", "Gaps, and where else nats are lost", said, pictures=pictures,
        tables=(_table(losses),) if losses else (),
    )  # fmt: skip


def rest(material: Material) -> Section:
    """What else a diagnosis drew, and what it could not answer."""
    record = material.diagnosis or {}
    names = [str(n) for n in record.get("figures", []) if n not in (*ELSEWHERE, *GAPS)]
    why = record.get("not_answered") or {}
    refused = Table(
        "Not answered", ("question", "why"), tuple((str(q), str(w)) for q, w in why.items())
    )
    pictures = _pictures(material, names)
    said = () if pictures or why else ("Nothing but what stands above.",)
    return Section(
        "diagnosis", "What else the diagnosis found", said, pictures=pictures,
        tables=(refused,) if why else (),
    )  # fmt: skip


def _pictures(material: Material, names: Sequence[str]) -> tuple[Picture, ...]:
    found = [(name, material.diagnosis_figure(name)) for name in names]
    return tuple(
        read(file, ALTS.get(name, f"Figure of the diagnosis: {name.replace('_', ' ')}."))
        for name, file in found
        if file is not None
    )


def _table(losses: list[Mapping[str, Any]]) -> Table:
    return Table(
        "Nats per datum lost in each place, and what to change",
        ("place", "nats", "standard error", "what to change"),
        tuple(
            (
                str(loss.get("where")), decimals(loss.get("nats")),
                decimals(loss.get("standard_error")), str(loss.get("remedy")),
            )
            for loss in losses
        ),
    )  # fmt: skip
