"""A comparison of runs as a table, for the terminal and the page."""

from collections.abc import Sequence

from ppvae.comparison.held_out.result import HeldOut, Row, RunComparison
from ppvae.comparison.held_out.sentence import figure
from ppvae.diagnostics.shared.wording import plus_minus

type Header = tuple[str, ...]
type Lines = list[tuple[str, ...]]

HEADER = ("less the best", "bound", "rate", "effective latents", "parameters", "time")
"""What the columns after log p(x) hold."""

SHORT = ("less best", "bound", "rate", "latents", "weights", "time")
"""The same, for a terminal of 80 columns."""


def table(result: RunComparison, header: Sequence[str] = HEADER) -> tuple[Header, Lines]:
    """The header, and a line for each row."""
    lines = [_line(row, is_best=row is result.best) for row in result.rows]
    return ("", result.evidence, *header), lines


def settings_table(result: RunComparison) -> tuple[Header, Lines]:
    """The header, and what each row has otherwise than another; no lines where nothing differs."""
    names = tuple(result.best.settings)
    if not names:
        return ("",), []
    return ("", *names), [(row.name, *(row.settings[n] for n in names)) for row in result.rows]


def _line(row: Row, *, is_best: bool) -> tuple[str, ...]:
    latents = row.mean("effective_latents")
    return (
        row.name,
        figure(row.log_p),
        "best" if is_best else _difference(row.difference),
        f"{row.mean('elbo') or 0:,.2f}",
        f"{row.mean('rate') or 0:,.2f}",
        "-" if latents is None else f"{latents:.1f}",
        f"{row.mean('parameters') or 0:,.0f}",
        _time(row.mean("seconds") or 0.0),
    )


def _difference(value: HeldOut) -> str:
    return plus_minus(value.mean, value.error)


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
