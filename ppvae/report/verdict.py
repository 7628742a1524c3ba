"""The results of a run in sentences: those of the diagnosis, else of the summary.

Problems of the fit come first, then the comparison with simple models.
"""

import math
from collections.abc import Iterator

from ppvae.diagnostics.baselines.comparison import Baselines
from ppvae.diagnostics.bound.activity import THRESHOLD
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.diagnostics.shared.wording import as_sentence, decimals, with_error
from ppvae.report.page_data import PageData
from ppvae.report.sections import Section, Table


def section(page: PageData) -> Section:
    """The verdict."""
    sentences = [*_alarm(page), *page.run.warnings]
    tables = tuple(_baselines(page))
    if page.diagnosis is None:
        sentences += [*_summary(page), *_notes(page)]
        sentences.append(
            "Not diagnosed yet: a diagnosis says where nats are lost, and what to change."
            if page.has_bound
            else "Not diagnosed yet. Without a bound there is no gap to split, but other questions "
            "can be asked."
        )
    else:
        diagnosis = page.diagnosis
        count, name = diagnosis.get("rows"), diagnosis.get("data")
        sentences += [str(sentence) for sentence in diagnosis.get("sentences", [])]
        sentences.append(f"Diagnosed on {decimals(count, 0)} {name} data.")
        sentences += _notes(page)
    return Section("verdict", "Verdict", tuple(sentences), tables=tables)


def _strongest(page: PageData) -> Iterator[str]:
    """The strongest baseline, compared with the fit."""
    nearest = Baselines.of_summary(page.summary, page.evidence).strongest
    if nearest is not None and nearest.difference is not None:
        words = "" if nearest.is_beaten or nearest.is_better else ", which is not significant"
        yield (
            f"The strongest simple model of the same rows: {nearest.about}. {page.evidence} of the "
            f"fit minus its own is {_lead(nearest.difference)} nats per datum{words}."
        )


def _baselines(page: PageData) -> Iterator[Table]:
    """Simple models of the same rows, and the lead of the fit over each."""
    found = Baselines.of_summary(page.summary, page.evidence)
    rows = tuple((about, _number(log_p.mean), _lead(less)) for about, log_p, less in found.rows)
    if rows:
        caption = f"{page.evidence} of the fit and of simple models on the same test rows, in nats"
        yield Table(caption, ("model", page.evidence, "lead of the fit"), rows, prose=True)


def _notes(page: PageData) -> Iterator[str]:
    """Why the fit is compared with no simple model, or not with some of them."""
    found = Baselines.of_summary(page.summary, page.evidence)
    if found.note:
        yield as_sentence(found.note)
    if found.left_out:
        reasons = "; ".join(f"{names} ({why})" for why, names in found.reasons.items())
        yield f"Simple models that were left out: {reasons}."


def _lead(less: Estimate | None) -> str:
    return decimals(None) if less is None or math.isnan(less.mean) else with_error(less)


def _number(value: float) -> str:
    return decimals(None if math.isnan(value) else value)


def _alarm(page: PageData) -> Iterator[str]:
    """The alarm of the last epoch with held-out results, before the fit has ended."""
    valid = [row for row in page.run.history() if row["split"] == "valid"]
    alarm = as_sentence(str(valid[-1]["alarm"])) if valid and valid[-1]["alarm"] else ""
    if alarm and alarm not in page.run.warnings:
        yield alarm


def _summary(page: PageData) -> Iterator[str]:
    summary = page.summary
    if not summary:
        yield "The fit has not ended: there are no results on test data yet."
        return
    yield from _strongest(page)
    rows = decimals(summary.get("rows"), 0)
    reconstruction, kl = decimals(summary.get("reconstruction")), decimals(summary.get("kl"))
    if summary.get("elbo") is None:
        yield (
            f"There is no bound on {page.evidence}, since a point mass has no density. The "
            f"reconstruction is {reconstruction} nats per datum, on {rows} test data."
        )
    else:
        yield (
            f"The bound on {page.evidence} is {decimals(summary['elbo'])} nats per datum, on "
            f"{rows} test data: the reconstruction is {reconstruction}, the KL {kl}."
        )
    beta = summary.get("beta")
    if beta is not None and beta != 1 and summary.get("elbo") is not None:
        yield f"Training weighted the KL by {beta:g}; the bound is always reported at 1."
    log_p = summary.get("log_p")
    if log_p:
        yield (
            f"{page.evidence} is {decimals(log_p.get('mean'))} nats per datum, by "
            f"{log_p.get('samples')} importance samples per datum (standard error over data "
            f"{decimals(log_p.get('standard_error'))}; in expectation a lower bound)."
        )
    if summary.get("bits_per_dim") is not None:
        yield f"That is {decimals(summary['bits_per_dim'], 3)} bits per dimension."
    told = summary.get("classification")
    if told:
        yield (
            f"The most probable class is right for {decimals(told.get('accuracy'), 3)} of the data "
            f"(standard error {decimals(told.get('standard_error'), 3)})."
        )
    if summary.get("effective_latents") is not None:
        yield (
            f"The KL is spread over {decimals(summary['effective_latents'], 1)} effective latents "
            f"of {summary.get('latent_dimensions')}."
        )
    elif summary.get("active_units") is not None:
        yield (
            f"{summary['active_units']} of {summary.get('latent_dimensions')} latent dimensions "
            f"are active: the variance of their posterior mean is above {THRESHOLD}."
        )
    if (summary.get("elbo") or summary.get("reconstruction") or 0) > 0:
        yield "x is continuous: these are log-densities, which may be above 0."
