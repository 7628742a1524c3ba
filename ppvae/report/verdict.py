"""What the run comes to, in sentences: those of the diagnosis, else of the summary."""

from collections.abc import Iterator
from shlex import quote

import torch

from ppvae.diagnostics.activity import THRESHOLD
from ppvae.diagnostics.evidence import evidence_name
from ppvae.errors import InputError
from ppvae.report.material import Material
from ppvae.report.parts import Section, decimals

__all__ = ["section"]


def section(material: Material) -> Section:
    """The verdict."""
    said, commands = list(_alarm(material)), list[str]()
    if material.diagnosis is None:
        said += _summary(material)
        said.append(
            "Where the nats are lost, and what to change, was not asked yet. This command says, in "
            "about a minute:"
        )
        commands.append(f"python -m ppvae.diagnose {quote(str(material.run.path))} --quick")
    else:
        diagnosis = material.diagnosis
        count, name = diagnosis.get("rows"), diagnosis.get("data")
        said += [str(sentence) for sentence in diagnosis.get("verdict", [])]
        said.append(f"So says a diagnosis of {decimals(count, 0)} {name} data.")
    return Section("verdict", "Verdict", tuple(said), commands=tuple(commands))


def _alarm(material: Material) -> Iterator[str]:
    """The alarm of the last epoch that has held-out figures."""
    valid = [row for row in material.run.metrics() if row["split"] == "valid"]
    if valid and valid[-1]["alarm"]:
        said = str(valid[-1]["alarm"]).rstrip(".")
        yield f"Alarm: {said}."


def _summary(material: Material) -> Iterator[str]:
    summary = material.summary
    if not summary:
        yield "The fit has not ended: there are no figures of test data yet."
        return
    rows = decimals(summary.get("rows"), 0)
    reconstruction, kl = decimals(summary.get("reconstruction")), decimals(summary.get("kl"))
    if summary.get("elbo") is None:
        yield (
            "There is no bound on log p(x), since a point mass has no density. The reconstruction "
            f"is {reconstruction} nats per datum, on {rows} test data."
        )
    else:
        yield (
            f"The bound on log p(x) is {decimals(summary['elbo'])} nats per datum, on {rows} test "
            f"data: the reconstruction is {reconstruction}, the KL {kl}."
        )
    beta = summary.get("beta")
    if beta is not None and beta != 1:
        yield f"What was climbed weighs the KL by {beta:g}; the bound is always that at 1."
    log_p = summary.get("log_p")
    if log_p:
        yield (
            f"{_evidence(material)} is {decimals(log_p.get('mean'))} nats per datum, by "
            f"{log_p.get('samples')} importance samples of each (standard error over data "
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
    if summary.get("active_units") is not None:
        yield (
            f"{summary['active_units']} of {summary.get('latent_dimensions')} latent dimensions "
            f"are active: the variance of their posterior mean is above {THRESHOLD}."
        )
    if (summary.get("elbo") or summary.get("reconstruction") or 0) > 0:
        yield "x is continuous: these are log-densities, which may be above 0."


def _evidence(material: Material) -> str:
    """What the importance samples estimate: log p(x), or that given or with labels."""
    try:
        y = material.rows.take(torch.arange(len(material.rows))).get("y")
    except InputError:
        return "log p(x)"
    return evidence_name(material.run.pair, material.run.audit, y)
