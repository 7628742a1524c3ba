"""Results of a diagnosis: where nats are lost, and its figures."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ppvae.diagnostics.shared.wording import decimals
from ppvae.report.page_data import PageData
from ppvae.report.pictures import read
from ppvae.report.sections import Picture, Section, Table

ELSEWHERE = ("kl_by_dimension", "worst_data")
"""Figures of a diagnosis that have a section of their own."""

GAPS = ("budget", "gaps")

GAPS_TITLE = "Gaps, and where else nats are lost"

REST_TITLE = "What else the diagnosis found"


def deficits(page: PageData) -> Section:
    """Gaps and other deficits."""
    if page.diagnosis is None:
        sentence = (
            "Not measured yet: python -m ppvae.diagnose measures the gaps of guide and encoder "
            "separately."
        )
        if not page.has_bound:
            sentence = "The guide is a point mass: there is no bound, and so no gap to split."
        return Section("gaps", GAPS_TITLE, (sentence,))
    entries = list(_entries(page, "verdict"))
    pictures = _pictures(page, GAPS)
    unsplit = [
        f"The gap is not split: {why.rstrip('.')}."
        for question, _, why in _refused(page)
        if question == "gap"
    ]
    if not (unsplit or entries or pictures):
        unsplit = ["The diagnosis did not ask a question that measures them."]
    return Section(
        "gaps", GAPS_TITLE, tuple(unsplit), pictures=pictures,
        tables=(_table(entries),) if entries else (),
    )  # fmt: skip


def rest(page: PageData) -> Section:
    """The other figures of the diagnosis, and the questions that it could not answer."""
    names = [name for name in page.diagnosis_figures if name not in (*ELSEWHERE, *GAPS)]
    pictures, refused = _pictures(page, names), list(_refused(page))
    rows = tuple((f"{question}: {part}", why) for question, part, why in refused)
    table = Table("Not answered", ("question", "why"), rows, prose=True)
    sentences = () if pictures or refused else ("Nothing else.",)
    return Section(
        "diagnosis", REST_TITLE, sentences, pictures=pictures, tables=(table,) if refused else ()
    )


def pictured(page: PageData, name: str) -> Picture | None:
    """A figure of the diagnosis, if it exists."""
    file = page.diagnosis_figure(name)
    return None if file is None else read(file, page.diagnosis_figures[name])


def _pictures(page: PageData, names: Iterable[str]) -> tuple[Picture, ...]:
    pictures = (pictured(page, name) for name in names)
    return tuple(picture for picture in pictures if picture is not None)


def _entries(page: PageData, key: str) -> Iterator[Mapping[str, Any]]:
    """Entries of a list in the record, which may be malformed."""
    listed = (page.diagnosis or {}).get(key)
    return (
        each for each in (listed if isinstance(listed, list) else ()) if isinstance(each, Mapping)
    )


def _refused(page: PageData) -> Iterator[tuple[str, str, str]]:
    """Question, part and reason of each missing answer."""
    for each in _entries(page, "not_answered"):
        yield str(each.get("question")), str(each.get("part")), str(each.get("reason"))


def _table(entries: list[Mapping[str, Any]]) -> Table:
    return Table(
        "Nats per datum lost in each part, and what to change",
        ("part", "nats", "standard error", "what it means"),
        tuple(
            (
                str(each.get("part")), decimals(each.get("nats")), decimals(each.get("error")),
                str(each.get("sentence")),
            )
            for each in entries
        ),
        prose=True,
    )  # fmt: skip
