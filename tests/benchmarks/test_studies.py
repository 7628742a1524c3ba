"""Studies of many fits, on toy data."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ppvae.diagnostics import compare_baselines
from ppvae.errors import InputError
from ppvae.run import load
from ppvae.settings import Settings
from ppvae.training.chosen_parts import chosen_parts
from tests.benchmarks import (
    cells,
    orderings,
    published,
    semi_supervised,
    starting_weights,
    tables_of_numbers,
)
from tests.benchmarks.kept import differences
from tests.benchmarks.worker_process import WorkerFailed
from tests.support.captures import by_graph
from tests.support.fits import quick
from tests.support.toy_mode import uncompiled

__all__ = ["by_graph", "quick", "uncompiled"]  # fixtures


@pytest.mark.slow
def test_orderings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppvae.distributions.moments.DRAWS", 2)
    x = np.random.default_rng(0).random((150, 4)) < 0.5
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    asked = (
        f"--data {tmp_path / 'x.npy'} --epochs 1 --warm-up 0 --hidden 4 4 --latent-dim 2 --seeds 0 "
        f"--precision 32 --samples 2 --out {tmp_path / 'runs'} --table {tmp_path / 'table.md'}"
    ).split()
    orderings.main(asked)
    table = (tmp_path / "table.md").read_text()
    assert all(title in table for title, _ in orderings.CASES.values())
    assert "nan" not in table
    assert "of all 15 test images" in table
    monkeypatch.setattr(orderings, "fit", None)  # nothing is fitted again
    orderings.main(asked)
    assert (tmp_path / "table.md").read_text() == table
    with pytest.raises(
        InputError, match=r"vae-0 holds a fit with other settings \(lr: 0.002, not 0.5"
    ):
        orderings.main([*asked, "--lr", "0.5"])


def test_semi_supervised(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (400, 4, 4), np.uint8)
    np.savez(tmp_path / "x.npz", x=images, y=np.arange(400) % 10)
    semi_supervised.main(
        f"--data {tmp_path / 'x.npz'} --epochs 2 --seeds 0 --hidden 4 --latent-dim 2 --steps 2 "
        "--batch-size 200 --labelled 100 --code-epochs 1 --code-hidden 4 --code-dim 2 "
        f"--out {tmp_path / 'runs'} --table {tmp_path / 'table.md'}".split()
    )
    table = (tmp_path / "table.md").read_text()
    assert all(title in table for title, _ in semi_supervised.CASES.values())
    assert "nan" not in table


def test_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each seed is fitted once and read afterwards; log p(x) is that of all test data."""
    monkeypatch.setattr(published, "PIECE", 10)
    x = np.random.default_rng(0).random((150, 4)) < 0.5
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    small = {"class_path": "MLP", "init_args": {"hidden": [4]}}
    settings = {
        "data": str(tmp_path / "x.npy"), "encoder": small, "decoder": small, "latent_dim": 2,
        "epochs": 1, "schedule": "none",
    }  # fmt: skip
    asked = (
        f"vae-400 --seeds 0 1 --samples 2 --out {tmp_path} --table {tmp_path / 'table.csv'}"
    ).split()
    published.main([*asked, "--settings", json.dumps(settings)])
    (row,) = published._read(tmp_path / "table.csv").values()
    pieces = [sorted(tmp_path.glob(f"vae-400-{seed}/log_p-2-*.pt")) for seed in (0, 1)]
    log_p = torch.stack([torch.cat([torch.load(one) for one in some]) for some in pieces])
    assert log_p.shape == (2, 15)
    assert row.ours == pytest.approx(float(log_p.mean()))
    assert row.seed_error == pytest.approx(float(log_p.mean(1).diff().abs()) / 2, rel=1e-4)
    assert row.difference == pytest.approx(row.ours - row.published)
    assert f"with {json.dumps(settings)}, " in row.made
    assert "| vae-400 |" in (tmp_path / "table.md").read_text()
    monkeypatch.setattr(published, "fit", None)  # nothing is fitted again
    monkeypatch.setattr(published, "log_evidence", None)
    published.main([*asked, "--settings", json.dumps(settings)])
    assert list(published._read(tmp_path / "table.csv").values()) == [row]
    # Other settings than those of the folder are refused, and not written there.
    kept = (tmp_path / "vae-400-0" / "published.json").read_text()
    with pytest.raises(InputError, match=r"vae-400-0 holds .* \(beta: 1.0, not 2.0\)"):
        published.main([*asked, "--settings", json.dumps(settings | {"beta": 2.0})])
    assert (tmp_path / "vae-400-0" / "published.json").read_text() == kept


