"""A run in a few lines: what was fitted, and its results."""

import math
from collections.abc import Mapping
from typing import Any

from ppvae.errors import InputError
from ppvae.run.leads import leads_of, strongest
from ppvae.run.run import Run


def lines(run: Run) -> tuple[str, ...]:
    """The fit, its results on the test data, its lead over simple models, and how it ended."""
    try:
        summary = run.summary
    except InputError as error:
        return fit_line(run), f"no results: {error}", "fit again to have them"
    if summary is None:
        return (
            fit_line(run),
            "the fit has not ended: there are no results on test data yet",
            f"continue with resume({str(run.path)!r})",
        )
    beside: tuple[str, ...] = ()
    if (found := lead(summary)) is not None:
        distance, side, about = found
        beside = (f"{distance} {side} the strongest simple model, {about}",)
    return fit_line(run), figures_line(summary), *beside, end_line(summary)


def fit_line(run: Run) -> str:
    """The run directory, data and programs."""
    facts = run.resolved.get("data")
    name = facts.get("name") if isinstance(facts, Mapping) else None
    parts = [named(run.settings.get(part)) for part in ("model", "guide", "elbo")]
    where = repr(str(run.path)) if run.home is None else "in memory"
    return (
        f"Run({where}): {name}, {parts[0]} with {parts[1]} by {parts[2]}, "
        f"{_count(run.resolved.get('parameters'))} parameters"
    )


def figures_line(summary: Mapping[str, Any]) -> str:
    """Bound, terms and log p(x)."""
    elbo, log_p = summary.get("elbo"), summary.get("log_p")
    terms = f"{_number(summary.get('reconstruction'))} - {_number(summary.get('kl'))} kl"
    if elbo is None:
        terms = f"reconstruction {_number(summary.get('reconstruction'))} (no bound)"
    else:
        terms = f"elbo {_number(elbo)} ({terms})"
    text = f"{_count(summary.get('rows'))} test rows, nats per datum: {terms}"
    if not isinstance(log_p, Mapping):
        return text
    error = _number(log_p.get("standard_error"))
    return f"{text}, log p(x) {_number(log_p.get('mean'))} +- {error}"


def lead(summary: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Distance of the fit to the strongest simple model with its error, side, and that model.

    They are paired by row. ``None`` if the fit is compared with none.
    """
    leads = leads_of(summary)
    if (name := strongest(leads)) is None:
        return None
    nearest, value = summary["baselines"][name], leads[name]
    about = str(nearest.get("about") or name)
    if math.isnan(value):
        return "no number", "for the lead over", about
    error = nearest.get("standard_error")
    text = _number(abs(value)) + (f" +- {_number(error)}" if _is_number(error) else "")
    return text, "above" if value >= 0 else "below", about


def end_line(summary: Mapping[str, Any]) -> str:
    """How and when it ended, and the effective latents."""
    text = f"{summary.get('status')} after {_count(summary.get('epochs'))} epochs"
    text += f" (best: {summary.get('best_epoch')}), {_number(summary.get('seconds'), 1)} s"
    if summary.get("effective_latents") is None:
        return text
    used = _number(summary.get("effective_latents"), 1)
    return f"{text}; {used} effective latents of {summary.get('latent_dimensions')}"


def named(part: Any) -> str:
    """A part of a fit, by its name."""
    if isinstance(part, Mapping):
        return str(part.get("class_path") or part.get("python_object") or "a program")
    return "a custom program" if part is None else str(part)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any, digits: int = 2) -> str:
    return f"{value:,.{digits}f}" if _is_number(value) else "-"


def _count(value: Any) -> str:
    return _number(value, 0)
