"""What `encode` writes of programs that take y, and what all commands call their figure."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pyro.infer import TraceEnum_ELBO

from ppvae.diagnose import diagnose, show
from ppvae.diagnostics import log_evidence, subject
from ppvae.diagnostics.effort import Effort
from ppvae.diagnostics.evidence.importance_sampling import evidence_name
from ppvae.encode import encode, main
from ppvae.guides import MeanField, SemiSupervised
from ppvae.models import VAE, ConditionalVAE, Gaussian, SemiSupervisedVAE, StandardNormal
from ppvae.programs.classification import classify
from ppvae.run import Run
from tests.support.fits import quick, small

__all__ = ["quick"]  # a fixture: fits without pictures

SEMI: dict[str, Any] = {
    "model": "SemiSupervisedVAE", "guide": "SemiSupervised", "elbo": "TraceEnum_ELBO"
}  # fmt: skip


def clusters(folder: Path) -> tuple[Path, NDArray[np.float32]]:
    """Two clusters that touch, with the class of each row."""
    generator = np.random.default_rng(0)
    y = np.arange(90) % 2
    x = (generator.normal(size=(90, 2)) + 3.0 * y[:, None]).astype(np.float32)
    np.savez(folder / "kinds.npz", x=x, y=y)
    return folder / "kinds.npz", x


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, on one line."""
    return " ".join("".join(capsys.readouterr()).split())


def test_a_run_with_a_class_is_asked_for_its_probabilities(tmp_path: Path) -> None:
    data, _ = clusters(tmp_path)
    run = small(tmp_path, data=data, labels=20, epochs=8, lr=3e-2, **SEMI)
    found = encode(run, split="train")
    told = found["class_probability"]
    assert told.shape == (len(found["loc"]), 2)
    np.testing.assert_allclose(told.sum(1), 1, rtol=1e-5)
    rows = run.data().splits["train"].take(torch.arange(len(told)))
    np.testing.assert_allclose(told, classify(run.pair, rows).numpy(), rtol=1e-5)
    with np.load(run.path / "embedding-train.npz") as kept:
        np.testing.assert_array_equal(kept["class_probability"], told)
    # Labels do not count: the same data, some labelled, have what they have without labels.
    blank = tmp_path / "blank.npz"
    np.savez(blank, x=np.load(data)["x"])
    whole = encode(run, data, out=tmp_path / "with.npz")["class_probability"]
    without = encode(run, blank, out=tmp_path / "without.csv")["class_probability"]
    np.testing.assert_allclose(whole, without, rtol=1e-5)
    table = np.genfromtxt(tmp_path / "without.csv", delimiter=",", names=True)
    np.testing.assert_allclose(table["class_probability_1"], without[:, 1], rtol=1e-5)
    # The clusters are told apart.
    hits = whole.argmax(1) == np.load(data)["y"]
    assert hits.mean() > 0.9


def test_a_run_without_a_class_has_none(tmp_path: Path) -> None:
    run = small(tmp_path)
    assert "class_probability" not in encode(run, samples=2)


def test_no_samples_leave_the_embedding_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small(tmp_path)
    whole = encode(run, samples=2, out=tmp_path / "whole.npz")
    capsys.readouterr()
    main([str(run.path), "--samples", "0"])
    told = said(capsys)
    assert "9 data encoded: loc, scale are in" in told
    assert "log p(x)" not in told
    with np.load(run.path / "embedding-test.npz") as alone:
        assert set(alone) == {"loc", "scale"}
        for name in alone:
            np.testing.assert_array_equal(alone[name], whole[name])


def test_the_figure_is_named_by_what_it_is() -> None:
    x, some = torch.randn(4, 3), torch.tensor([0, -1, 1, -1])
    none, floats = torch.full_like(some, -1), torch.randn(4, 2)
    semi = (
        SemiSupervisedVAE(StandardNormal(2), Gaussian((3,), variance=1.0), classes=2),
        SemiSupervised(2, (3,), classes=2),
    )
    for known in (some, some.clamp(min=0)):  # whatever batch the audit saw
        pair, facts, rows = subject(*semi, x, known, elbo=TraceEnum_ELBO)
        assert evidence_name(pair, facts, {"y": known}) == "log p(x, y)"
        assert evidence_name(pair, facts, {"y": none}) == "log p(x)"
        assert evidence_name(pair, facts, {}) == "log p(x)"
    # Of a label that is known the figure is the smaller one.
    pair, facts, rows = subject(*semi, x, none, elbo=TraceEnum_ELBO)
    alone = log_evidence(pair, facts, rows, samples=500).log_p
    pair, facts, rows = subject(*semi, x, some, elbo=TraceEnum_ELBO)
    joint = log_evidence(pair, facts, rows, samples=500).log_p
    assert bool((joint < alone - 0.1)[some >= 0].all())
    told = (
        ConditionalVAE(StandardNormal(2), Gaussian((3,), variance=1.0), classes=2),
        MeanField(2, (3,), classes=2),
    )
    for y in (some.clamp(min=0), floats):
        pair, facts, _ = subject(*told, x, y)
        assert evidence_name(pair, facts, {"y": y}) == "log p(x | y)"
    # A guide that reads y does not change what the model says.
    pair, facts, _ = subject(
        VAE(StandardNormal(2), Gaussian((3,), variance=1.0)), told[1], x, floats
    )
    assert evidence_name(pair, facts, {"y": floats}) == "log p(x)"


CASES: dict[str, dict[str, Any]] = {
    "log p(x)": {},
    "log p(x) ": {"labels": 20, **SEMI},  # all held-out labels are hidden then
    "log p(x, y)": SEMI,
    "log p(x | y)": {"model": "ConditionalVAE"},
}

TINY = Effort(
    evidence_rows=9,
    samples=20,
    trusted_rows=9,
    trusted_samples=20,
    annealed_rows=2,
    temperatures=4,
    chains=2,
)


@pytest.mark.parametrize("name", CASES)
def test_fit_encode_and_diagnose_say_which_figure_it_is(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.diagnostics.effort.QUICK", TINY)
    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    monkeypatch.setattr("ppvae.diagnostics.evidence.annealing.PILOT_WARM_UP", 2)
    monkeypatch.setattr("ppvae.diagnostics.evidence.annealing.PILOT_TEMPERATURES", 4)
    data, _ = clusters(tmp_path)
    run: Run = small(tmp_path, data=data, **CASES[name])
    others = {case.strip() for case in CASES} - {name.strip()}
    name = name.strip()
    assert f"{name}, K = 50" in said(capsys)
    main([str(run.path), "--samples", "5"])
    assert f"{name} is " in said(capsys)
    result = diagnose(run, quick=True, only=["evidence"])
    show(result)
    told = said(capsys)
    assert f"What is {name}?" in told
    assert f"{name} is " in told
    assert not any(other in told for other in others)
