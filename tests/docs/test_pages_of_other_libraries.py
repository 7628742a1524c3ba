"""Pages that call other libraries, run with these if they are installed, else with stubs."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ppvae import fit
from ppvae.run import Run
from tests.docs.test_snippets import SWEEP, TRACKERS, folder, run_blocks
from tests.support import absent
from tests.support.fits import quick, table_file

__all__ = ["folder", "quick"]  # fixtures, the latter used by every test here


@pytest.mark.slow
def test_adapters_of_trackers_tell_what_the_run_keeps(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stubs even of installed libraries, if these need an account or a server."""
    mlflow: list[tuple[str, Any]] = []
    wandb: list[tuple[str, Any]] = []
    monkeypatch.setitem(sys.modules, "mlflow", absent.mlflow(mlflow))
    monkeypatch.setitem(sys.modules, "wandb", absent.wandb(wandb))
    run_blocks(TRACKERS, folder)
    for told, name in ((mlflow, "mlflow"), (wandb, "wandb")):
        run = Run(folder / "runs" / name)
        (valid,) = [row for row in run.history() if row["split"] == "valid"]
        summary = run.summary
        assert summary is not None
        first, last = [what for kind, what in told if kind == "metrics"]
        assert first[0] == last[0] == summary["steps"]
        assert first[1]["elbo/valid"] == valid["elbo"]
        assert last[1]["elbo/test"] == summary["elbo"]
        assert ("elbo/train" in first[1]) == (name == "mlflow")
    assert [kind for kind, _ in mlflow] == ["metrics", "metrics", "params", "artifacts", "ended"]
    assert wandb[-1][0] == "config"


@pytest.mark.slow
def test_a_sweep_ends_in_a_comparison(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if absent.is_absent("optuna"):
        monkeypatch.setitem(sys.modules, "optuna", absent.optuna())
    short, settings = fit.fit, {"data": table_file(folder), "likelihood": "Gaussian"}
    monkeypatch.setattr(fit, "fit", lambda **given: short(**settings | given))
    run_blocks(SWEEP, folder)
    record = json.loads((folder / "runs" / "sweep" / "compared" / "comparison.json").read_text())
    assert [len(row["runs"]) for row in record["compared"]] == [2, 2]
    assert {"latent_dim", "lr"} <= set(record["compared"][0]["settings"])
