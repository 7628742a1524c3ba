"""A comparison as rows of a table."""

from collections.abc import Callable
from functools import partial

from ppvae.comparison.bounds.result import ANALYTIC, SAMPLED, Comparison, Side
from ppvae.comparison.bounds.statistics import mean_and_error


def table_rows(result: Comparison) -> list[tuple[str, str, str]]:
    """The figures of both bounds: name, ``Trace_ELBO``, ``TraceMeanField_ELBO``."""
    a, b = result.sides[SAMPLED], result.sides[ANALYTIC]

    def row(name: str, figure: Callable[[Side], str]) -> tuple[str, str, str]:
        return name, figure(a), figure(b)

    rows = [
        row("bound, same weights", lambda s: f"{s.mean:.3f} +- {s.standard_error:.3f}"),
        row("  sd of one estimate", lambda s: f"{s.standard_error * len(s.values) ** 0.5:.3g}"),
    ]
    for group in a.gradient_variance:
        rows.append(row(f"gradient of {group}", lambda _: ""))
        rows.append(row("  variance, summed", partial(_variance, group)))
        rows.append(row("  signal to noise", partial(_signal_to_noise, group)))
    rows.append(row("ms per step", lambda s: f"{s.ms_per_step:.2f}"))
    rows.append(row(f"held out, {result.steps:,} steps", _held_out))
    return rows


def _held_out(side: Side) -> str:
    mean, error = mean_and_error(side.held_out)
    return f"{mean:.2f}" if error is None else f"{mean:.2f} +- {error:.2f}"


def _variance(group: str, side: Side) -> str:
    return f"{side.gradient_variance[group]:.3g} +- {side.gradient_variance_error[group]:.1g}"


def _signal_to_noise(group: str, side: Side) -> str:
    return f"{side.snr[group]:.2f}"
