"""The verdict on a bad fit, compared with its true loss."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ppvae.diagnose import diagnose
from ppvae.diagnostics import log_evidence
from ppvae.diagnostics.baselines.whole_numbers import Binning
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.run import Run

from .cases import Case
from .runs import opened

ASKED = ("baselines", "bound", "gap", "model", "training", "deficits")
"""The questions of a diagnosis that the verdict uses."""

SAMPLES = 100
"""Draws per test row for the bound."""

FACTOR = 2.0
"""Largest ratio of the size and the true loss, either way."""


@dataclass(frozen=True)
class Judged:
    """A verdict and the true loss.

    Attributes:
        case: the bad fit.
        loss: the bound of the good fit minus that of the bad one, paired by test row.
        part: the first part of the verdict.
        nats: its size, if it has one.
        error: the standard error of the size.
        sentence: the first sentence of the verdict.
    """

    case: Case
    loss: Estimate
    part: str
    nats: float | None
    error: float | None
    sentence: str

    @property
    def is_named(self) -> bool:
        """Whether the verdict names the bad part."""
        return any(self.part.startswith(culprit) for culprit in self.case.culprits)

    @property
    def ratio(self) -> float | None:
        """The size in the verdict over the true loss."""
        return None if self.nats is None else self.nats / self.loss.mean

    @property
    def is_right(self) -> bool:
        """Whether the verdict names the bad part, and its size within a factor of two."""
        return self.is_named and self.ratio is not None and 1 / FACTOR <= self.ratio <= FACTOR


def judge(
    case: Case, folder: Path, *, quick: bool, only: Sequence[str] = ASKED, **settings: Any
) -> Judged:
    """Fit, diagnose, and compare the verdict with the true loss."""
    bad, good = (opened(name, folder, **settings) for name in (case.bad, case.good))
    first = _verdict(bad, quick=quick, only=only)
    return Judged(
        case, Estimate.of(bound(good) - bound(bad)),
        str(first["part"]), first["nats"], first["error"], str(first["sentence"]),
    )  # fmt: skip


def bound(run: Run) -> Tensor:
    """The bound of each test row; for whole numbers under a density, of their probability."""
    test = run.data().test.frozen(0)
    audit, x = run.audit, test.take(torch.arange(len(test)))["x"]
    is_density = not all(support.is_discrete for _, support in audit.supports.values())
    is_whole = is_density and bool((x == x.round()).all())
    binned = Binning(audit.data_site, torch.tensor(0.5), test.shape) if is_whole else nullcontext()
    with binned:
        found = log_evidence(run.pair, audit, test, samples=SAMPLES, seed=0, compile=False)
    return found.elbo


def _verdict(run: Run, *, quick: bool, only: Sequence[str]) -> dict[str, Any]:
    """The first finding of a diagnosis, read or computed."""
    file = run.path / "diagnosis" / "diagnostics.json"
    if not file.is_file():
        diagnose(run=run, quick=quick, only=list(only), out=file.parent, device="cpu")
    nothing = {"part": "nothing", "nats": None, "error": None, "sentence": ""}
    found: dict[str, Any] = (*json.loads(file.read_text())["verdict"], nothing)[0]
    return found
