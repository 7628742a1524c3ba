"""Files of `encode` for programs that take y, and the name of the figure in all commands."""

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from pyro.infer import TraceEnum_ELBO

from ppvae.diagnose import diagnose, show_answers, show_verdict
from ppvae.diagnostics import log_evidence, subject
from ppvae.diagnostics.effort import Effort
from ppvae.diagnostics.evidence.importance_sampling import evidence_name
from ppvae.encode import encode, main
from ppvae.errors import InputError
from ppvae.guides import MeanField, SemiSupervised
from ppvae.models import VAE, ConditionalVAE, Gaussian, SemiSupervisedVAE, StandardNormal
from ppvae.programs.classification import classify
from ppvae.run import Run
from tests.support.fits import quick, small
from tests.support.slow import few

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


@pytest.mark.slow
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
    # Labels are ignored: the same data, some of them labelled, have the same results.
    blank = tmp_path / "blank.npz"
    np.savez(blank, x=np.load(data)["x"])
    whole = encode(run, data, out=tmp_path / "with.npz")["class_probability"]
    without = encode(run, blank, out=tmp_path / "without.csv")["class_probability"]
    np.testing.assert_allclose(whole, without, rtol=1e-5)
    table = np.genfromtxt(tmp_path / "without.csv", delimiter=",", names=True)
    np.testing.assert_allclose(table["class_probability_1"], without[:, 1], rtol=1e-5)
    # The clusters are classified.
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
    main([str(run.path), "--samples", "0", "--out", str(tmp_path / "codes.csv")])
    assert "9 data encoded: loc_0, loc_1, scale_0, scale_1 are in" in said(capsys)
    main([str(run.path), "--samples", "0"])
    told = said(capsys)
    assert "9 data encoded: loc, scale are in" in told
    assert "log p(x)" not in told
    with np.load(run.path / "embedding-test.npz") as alone:
        assert set(alone) == {"loc", "scale", "row", "split"}
        for name in ("loc", "scale", "row"):
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
    # With a known label the figure is smaller.
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
    # A guide that reads y does not change the model.
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


@pytest.mark.parametrize("name", few(CASES, 2))
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
    show_answers(result.data, result.rows)(result.answers["evidence"])
    show_verdict(result)
    told = said(capsys)
    assert f"What is {name}?" in told
    assert f"{name} is " in told
    assert not any(other in told for other in others)


def named_table(folder: Path) -> pd.DataFrame:
    """A table with names of its rows and a label, as a file too."""
    data, x = clusters(folder)
    frame = pd.DataFrame(x, columns=["left", "right"])
    frame.insert(0, "id", [f"row-{number}" for number in range(len(x))])
    frame["kind"] = np.where(np.load(data)["y"] == 1, "wet", "dry")
    frame.to_csv(folder / "kinds.csv", index=False)
    return frame


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_has_a_row_for_each_row_of_the_file(tmp_path: Path, suffix: str) -> None:
    frame = named_table(tmp_path)
    run = small(tmp_path, data=tmp_path / "kinds.csv", index="id", label="kind", epochs=1)
    file = tmp_path / f"codes.{suffix}"
    found = encode(run, split="all", samples=5, out=file)
    table = pd.read_csv(file) if suffix == "csv" else pd.read_parquet(file).reset_index()
    assert list(table["name"]) == list(frame["id"])
    assert list(table["label"]) == list(frame["kind"])
    parts = table["split"].value_counts()
    assert dict(parts) == run.resolved["data"]["rows"]
    np.testing.assert_allclose(table[["loc_0", "loc_1"]], found["loc"], rtol=1e-6)
    for name in ("log_p", "log_p_error"):
        np.testing.assert_allclose(table[name], found[name], rtol=1e-6)
    # Each row is that of the file, by its codes.
    alone = run.encode(frame, samples=0)
    np.testing.assert_allclose(table[["loc_0", "loc_1"]], alone[["loc_0", "loc_1"]], rtol=1e-4)
    test = encode(run, samples=5, out=tmp_path / "test.npz")
    np.testing.assert_array_equal(found["log_p"][test["row"]], test["log_p"])
    with np.load(tmp_path / "test.npz") as kept:
        assert list(kept["label"]) == list(frame["kind"][test["row"]])


@pytest.mark.slow
def test_codes_go_into_the_annotated_data_that_they_came_from(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    counts = generator.poisson(3.0, size=(60, 4)).astype(np.float32)
    cells = anndata.AnnData(counts, obs=pd.DataFrame(index=[f"cell-{i}" for i in range(60)]))
    cells.write_h5ad(tmp_path / "cells.h5ad")
    run = small(tmp_path, data=tmp_path / "cells.h5ad", likelihood="NegativeBinomial", epochs=1)
    found = encode(run, split="all", samples=3, out=tmp_path / "whole.h5ad")
    whole = anndata.read_h5ad(tmp_path / "whole.h5ad")
    np.testing.assert_array_equal(whole.obsm["X_ppvae"], found["loc"])
    np.testing.assert_allclose(whole.obs["ppvae_log_p"], found["log_p"])
    np.testing.assert_array_equal(whole.X, counts)
    assert list(whole.obs_names) == list(cells.obs_names)
    assert set(whole.obs["ppvae_split"]) == {"train", "valid", "test"}
    test = encode(run, samples=3, out=tmp_path / "test.h5ad")
    part = anndata.read_h5ad(tmp_path / "test.h5ad")
    known = np.isfinite(part.obs["ppvae_log_p"])
    assert set(np.flatnonzero(known)) == set(test["row"])
    codes = run.encode(cells, samples=0)
    assert list(codes.index) == list(cells.obs_names)
    np.testing.assert_allclose(codes.filter(like="loc_"), found["loc"], rtol=1e-4)
    other = small(tmp_path, "table", epochs=1)
    with pytest.raises(InputError, match=r"give a \.csv or \.parquet"):
        encode(other, out=tmp_path / "no.h5ad")