def test_settings_differ_by_what_is_fitted_and_not_by_where_or_how_it_is_named() -> None:
    asked = {"data": "mnist", "recipe": "m2-100"}
    settings = Settings.of_arguments(**asked)
    network = {"hidden": [200], "activation": "silu", "shortcut": False}
    plain = {"class_path": "MLP", "init_args": network}
    parts = {
        "model": "SemiSupervisedVAE", "prior": "StandardNormal", "likelihood": "Bernoulli",
        "guide": {"class_path": "SemiSupervised", "init_args": {"alpha": 8.0, "hold": 900}},
    }  # fmt: skip
    named = {
        name: part if isinstance(part, dict) else {"class_path": part, "init_args": {}}
        for name, part in parts.items()
    }
    config = settings.recorded() | {"encoder": plain, "decoder": plain} | named
    config |= chosen_parts(settings).recorded()
    free = {"recipe": None, "device": "cpu", "threads": 1, "compile": "off", "data_dir": "/there"}
    assert differences(config | free, asked) == []
    (found,) = differences(config, {**asked, "guide": "SemiSupervised"})
    assert found.startswith("guide: ")
    assert differences(config | {"precision": "32"}, asked) == ["precision: 32, not auto"]


@pytest.mark.parametrize(
    "images",
    [{}, {"binarize": "none", "likelihood": "tests.benchmarks.grey_bernoulli.GreyBernoulli"}],
    ids=["binary", "grey"],
)
def test_accuracy_is_by_row(tmp_path: Path, images: dict[str, str]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (200, 4, 4), np.uint8)
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(200) % 2)
    small = {"class_path": "MLP", "init_args": {"hidden": [4]}}
    settings = images | {
        "data": str(tmp_path / "x.npz"), "labels": 20, "labelled": 2, "encoder": small,
        "decoder": small, "latent_dim": 2, "epochs": 1, "batch_size": 40, "precision": "32",
    }  # fmt: skip
    asked = f"m2-100 --seeds 0 --out {tmp_path} --table {tmp_path / 'table.csv'}".split()
    published.main([*asked, "--settings", json.dumps(settings)])
    (row,) = published._read(tmp_path / "table.csv").values()
    run = load(tmp_path / "m2-100-0", trust=["tests"])
    assert run.summary is not None
    told = run.summary["classification"]
    assert row.ours == pytest.approx(100 * told["accuracy"])
    right = published._is_right(run).double()
    assert len(right) == told["rows"] == 20
    assert 0 < right.mean() < 1
    assert not right.diff().le(0).all()  # in the order of the rows, not the right ones first
    assert row.data_error == pytest.approx(100 * float(right.std()) / 20**0.5)


def test_tables_of_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppvae.training.summary.compare_baselines", compare_baselines)
    tables_of_numbers.main(
        "--only penguins-like --latents 2 --seeds 0 --epochs 2 --rows 60 "
        f"--out {tmp_path / 'runs'} --table {tmp_path / 'table.md'}".split()
    )
    row = (tmp_path / "table.md").read_text().splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:3] == ["penguins-like", "342 x 4", "2"]
    ours, pca, difference = map(float, cells[3:])
    assert difference == pytest.approx(ours - pca, abs=0.011)


def test_starting_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each start has its own fits, which are read afterwards."""
    x = np.random.default_rng(0).random((150, 4)) < [0.1, 0.3, 0.8, 0.95]
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    asked = (
        f"--data {tmp_path / 'x.npy'} --hidden 4 4 --latent-dim 2 --epochs 2 --seeds 0 1 "
        f"--out {tmp_path / 'runs'} --table {tmp_path / 'table.md'}"
    ).split()
    starting_weights.main(asked)
    table = (tmp_path / "table.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[-4:]]
    assert [row[0] for row in rows] == [title for title, _ in starting_weights.CASES.values()]
    torchs, glorot, marginal, both = (float(row[1].split()[0]) for row in rows)
    assert marginal > torchs
    assert both > glorot
    monkeypatch.setattr(starting_weights, "fit", None)  # nothing is fitted again
    starting_weights.main(asked)
    assert (tmp_path / "table.md").read_text() == table


def test_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each method has its row. SCVI is not installed here; its input is checked."""
    asked = ["--cells", "90", "--genes", "12", "--epochs", "1", "--samples", "2"]
    table = tmp_path / "table.md"

    def run(command: list[str], **_: Any) -> Any:
        given, out = (Path(word) for word in command if word.endswith(".npz"))
        handed = np.load(given)
        assert handed["x"].shape == (90, 12)
        assert not set(handed["train"]) & set(handed["test"])
        np.savez(
            out, z=np.random.default_rng(0).normal(size=(90, 2)), log_p=np.linspace(-5, -3, 9),
            seconds=1.0, version="0",
        )  # fmt: skip
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(cells, "python_of", lambda _: ["python"])
    monkeypatch.setattr("tests.benchmarks.cells.subprocess.run", run)
    cells.main([*asked, "--table", str(table)])
    text = table.read_text()
    assert all(title in text for title in cells.CASES.values())
    assert "nan" not in text
    assert "| -4.00 +- 0.23 | 1.0 |" in text
    assert "scvi-tools 0" in text
    assert "minus that of the `ConditionalVAE`, paired by cell" in text

    def fail(_: Any) -> Any:
        raise WorkerFailed("needs uv on the PATH")

    monkeypatch.setattr(cells, "python_of", fail)
    cells.main([*asked, "--only", "scvi", "--table", str(table)])
    assert "not run: needs uv on the PATH" in table.read_text()
