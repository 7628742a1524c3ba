"""What a comparison of runs finds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ppvae.diagnostics.shared.estimate import Estimate

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class OneRun:
    """The figures of one run on the compared rows, in nats per datum.

    Attributes:
        path: its directory.
        seed: of its fit.
        log_p: log p(x) of each datum by importance sampling, ``(data,)``.
        ess: the median over data of the weights' effective sample size.
        elbo: the bound, at a KL weight of 1.
        rate: KL(q(z | x) || p(z)).
        effective_latents: latent dimensions in effect in use; ``None`` where the KL is undivided.
        parameters: how many numbers were learned.
        seconds: time of training.
    """

    path: Path
    seed: int
    log_p: Tensor
    ess: float
    elbo: Estimate
    rate: Estimate
    effective_latents: float | None
    parameters: int
    seconds: float


@dataclass(frozen=True)
class HeldOut:
    """A mean over rows and seeds, with what either leaves open.

    Attributes:
        mean: in nats per datum.
        standard_error: that of other rows: of the mean over rows, each a mean over seeds.
        seed_error: that of other seeds: of the mean over seeds; ``None`` where each side has one.
        freedom: degrees of freedom of both together (Welch and Satterthwaite).
    """

    mean: float
    standard_error: float
    seed_error: float | None
    freedom: float

    @property
    def error(self) -> float:
        """Both errors together."""
        return math.hypot(self.standard_error, self.seed_error or 0.0)


@dataclass(frozen=True)
class Row:
    """One setting, which may have been fitted with several seeds.

    Attributes:
        name: short, and no other row's.
        runs: its runs.
        settings: what it has otherwise than another row, by name.
        log_p: log p(x) of a datum.
        difference: that less the best row's, on the same data.
        is_lower: the difference is more than noise shows; of the best row false.
    """

    name: str
    runs: tuple[OneRun, ...]
    settings: Mapping[str, str]
    log_p: HeldOut
    difference: HeldOut
    is_lower: bool

    def mean(self, field: str) -> float | None:
        """The mean over seeds of a figure of `OneRun`; ``None`` where one of them has none."""
        values = [getattr(run, field) for run in self.runs]
        numbers = [value.mean if isinstance(value, Estimate) else value for value in values]
        return None if None in numbers else sum(numbers) / len(numbers)


@dataclass(frozen=True)
class RunComparison:
    """Runs on the same rows, the best first; nats per datum.

    Attributes:
        rows: one for each setting.
        kind: ``"held-out"``, or ``"training"`` of rows that the runs were fitted to.
        data: what the rows of data are called.
        count: how many they are.
        samples: importance samples of each.
        evidence: what is estimated: ``"log p(x)"``, or that of data with y.
        measure: what log p is the logarithm of: a probability, or a density.
        sentence: what it comes to.
        notes: what is to be known before its figures are read.
        warnings: sentences of the runs themselves: that a fit diverged, say.
        path: the folder with ``comparison.json``, ``compare.html`` and ``figures/compare.png``.
    """

    rows: tuple[Row, ...]
    kind: str
    data: str
    count: int
    samples: int
    evidence: str
    measure: str
    sentence: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    path: Path

    @property
    def what(self) -> str:
        """What is compared: held-out log p(x), say."""
        return f"{self.kind} {self.evidence}"

    @property
    def best(self) -> Row:
        """The row of the highest log p(x)."""
        return self.rows[0]

    def to_frame(self) -> "pd.DataFrame":
        """One line for each row, the best first, as ``arviz.plot_compare`` takes it.

        The scores are means over held-out rows (MLPD: mean log predictive density); none of them is
        a leave-one-out estimate, which a model with a latent for each datum does not have.
        """
        import pandas as pd

        lines = [
            {
                "rank": rank, "mlpd": row.log_p.mean, "se": row.log_p.error,
                "mlpd_diff": row.difference.mean, "dse": row.difference.error,
                "elbo": row.mean("elbo"), "rate": row.mean("rate"),
                "effective_latents": row.mean("effective_latents"),
                "parameters": row.mean("parameters"), "seconds": row.mean("seconds"),
                "seeds": len(row.runs), **row.settings,
            }
            for rank, row in enumerate(self.rows)
        ]  # fmt: skip
        frame = pd.DataFrame(lines, index=pd.Index([row.name for row in self.rows], name="run"))
        frame.attrs = {"kind": self.kind, "unit": "nats per datum"}
        return frame

    def record(self) -> dict[str, Any]:
        """What ``comparison.json`` holds of it."""
        return {
            "kind": self.kind, "data": self.data, "rows": self.count, "samples": self.samples,
            "evidence": self.evidence, "measure": self.measure, "sentence": self.sentence,
            "notes": list(self.notes), "warnings": list(self.warnings),
            "compared": [
                {
                    "name": row.name, "settings": dict(row.settings),
                    "log_p": _held_out(row.log_p), "difference": _held_out(row.difference),
                    "is_lower": row.is_lower,
                    "runs": [_one_run(run) for run in row.runs],
                }
                for row in self.rows
            ],
        }  # fmt: skip


def _held_out(value: HeldOut) -> dict[str, float | None]:
    return {
        "mean": value.mean, "standard_error": value.standard_error,
        "seed_error": value.seed_error, "error": value.error,
    }  # fmt: skip


def _one_run(run: OneRun) -> dict[str, Any]:
    def estimate(value: Estimate) -> dict[str, float]:
        return {"mean": value.mean, "standard_error": value.standard_error}

    return {
        "path": str(run.path), "seed": run.seed, "log_p": estimate(Estimate.of(run.log_p)),
        "ess": run.ess, "elbo": estimate(run.elbo), "rate": estimate(run.rate),
        "effective_latents": run.effective_latents, "parameters": run.parameters,
        "seconds": run.seconds,
    }  # fmt: skip
