"""What a diagnosis says of a bad fit, beside what it truly loses."""

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
"""The questions that a verdict is made of."""

SAMPLES = 100
"""Draws behind the bound of each test row."""

FACTOR = 2.0
"""How far a size may be from the true loss."""


@dataclass(frozen=True)
class Judged:
    """A verdict beside the truth.

    Attributes:
        case: what was bad.
        loss: the bound of the good fit less that of the bad one, by test rows.
        part: what the verdict names first.
        nats: the size it gives; ``None``: none.
        error: the standard error of it.
        sentence: its first sentence.
    """

    case: Case
    loss: Estimate
    part: str
    nats: float | None
    error: float | None
    sentence: str

    @property
    def is_named(self) -> bool:
        """Whether the part is the one that is bad."""
        return any(self.part.startswith(culprit) for culprit in self.case.culprits)

    @property
    def ratio(self) -> float | None:
        """The size that the verdict gives over the true loss."""
        return None if self.nats is None else self.nats / self.loss.mean

    @property
    def is_right(self) -> bool:
        """Whether the part is named, and the size within a factor of two."""
        return self.is_named and self.ratio is not None and 1 / FACTOR <= self.ratio <= FACTOR


def judge(
    case: Case, folder: Path, *, quick: bool, only: Sequence[str] = ASKED, **settings: Any
) -> Judged:
    """Fit, diagnose, and hold the verdict against the truth."""
    bad, good = (opened(name, folder, **settings) for name in (case.bad, case.good))
    first = _verdict(bad, quick=quick, only=only)
    return Judged(
        case, Estimate.of(bound(good) - bound(bad)),
        str(first["part"]), first["nats"], first["error"], str(first["sentence"]),
    )  # fmt: skip


def bound(run: Run) -> Tensor:
    """The bound of each test row; of whole numbers that of their probability, under a density."""
    test = run.data().test.frozen(0)
    audit, x = run.audit, test.take(torch.arange(len(test)))["x"]
    is_density = not all(support.is_discrete for _, support in audit.supports.values())
    is_whole = is_density and bool((x == x.round()).all())
    binned = Binning(audit.data_site, torch.tensor(0.5), test.shape) if is_whole else nullcontext()
    with binned:
        found = log_evidence(run.pair, audit, test, samples=SAMPLES, seed=0, compile=False)
    return found.elbo


def _verdict(run: Run, *, quick: bool, only: Sequence[str]) -> dict[str, Any]:
    """The first finding of a diagnosis, made anew or read."""
    file = run.path / "diagnosis" / "diagnostics.json"
    if not file.is_file():
        diagnose(run=run, quick=quick, only=list(only), out=file.parent, device="cpu")
    nothing = {"part": "nothing", "nats": None, "error": None, "sentence": ""}
    found: dict[str, Any] = (*json.loads(file.read_text())["verdict"], nothing)[0]
    return found
