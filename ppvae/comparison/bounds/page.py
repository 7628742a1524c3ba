"""A comparison of bounds as one page that opens offline: ``compare.html``."""

from collections.abc import Mapping
from typing import Any

from ppvae.comparison.bounds.figure import draw_comparison, draw_glance
from ppvae.comparison.bounds.result import ANALYTIC, SAMPLED, Comparison
from ppvae.comparison.bounds.table import table_rows
from ppvae.diagnostics.shared.wording import as_sentence, decimals
from ppvae.report.pictures import drawn
from ppvae.report.rendering import rendered
from ppvae.report.sections import Section, Table, Tile

TIMES = "\N{MULTIPLICATION SIGN}"


def page_of(result: Comparison, figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The page: the conclusion, the figure, and both bounds in numbers.

    Args:
        result: the comparison.
        figures: the figures of each bound, as in ``comparison.json``.
    """
    glanced = drawn(draw_glance(figures), f"Gradient noise and climb. {result.sentence}")
    alt = "Estimates at the same weights, time of a step, held-out bounds and gradient SNR."
    glance = Section("glance", "At a glance", (result.sentence,), tiles=_tiles(result))
    picture = Section(
        "figure", "Both bounds", tuple(map(as_sentence, result.notes)),
        pictures=(glanced, drawn(draw_comparison(figures), alt)),
    )  # fmt: skip
    about = (
        f"At the same weights: {result.weights}. Held-out bounds of both: {result.estimator}.",
    )
    header = ("", SAMPLED, ANALYTIC)
    table = Table("Figures of both bounds", header, tuple(table_rows(result)), True, True)
    return rendered(
        "Two bounds compared",
        f"{SAMPLED} and {ANALYTIC} on one program, in nats per datum",
        [glance, picture, Section("numbers", "In numbers", about, tables=(table,))],
    )


def _tiles(result: Comparison) -> tuple[Tile, ...]:
    a, b = result.sides[SAMPLED], result.sides[ANALYTIC]
    groups = list(a.gradient_variance)
    noise = Tile("Gradient variance", "\N{EN DASH}", "no group of parameters has a gradient")
    if groups:
        least = min(groups, key=lambda g: _ratio(b.gradient_variance[g], a.gradient_variance[g]))
        ratio = _ratio(b.gradient_variance[least], a.gradient_variance[least])
        noise = Tile(
            "Gradient variance",
            f"\N{MULTIPLICATION SIGN} {ratio:.2f}",
            f"of {least}, {ANALYTIC} over {SAMPLED}",
        )
    time, time_error = result.time_ratio
    held, held_error = result.held_out_difference
    return (
        Tile("Bound, same weights", decimals(b.mean), f"{SAMPLED}: {decimals(a.mean)}"),
        noise,
        Tile("Time of a step", f"{TIMES} {time:.2f}", _error(time_error, "of one epoch")),
        Tile(
            "Held out, after equal steps", decimals(held),
            f"{ANALYTIC} minus {SAMPLED}; {_error(held_error, 'of one seed')}",
        ),
    )  # fmt: skip


def _ratio(one: float, other: float) -> float:
    return one / other if other > 0 else float("nan")


def _error(error: float | None, alone: str) -> str:
    return alone if error is None else f"standard error {error:.2g}"
