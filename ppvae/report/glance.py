"""The run at a glance: four tiles, what to do next, and a strip of what the model draws."""

import math
from collections.abc import Iterator
from typing import Any

from ppvae.diagnostics.baselines.comparison import Baselines, Comparison
from ppvae.diagnostics.shared.wording import HUGE, LARGE, decimals
from ppvae.errors import InputError
from ppvae.report.draws import strip
from ppvae.report.next_step import next_step
from ppvae.report.page_data import PageData
from ppvae.report.sections import Section, Tile, reason_of

TITLE = "At a glance"

LEVELS = {"converged": "good", "climbing": "fair", "collapsed": "bad", "diverged": "bad"}
"""Severity of each status."""

MEANINGS = {
    "converged": "the bound no longer rises at this schedule; a longer fit may still win",
    "climbing": "the bound was still rising",
    "collapsed": "the latents carry no information on x",
    "diverged": "the bound is far too low, or not finite",
}


def section(page: PageData) -> Section:
    """Tiles, the next step, and draws."""
    step = next_step(page)
    drawn, sentences = Section("draws", ""), [step.sentence]
    try:
        drawn = strip(page)
    except (InputError, RuntimeError, ValueError) as error:  # a user's programs may raise them
        sentences.append(f"No draws: {reason_of(error)}.")
    return Section(
        "glance", TITLE, tuple(sentences), tiles=tuple(_tiles(page)),
        commands=(step.command,) if step.command else (), pictures=drawn.pictures,
        tables=drawn.tables,
    )  # fmt: skip


def _tiles(page: PageData) -> Iterator[Tile]:
    summary = page.summary
    yield _log_p(page)
    bound, kl = summary.get("elbo"), summary.get("kl")
    said = decimals(summary.get("reconstruction"))
    if bound is None:
        yield Tile("Reconstruction", said, "no bound: the guide has no density")
    else:
        parts = f"{said} reconstruction \N{MINUS SIGN} {decimals(kl)} KL"
        yield Tile("Bound (ELBO)", decimals(bound), parts)
    used, of = summary.get("effective_latents"), summary.get("latent_dimensions")
    share = used / of if isinstance(used, (int, float)) and isinstance(of, int) and of else None
    value = "\N{EN DASH}" if used is None else f"{decimals(used, 1)} of {of}"
    note = "by their share of the KL"
    if used is None and summary.get("active_units") is not None:
        value, note = f"{summary['active_units']} of {of}", "by the spread of posterior means"
    yield Tile("Effective latents", value, note, share=share)
    status = str(summary.get("status") or "not ended")
    best, epochs = (decimals(summary.get(name), 0) for name in ("best_epoch", "epochs"))
    ended = f"weights of epoch {best} of {epochs}"
    meaning = MEANINGS.get(status, "no final results yet")
    yield Tile(
        "Status", {"climbing": "still climbing"}.get(status, status),
        f"{meaning}; {ended}" if summary else meaning, level=LEVELS.get(status, "fair"),
    )  # fmt: skip


def _log_p(page: PageData) -> Tile:
    log_p: Any = page.summary.get("log_p")
    name = page.evidence
    if not isinstance(log_p, dict):
        return Tile(name, "\N{EN DASH}", "not available for this run")
    value = _measured(log_p.get("mean"), log_p.get("standard_error"))
    nearest = Baselines.of_summary(page.summary, name).strongest
    if nearest is None or nearest.difference is None:
        return Tile(name, value, "nats per datum")
    return Tile(name, value, _distance(nearest), level=_level(nearest))


def _distance(nearest: Comparison) -> str:
    lead = nearest.difference
    assert lead is not None
    if math.isnan(lead.mean):
        return f"lead over the {nearest.about}: not a number"
    side = "above" if lead.mean >= 0 else "below"
    told = "" if nearest.is_beaten or nearest.is_better else "; not significant"
    distance = _measured(abs(lead.mean), lead.standard_error)
    return f"{distance} {side} the {nearest.about}{told}"


def _measured(mean: Any, error: Any) -> str:
    """A mean with its standard error where it has one; both without decimals if it is large."""
    text = decimals(mean)
    if not (isinstance(mean, float) and isinstance(error, float)):
        return text
    if math.isnan(error) or abs(mean) >= HUGE:
        return text
    return f"{text} \N{PLUS-MINUS SIGN} {decimals(error, 0 if abs(mean) >= LARGE else 2)}"


def _level(nearest: Comparison) -> str:
    return "bad" if nearest.is_better else "good" if nearest.is_beaten else "fair"
