"""Summary of a fit: results of its best weights on the test data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ppvae.components.data_support import levels_of
from ppvae.data import Data, Split
from ppvae.diagnostics import Embedding, active_units, compare_baselines, embed, log_evidence
from ppvae.diagnostics.baselines.comparison import Baselines
from ppvae.diagnostics.bound.terms import bits_per_dim, decompose, observed_elements
from ppvae.diagnostics.evidence.importance_sampling import evidence_name
from ppvae.programs.classification import Classification, classification, has_classes
from ppvae.training.evaluation import Figures, evaluate
from ppvae.training.evaluation_schedule import draws_for
from ppvae.training.status import Status, status

if TYPE_CHECKING:  # the loop takes seconds to import
    from ppvae.training.trainer import Trainer

SAMPLES = 50
"""Number of importance samples of the final log p(x); `ppvae.encode` takes any number."""

DRAWS = 10_000
"""Minimum number of draws for the final bound, over data and repetitions."""


@dataclass(frozen=True)
class Summary:
    """Results of the best weights on the test data, in nats per datum.

    Attributes:
        figures: the bound and its terms.
        rows: the number of test data.
        beta: the weight of the KL in the objective.
        log_p: mean of the importance-weighted bound on log p(x), or ``None``.
        log_p_error: its standard error.
        evidence: name of the bounded quantity: ``"log p(x)"``, or that with or given y.
        baselines: simple models of the same rows.
        status: status of the fit.
        bits_per_dim: log p(x) in bits per observed element, for 8-bit intensities.
        classification: accuracy of predicted classes, if the model predicts them.
        effective_latents: effective number of latent dimensions, by their shares of the KL;
            ``None`` if guide and prior are not both products of univariate distributions.
        active_units: number of latent dimensions whose posterior mean varies; ``None`` if no latent
            belongs to a datum.
        embedding: codes of the test data.
        is_bound: whether the guide has a density, and so a bound.
        best_epoch: the epoch of the best weights.
        epochs: epochs trained.
        steps: steps trained.
        seconds: training time.
        compile_seconds: of that time, for tracing and compiling; 0: nothing was compiled.
        uncompiled: why nothing is compiled any more; ``""`` if it may be.
        seed: seed of the fit.
    """

    figures: Figures
    rows: int
    beta: float
    log_p: float | None
    log_p_error: float | None
    evidence: str
    baselines: Baselines
    status: Status
    bits_per_dim: float | None
    classification: Classification | None
    effective_latents: float | None
    active_units: int | None
    embedding: Embedding
    is_bound: bool
    best_epoch: int | None
    epochs: int
    steps: int
    seconds: float
    compile_seconds: float
    uncompiled: str
    seed: int

    @property
    def latent_dimensions(self) -> int | None:
        """Number of latent dimensions per datum."""
        return self.embedding.joined().shape[1] if self.embedding.loc else None

    def to_dict(self) -> dict[str, Any]:
        """Content of ``summary.json``."""
        log_p = None
        if self.log_p is not None:
            log_p = {
                "samples": SAMPLES, "mean": self.log_p, "standard_error": self.log_p_error,
            }  # fmt: skip
        told = self.classification
        return {
            "split": "test",
            "rows": self.rows,
            "unit": "nats per datum",
            **asdict(self.figures),
            "beta": self.beta,
            "status": self.status.word,
            "warnings": list(self.status.warnings),
            "log_p": log_p,
            "baselines": self.baselines.to_dict(),
            "baselines_left_out": dict(self.baselines.left_out),
            "baselines_note": self.baselines.note or None,
            "bits_per_dim": self.bits_per_dim,
            "classification": None if told is None else asdict(told),
            "effective_latents": self.effective_latents,
            "active_units": self.active_units,
            "latent_dimensions": self.latent_dimensions,
            "best_epoch": self.best_epoch,
            "epochs": self.epochs,
            "uncompiled": self.uncompiled or None,
            "steps": self.steps,
            "seconds": self.seconds,
            "compile_seconds": self.compile_seconds,
            "seed": self.seed,
        }


def summarize(
    trainer: "Trainer",
    data: Data,
    labels: Tensor | None = None,
    metrics: Sequence[Mapping[str, Any]] = (),
) -> Summary:
    """Summarize a fit whose programs have their best weights.

    Args:
        trainer: the trainer.
        data: the data.
        labels: the true classes of the test data, if known.
        metrics: the rows of ``metrics.csv``.
    """
    device, plan, facts = trainer.device, trainer.plan, trainer.bound.audit
    pair, progress = trainer.bound.pair, trainer.progress
    test = data.test.to(device)
    figures = evaluate(
        trainer.bound,
        test,
        beta=plan.beta,
        batch_size=trainer.evaluation.batch_size,
        draws=draws_for(len(test), DRAWS),
        seed=plan.seed,
        device=device,
    )
    embedding = embed(pair, facts, test, device=device)
    evidence, reason = None, "latents are shared by all data, summed out, or scaled"
    if not facts.is_bound:
        reason = "the guide is a point mass"
    if facts.has_evidence:
        evidence = log_evidence(pair, facts, test, samples=SAMPLES, seed=plan.seed, device=device)
    told = None
    if labels is not None and bool((labels >= 0).any()) and has_classes(facts):
        told = classification(pair, test, labels)
    bits = None
    if levels_of(facts) is not None and evidence is not None:
        bits = bits_per_dim(evidence.log_p, observed_elements(test)).mean
    beside = compare_baselines(
        pair, facts, data, test, None if evidence is None else evidence.log_p,
        samples=SAMPLES, seed=plan.seed, device=device, reason=reason,
    )  # fmt: skip
    value = figures.elbo if evidence is None else evidence.mean
    error = None if evidence is None else evidence.standard_error
    best = progress.best_step
    return Summary(
        figures=figures,
        rows=len(test),
        beta=plan.beta,
        log_p=None if evidence is None else evidence.mean,
        log_p_error=error,
        evidence=evidence_name(pair, facts, test.beside),
        baselines=beside,
        status=status(metrics, beside, value, math.prod(data.shape), error),
        bits_per_dim=bits,
        classification=told,
        effective_latents=_effective_latents(trainer, test),
        active_units=active_units(embedding.joined()) if embedding.loc else None,
        embedding=embedding,
        is_bound=facts.is_bound,
        best_epoch=None if best is None else best // trainer.steps_per_epoch,
        epochs=progress.epoch,
        steps=progress.step,
        seconds=round(progress.seconds, 3),
        compile_seconds=round(progress.compile_seconds, 3),
        uncompiled=progress.uncompiled,
        seed=plan.seed,
    )


def _effective_latents(trainer: "Trainer", test: Split) -> float | None:
    """Effective number of latent dimensions, with two draws per datum."""
    audit = trainer.bound.audit
    if not audit.is_bound or audit.axes.data is None:
        return None
    pair, seed = trainer.bound.pair, trainer.plan.seed
    found = decompose(pair, audit, test, draws=2, seed=seed, device=trainer.device)
    return found.effective_latents
