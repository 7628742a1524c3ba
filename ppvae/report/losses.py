"""Where the nats are lost, as a diagnosis found; and its other figures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ppvae.report.material import Material
from ppvae.report.parts import Picture, Section, Table, decimals
from ppvae.report.pictures import read

__all__ = ["gaps", "rest"]

ELSEWHERE = ("kl_by_dimension", "worst_data")
"""Figures of a diagnosis that have a section of their own."""

GAPS = ("budget", "gaps")

GAPS_TITLE = "Gaps, and where else nats are lost"

REST_TITLE = "What else the diagnosis found"

ALTS: Mapping[str, str] = {
    "budget": "Bars: the nats per datum that are lost in each place; the table has the same.",
    "gaps": "The approximation and the amortization gap of each datum",
    "surgery": "Bars: what the KL is spent on, such as mutual information of data and codes",
    "bound_curve": "The bound of K importance samples, rising with K towards {evidence}",
    "sandwich": "Lower and upper bounds on {evidence} of simulated data, by annealing",
    "reliability": "Histograms over data of Pareto k-hat and of the effective sample size",
    "posterior": "Draws of NUTS from the posterior of single data, and the guide's ellipses",
    "calibration": "Ranks of simulated latents among draws of the guide",
    "predictive": "Statistics of the data among those of data sets drawn from the model",
    "estimators": "Noise of the gradient, by estimator and number of particles",
}

Answers = Mapping[str, Any]

VALUES: Mapping[str, Callable[[Answers], str]] = {
    "gaps": lambda a: (
        f"on average {_value(a['gap']['approximation_gap'])} and "
        f"{_value(a['gap']['amortization_gap'])} nats"
    ),
    "surgery": lambda a: (
        f"mutual information {_value(a['bound']['mutual_information_of_x_and_z'])}, KL of the "
        f"aggregate to the prior {_value(a['bound']['KL_of_the_aggregate_to_the_prior'])} nats"
    ),
    "bound_curve": lambda a: _risen(a["evidence"]["curve"]),
    "sandwich": lambda a: (
        f"upper less lower bound {_value(a['evidence']['sandwich_gap'])} nats on average"
    ),
    "reliability": lambda a: (
        f"k-hat is below {decimals(a['trust']['pareto_k']['threshold'])} for "
        f"{a['trust']['pareto_k']['share_below']:.0%} of the data, and "
        f"{decimals(a['trust']['pareto_k']['largest'])} at most; the median effective sample size "
        f"is {decimals(a['trust']['effective_sample_size']['median'], 0)}"
    ),
    "posterior": lambda a: "rows " + ", ".join(str(row) for row in a["trust"]["nuts"]["rows"]),
    "calibration": lambda a: a["trust"]["calibration"]["verdict"],
    "predictive": lambda a: a["model"]["verdict"],
    "estimators": lambda a: (
        f"the best is {a['estimator']['best']['name']} with "
        f"{a['estimator']['best']['particles']} a datum"
    ),
}
"""What figures show, in numbers of the diagnosis' answers."""


def gaps(material: Material) -> Section:
    """Gaps and other losses."""
    if material.diagnosis is None:
        said = "They were not measured: python -m ppvae.diagnose does, guide and encoder apart."
        if not material.has_bound:
            said = "The guide is a point mass: there is no bound whose gap could be split."
        return Section("gaps", GAPS_TITLE, (said,))
    losses = [loss for loss in material.diagnosis.get("losses", []) if isinstance(loss, Mapping)]
    pictures = _pictures(material, GAPS)
    unsplit = [
        f"The gap is not split: {why.rstrip('.')}."
        for question, why in _refused(material)
        if question.split(":")[0] == "gap"
    ]
    if not (unsplit or losses or pictures):
        unsplit = ["No question was asked that measures them."]
    return Section(
        "gaps", GAPS_TITLE, tuple(unsplit), pictures=pictures,
        tables=(_table(losses),) if losses else (),
    )  # fmt: skip


def rest(material: Material) -> Section:
    """What else a diagnosis drew, and what it could not answer."""
    record = material.diagnosis or {}
    every = dict.fromkeys(str(name) for name in record.get("figures", []))
    pictures = _pictures(material, [name for name in every if name not in (*ELSEWHERE, *GAPS)])
    why = _refused(material)
    refused = Table("Not answered", ("question", "why"), tuple(why), prose=True)
    said = () if pictures or why else ("Nothing but what stands above.",)
    return Section(
        "diagnosis", REST_TITLE, said, pictures=pictures, tables=(refused,) if why else ()
    )


def _refused(material: Material) -> list[tuple[str, str]]:
    """Questions without an answer, and why; a file that was not written is no question."""
    why = (material.diagnosis or {}).get("not_answered") or {}
    return [(str(q), str(w)) for q, w in why.items() if q != "posterior.nc"]


def _pictures(material: Material, names: Sequence[str]) -> tuple[Picture, ...]:
    found = [(name, material.diagnosis_figure(name)) for name in names]
    return tuple(read(file, _alt(material, name)) for name, file in found if file is not None)


def _alt(material: Material, name: str) -> str:
    """What a figure shows, with its values where the record has them."""
    if name not in ALTS:
        return f"Figure of the diagnosis: {name.replace('_', ' ')}."
    said = ALTS[name].format(evidence=material.evidence)
    try:
        values = VALUES[name]((material.diagnosis or {})["answers"])
    except (LookupError, TypeError, ValueError, AttributeError):
        return f"{said.rstrip('.')}."
    return f"{said}: {values.rstrip('.')}."


def _value(answer: Any) -> str:
    return decimals(answer["value"] if isinstance(answer, Mapping) else answer)


def _risen(curve: Mapping[str, Any]) -> str:
    samples, bound = curve["samples"], curve["bound"]
    return (
        f"from {decimals(bound[0])} nats at {samples[0]} to {decimals(bound[-1])} at {samples[-1]}"
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
        prose=True,
    )  # fmt: skip
