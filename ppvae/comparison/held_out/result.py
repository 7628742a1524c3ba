"""Result of a comparison of runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.diagnostics.shared.wording import aligned, plus_minus

HEADER = ("minus the best", "bound", "rate", "effective latents", "parameters", "time")
"""Columns after log p(x)."""

SHORT = ("minus best", "bound", "rate", "latents")
"""The first of them, for a terminal of 80 characters."""

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
        effective_latents: effective number of latent dimensions in use; ``None`` where the KL does
            not split by dimension.
        parameters: number of learned parameters.
        seconds: time of training.
    """

    path: Path
    seed: int
    log_p: Tensor = field(repr=False)
    ess: float
    elbo: Estimate
    rate: Estimate
    effective_latents: float | None
    parameters: int
    seconds: float


@dataclass(frozen=True)
class HeldOut:
    """A mean over rows and seeds, with its errors.

    Attributes:
        mean: in nats per datum.
        standard_error: over rows, each a mean over seeds.
        seed_error: over seeds; ``None`` where each side has one seed.
        freedom: degrees of freedom of both errors together (Welch and Satterthwaite).
    """

    mean: float
    standard_error: float
    seed_error: float | None
    freedom: float

    @property
    def error(self) -> float:
        """Both errors combined."""
        return math.hypot(self.standard_error, self.seed_error or 0.0)

    def __str__(self) -> str:
        return plus_minus(self.mean, self.error)


@dataclass(frozen=True)
class Row:
    """One setting, with one or several seeds.

    Attributes:
        name: short and unique.
        runs: its runs.
        settings: the settings in which it differs from another row, by name.
        log_p: log p(x) per datum.
        difference: its log p(x) minus the best row's, on the same data.
        is_lower: whether the difference is beyond noise; false for the best row.
    """

    name: str
    runs: tuple[OneRun, ...]
    settings: Mapping[str, str]
    log_p: HeldOut
    difference: HeldOut
    is_lower: bool

    def mean(self, field: str) -> float | None:
        """The mean over seeds of a figure of `OneRun`; ``None`` where a run lacks it."""
        values = [getattr(run, field) for run in self.runs]
        numbers = [value.mean if isinstance(value, Estimate) else value for value in values]
        return None if None in numbers else sum(numbers) / len(numbers)

    def cells(self, *, is_best: bool) -> tuple[str, ...]:
        """The row of a table, with the columns of `HEADER`."""
        latents = self.mean("effective_latents")
        return (
            self.name,
            str(self.log_p),
            "best" if is_best else str(self.difference),
            f"{self.mean('elbo') or 0:,.2f}",
            f"{self.mean('rate') or 0:,.2f}",
            "-" if latents is None else f"{latents:.1f}",
            f"{self.mean('parameters') or 0:,.0f}",
            _time(self.mean("seconds") or 0.0),
        )


@dataclass(frozen=True)
class RunComparison:
    """Runs on the same rows, the best first; nats per datum.

    Attributes:
        rows: one per setting.
        kind: ``"held-out"``, or ``"training"`` for rows that the runs were fitted to.
        data: name of the rows, such as ``"test"``.
        count: their number.
        samples: importance samples per row.
        evidence: the estimated quantity: ``"log p(x)"``, or that of data with y.
        measure: whether log p is of a probability or a density.
        sentence: the conclusion.
        notes: what to know before reading the figures.
        warnings: sentences about the runs themselves, such as that a fit diverged.
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

    def __repr__(self) -> str:
        header, lines = self.table(SHORT)
        return f"{self.title}\n{aligned(header, lines)}\n{self.sentence}"

    @property
    def title(self) -> str:
        """The title of the table."""
        return f"{self.count:,} {self.data} rows, nats per datum, +- one standard error"

    def table(
        self, header: Sequence[str] = HEADER
    ) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """The header, and one line per row."""
        lines = [row.cells(is_best=row is self.best)[: 2 + len(header)] for row in self.rows]
        return ("", self.evidence, *header), lines

    @property
    def what(self) -> str:
        """The compared quantity, such as held-out log p(x)."""
        return f"{self.kind} {self.evidence}"

    @property
    def best(self) -> Row:
        """The row with the highest log p(x)."""
        return self.rows[0]

    def to_frame(self) -> "pd.DataFrame":
        """One line per row, the best first, in the format of ``arviz.plot_compare``.

        The scores are means over held-out rows (MLPD: mean log predictive density). They are not
        leave-one-out estimates, which a model with one latent per datum does not have.
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
        """The content of ``comparison.json``."""
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


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


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
