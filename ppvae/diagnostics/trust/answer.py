"""Can the guide be trusted, datum by datum?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppvae.diagnostics.answer import Answer, Attempts, Picture, Row, first
from ppvae.diagnostics.context import Context
from ppvae.diagnostics.evidence.answer import EvidenceAnswer
from ppvae.diagnostics.shared.wording import as_sentence
from ppvae.diagnostics.trust.calibration import Calibration, calibrate
from ppvae.diagnostics.trust.chains import posterior_chains
from ppvae.diagnostics.trust.pareto_k import Reliability, reliability
from ppvae.diagnostics.trust.pictures import (
    SampledPosterior,
    WorstData,
    calibration_picture,
    posterior_picture,
    reliability_picture,
    worst_picture,
)
from ppvae.errors import InputError
from ppvae.programs.generation import reconstruct
from ppvae.run.pictured import observed

WORST = 8
"""Number of the worst data that are shown."""

WARM_UP = 100
"""Maximum number of warm-up transitions of a chain."""

RHAT = 1.1
"""r-hat above which chains have not converged."""


@dataclass(frozen=True, repr=False)
class TrustAnswer(Answer):
    """Weights, calibration and posteriors of the guide; ``None`` where refused.

    Attributes:
        reliability: Pareto k-hat and effective sample sizes.
        worst: the data with the largest k-hat.
        calibration: ranks of simulated latents among draws from the guide.
        sampled: the exact posterior of a few data, by NUTS.
    """

    reliability: Reliability | None
    worst: WorstData | None
    calibration: Calibration | None
    sampled: SampledPosterior | None

    question = "Can the guide be trusted, datum by datum?"
    deficits = ()

    @property
    def metrics(self) -> Mapping[str, Any]:
        """k-hat, effective sample sizes, calibration, and the guide against NUTS."""
        metrics: dict[str, Any] = {}
        if self.reliability is not None and self.worst is not None:
            khat, ess = self.reliability.khat, self.reliability.ess
            metrics["pareto_k"] = {
                "threshold": self.reliability.threshold, "share_below": self.reliability.good,
                "samples": self.reliability.samples, "rows": len(khat),
                "largest": float(khat.max()), "worst_rows": self.worst.rows,
                "worst_k": self.worst.khat,
            }  # fmt: skip
            metrics["effective_sample_size"] = {
                "median": float(ess.median()), "smallest": float(ess.min())
            }  # fmt: skip
        if self.calibration is not None:
            metrics["calibration"] = {
                "simulations": self.calibration.simulations, "draws": self.calibration.draws,
                "p_value": self.calibration.p_value,
                "is_calibrated": self.calibration.is_calibrated,
                "verdict": self.calibration.verdict,
                "off": [{"quantity": n, "shape": s} for n, s in _off(self.calibration)],
            }  # fmt: skip
        if self.sampled is not None:
            chains, against = self.sampled.chains, self.sampled.chains.against_guide()
            metrics["nuts"] = {
                "rows": self.sampled.rows,
                "chains": chains.draws.shape[1],
                "draws": chains.draws.shape[2],
                "warmup": self.sampled.warmup,
                "largest_rhat": float(chains.rhat.max()),
                "smallest_ess": float(chains.ess.min()),
                "divergences": chains.divergences.tolist(),
                "scale_of_guide_over_posterior": against.ratio.median(-1).values.tolist(),
                "largest_shift_in_scales": against.shift.abs().max(-1).values.tolist(),
            }
        return metrics

    @property
    def rows(self) -> tuple[Row, ...]:
        """k-hat, effective sample sizes, calibration, and the guide against NUTS."""
        rows: list[Row] = []
        if self.reliability is not None:
            weights = self.reliability
            rows += [
                (
                    f"Pareto k-hat below {weights.threshold:.2f}", f"{weights.good:.0%}",
                    f"of {len(weights.khat):,} data, {weights.samples:,} draws each",
                ),
                (
                    "effective sample size, median", f"{float(weights.ess.median()):,.0f}",
                    f"smallest {float(weights.ess.min()):,.1f}",
                ),
            ]  # fmt: skip
        if self.calibration is not None:
            count, simulations = len(self.calibration.names), self.calibration.simulations
            note = f"{len(_off(self.calibration))} of {count} quantities off, "
            rows.append(
                (
                    "calibrated to the model's posterior",
                    "yes" if self.calibration.is_calibrated else "no",
                    f"{note}{simulations:,} simulations",
                )
            )
        return (*rows, *(() if self.sampled is None else _chains_rows(self.sampled)))

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """k-hat, the worst data, calibration, and the guide against NUTS."""
        pictures = []
        if self.reliability is not None:
            pictures.append(reliability_picture(self.reliability))
        if self.worst is not None and self.worst.x is not None and self.worst.rebuilt is not None:
            pictures.append(worst_picture(self.worst, self.worst.x, self.worst.rebuilt))
        if self.calibration is not None:
            pictures.append(calibration_picture(self.calibration))
        if self.sampled is not None and len(self.sampled.chains.sites) > 1:
            pictures.append(posterior_picture(self.sampled))
        return tuple(pictures)

    def sentences(self, answers: Iterable[Answer], /) -> tuple[str, ...]:
        """The share of data with reliable weights, and whether the guide is calibrated."""
        sentences, evidence = [], first(answers, EvidenceAnswer)
        if self.reliability is not None:
            is_exact = evidence is not None and evidence.exact is not None
            annealed = None if evidence is None else evidence.annealed
            # Few data are annealed, usually: then it replaces no estimate of all.
            is_annealed = annealed is not None and len(annealed.log_p) >= len(self.reliability.khat)
            way_out = (
                "use the annealed estimate"
                if is_annealed
                else "give more `samples`, or fit again with a richer `guide`"
            )
            advice = f"; for the others importance sampling underestimates log p(x): {way_out}"
            sentences.append(
                f"Importance weights are reliable (k-hat below {self.reliability.threshold:.2f}) "
                f"for {self.reliability.good:.0%} of the data"
                f"{advice if self.reliability.good < 0.99 and not is_exact else ''}."
            )
        if self.sampled is not None and float(self.sampled.chains.rhat.max()) > RHAT:
            sentences.append(
                f"The NUTS chains have not converged (r-hat above {RHAT}): do not rely on them."
            )
        if self.calibration is not None:
            sentences.append(as_sentence(self.calibration.verdict))
        return tuple(sentences)


def ask(context: Context) -> TrustAnswer:
    """Weigh draws from the guide, rank simulated latents among them, and sample the posterior."""
    attempt, weights = Attempts(), context.weights
    tails = worst = None
    if isinstance(weights, Tensor):
        tails = attempt("Pareto k-hat", lambda: reliability(weights))
    else:
        attempt.refusals["Pareto k-hat"] = weights
    if tails is not None:
        worst = _worst(context, tails)

    def rank() -> Calibration:
        with context.progress("calibration", context.effort.simulations) as count:
            return calibrate(
                context.pair, context.audit, context.data, seed=context.seed, on_rows=count,
                simulations=context.effort.simulations, device=context.device,
            )  # fmt: skip

    calibration = attempt("calibration", rank)
    sampled = attempt("NUTS", lambda: _sample(context, tails))
    return TrustAnswer(attempt.refusals, tails, worst, calibration, sampled)


def _worst(context: Context, tails: Reliability) -> WorstData:
    worst = tails.worst(WORST)
    rows, khat = context.order[worst], tails.khat[worst].tolist()
    numbers = context.data.annotations.numbers[rows].tolist()
    if not context.audit.supports:
        return WorstData(numbers, khat, None, None, context.run)
    batch = context.batch(rows)
    means, _ = reconstruct(context.pair, context.audit, batch)
    seen = torch.from_numpy(observed(batch))
    return WorstData(numbers, khat, seen, means.cpu(), context.run)


def _sample(context: Context, tails: Reliability | None) -> SampledPosterior:
    """NUTS on the median datum, and, if more are asked for, on the worst ones."""
    draws, rows = context.effort.nuts_draws, min(context.effort.sampled_rows, len(context.data))
    if tails is None or not rows:
        raise InputError("it needs the k-hats of the guide, which choose the data")
    by_khat = tails.khat.argsort(descending=True)
    chosen = torch.cat([by_khat[len(by_khat) // 2][None], by_khat[: rows - 1]])[:rows]
    places = context.order[chosen]
    batch = context.batch(places)
    warmup = min(draws, WARM_UP)
    with context.progress("NUTS", rows * 2 * (warmup + draws)) as count:
        chains = posterior_chains(
            context.pair, context.audit, batch, draws=draws, warmup=warmup, seed=context.seed,
            on_draw=count,
        )  # fmt: skip
    khat = tails.khat[chosen].tolist()
    numbers = context.data.annotations.numbers[places].tolist()
    return SampledPosterior(numbers, khat, batch["x"].cpu(), chains, warmup)


def _off(calibration: Calibration) -> list[tuple[str, str]]:
    """Quantities whose ranks are not uniform, and how they deviate."""
    named = zip(calibration.names, calibration.shapes, strict=True)
    return [(name, shape) for name, shape in named if shape != "uniform"]


def _chains_rows(sampled: SampledPosterior) -> list[Row]:
    chains, against = sampled.chains, sampled.chains.against_guide()
    _, count, draws, _ = chains.draws.shape
    return [
        (
            f"NUTS on row {row}, k-hat {khat:.2f}",
            f"{float(against.ratio[i].median()):.2f}",
            "guide's scale / posterior's, median; largest shift "
            f"{float(against.shift[i].abs().max()):.1f} scales; "
            f"r-hat {float(chains.rhat[i].max()):.2f}; "
            f"{count} chains of {draws:,} draws, after {sampled.warmup:,} to warm up",
        )
        for i, (row, khat) in enumerate(zip(sampled.rows, sampled.khat, strict=True))
    ]
