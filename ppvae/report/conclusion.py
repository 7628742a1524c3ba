"""The end of a fit: its best weights on the test data, in figures, pictures and a table."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ppvae import report
from ppvae.cli.terminal import number, say, show_table
from ppvae.components.support import levels_of
from ppvae.data import Data
from ppvae.diagnostics import active_units, embed, log_evidence
from ppvae.diagnostics.activity import THRESHOLD
from ppvae.diagnostics.evidence import evidence_name
from ppvae.diagnostics.terms import bits_per_dim, observed_elements
from ppvae.programs.classification import classification, has_classes
from ppvae.report import gallery
from ppvae.run import Run
from ppvae.run.store import WriteError
from ppvae.training.evaluation import evaluate
from ppvae.training.trainer import Trainer

__all__ = ["SAMPLES", "conclude"]

SAMPLES = 50
"""Importance samples of the final bound on log p(x); `ppvae.encode` takes any number."""

DRAWS = 10_000
"""Least number of draws that the final bound is averaged over, data and repetitions together."""


def conclude(run: Run, loop: Trainer, data: Data, labels: Tensor | None = None) -> None:
    """The final figures on the test data, by the best weights; pictures; a table.

    Args:
        run: the fit.
        loop: what was climbed, and how.
        data: what it was climbed on.
        labels: the true classes of the test data, where they are known.

    Raises:
        WriteError: if the disk does not take all of it; what it takes is there.
    """
    device, plan, facts = loop.device, loop.plan, loop.bound.audit
    pair = run.pair  # the loop's own, at the best weights
    test = data.test.to(device)
    figures = evaluate(
        loop.bound,
        test,
        beta=plan.beta,
        batch_size=plan.batch_size,
        draws=-(-DRAWS // len(test)),
        seed=plan.seed,
        device=device,
    )
    embedding = embed(pair, facts, test, device=device)
    units = embedding.joined() if embedding.loc else None
    evidence = None
    if facts.has_evidence:
        evidence = log_evidence(pair, facts, test, samples=SAMPLES, seed=plan.seed, device=device)
    told = None
    if labels is not None and bool((labels >= 0).any()) and has_classes(facts):
        told = classification(pair, test, labels)
    bits = None
    if levels_of(facts) is not None and evidence is not None:
        bits = bits_per_dim(evidence.log_p, observed_elements(test)).mean
    steps_per_epoch = loop.steps_per_epoch
    best = loop.progress.best_step
    summary = {
        "split": "test",
        "rows": len(test),
        "unit": "nats per datum",
        "elbo": figures.elbo,
        "reconstruction": figures.reconstruction,
        "kl": figures.kl,
        "objective": figures.objective,
        "beta": plan.beta,
        "log_p": None if evidence is None else {
            "samples": SAMPLES, "mean": evidence.mean, "standard_error": evidence.standard_error,
        },
        "bits_per_dim": bits,
        "classification": None if told is None else asdict(told),
        "active_units": None if units is None else active_units(units),
        "latent_dimensions": None if units is None else units.shape[1],
        "best_epoch": None if best is None else best // steps_per_epoch,
        "epochs": loop.progress.epoch,
        "uncompiled": loop.progress.uncompiled or None,
        "steps": loop.progress.step,
        "seconds": round(loop.progress.seconds, 3),
        "seed": plan.seed,
    }  # fmt: skip
    run.write_summary(summary)
    pair.to("cpu")
    shown = _labels(data) if labels is None else labels
    failed = [
        error
        for make in (
            lambda: gallery.draw(run, data, embedding, shown, plan.seed),
            lambda: report.attempt(run, data.test, labels=shown),
        )
        if (error := _attempt(make)) is not None
    ]

    rows = [
        ("bound (elbo)", number(figures.elbo), "")
        if facts.is_bound
        else ("bound (elbo)", "none", "point mass")
    ]
    rows.append(("reconstruction", number(figures.reconstruction), "E_q[log p(x | z)]"))
    if figures.kl is not None:
        rows.append(("KL", number(figures.kl), "KL(q(z | x) || p(z))"))
    if plan.beta != 1 or figures.elbo is None:
        rows.append(("objective", number(figures.objective), f"at beta = {plan.beta:g}"))
    name = evidence_name(pair, facts, test.take(torch.arange(len(test))).get("y"))
    if evidence is not None:
        rows.append(
            (
                f"{name}, K = {SAMPLES}",
                number(evidence.mean),
                f"standard error {number(evidence.standard_error)}",
            )
        )
    if bits is not None:
        rows.append(
            ("bits/dim", f"{bits:.3f}", f"-{name} / ln 2 per observed element, K = {SAMPLES}")
        )
    if told is not None:
        rows.append(
            (
                "accuracy",
                f"{told.accuracy:.3f}",
                f"of the most probable class; standard error {told.standard_error:.3f}",
            )
        )
    if units is not None:
        rows.append(
            (
                "active units",
                str(active_units(units)),
                f"of {units.shape[1]}: Var E_q[z | x] > {THRESHOLD}",
            )
        )
    show_table(f"test data ({len(test):,} rows), nats per datum", ("", "value", ""), rows)
    if (figures.elbo or figures.reconstruction) > 0:
        say("note: x is continuous, so these are log-densities, which may be above 0")
    if failed:
        raise failed[0]
    there = "metrics.csv, summary.json, checkpoints, figures, report.html"
    say(f"everything is in {run.path}: {there}")


def _attempt(make: Callable[[], object]) -> WriteError | None:
    """Draw, or say why not: the fit is worth more than its pictures.

    A full disk is returned, for the command to end with once all else is said.
    """
    try:
        make()
    except WriteError as error:
        return error
    except Exception as error:  # see above
        say(f"note: not all pictures could be drawn: {report.reason_of(error)}")
    return None


def _labels(data: Data) -> Any:
    """The test data's labels, if it has one number a datum."""
    if "y" not in data.test.extra_names:
        return None
    y = data.test.take(torch.arange(len(data.test)))["y"]
    return y if y.dim() == 1 else None
