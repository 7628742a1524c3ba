"""Fits: their files, their reproducibility, and the effect of each setting."""

import importlib
import json
import math
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
import yaml

import ppvae
from ppvae.cli.epoch_bar import in_words
from ppvae.fit import main
from ppvae.run import COLUMNS, Run
from ppvae.training.evaluation import Figures
from tests.support.fits import (
    SMALL,
    checkpoint,
    differences,
    figures,
    quick,
    small,
    small_flags,
    weights,
)

__all__ = ["quick"]  # a fixture, used by every test here


# Files of a fit


def test_a_fit_of_the_digits_leaves_the_run_directory_of_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # pictures too
    out = tmp_path / "run"
    main(["--decoder.hidden", "16", "--encoder.hidden", "16", "--epochs", "2", "--out", str(out)])
    config = yaml.safe_load((out / "config.yaml").read_text())
    asked = {
        "data", "data_dir", "label", "binarize", "model", "prior", "likelihood", "guide", "encoder",
        "decoder", "elbo", "particles", "latent_dim", "beta", "warm_up", "epochs", "patience",
        "batch_size", "optimizer", "lr", "clip", "seed", "device", "devices", "precision",
        "tensorboard", "run",
    }  # fmt: skip
    assert asked <= config.keys()
    assert config["binarize"] == "dynamic"
    assert config["likelihood"]["class_path"] == "Bernoulli"
    assert config["decoder"]["init_args"]["hidden"] == [16]
    assert config["run"]["format"] == 6
    assert {"torch", "pyro-ppl", "ppvae", "python"} <= config["run"]["versions"].keys()
    assert config["run"]["device"]

    header, *lines = (out / "metrics.csv").read_text().splitlines()
    assert header == ",".join(COLUMNS)
    assert len(lines) == 4
    rows = Run(out).history()
    assert [(r["epoch"], r["split"]) for r in rows] == [
        (1, "train"), (1, "valid"), (2, "train"), (2, "valid")
    ]  # fmt: skip
    for row in rows:
        assert row["elbo"] == pytest.approx(row["reconstruction"] - row["kl"], rel=1e-6)
    assert rows[3]["elbo"] > rows[1]["elbo"]

    summary = json.loads((out / "summary.json").read_text())
    assert summary["split"] == "test"
    assert summary["elbo"] == pytest.approx(summary["reconstruction"] - summary["kl"])
    assert summary["log_p"]["mean"] >= summary["elbo"]
    for name in ("last", "best"):
        step = (out / "checkpoints" / name).read_text().strip()
        held = {file.name for file in (out / "checkpoints" / step).iterdir()}
        assert held == {
        "tensors.safetensors", "tree.json", "history.json", "SHA256SUMS"
    }  # fmt: skip
    drawn = {file.stem for file in (out / "figures").glob("*.png")}
    assert {"elbo", "reconstructions", "samples", "latent"} <= drawn
    assert not list(out.rglob(".*"))


def test_load_gives_programs_that_generate(tmp_path: Path) -> None:
    small(tmp_path)
    run = ppvae.load(tmp_path / "run")
    assert run.config["latent_dim"] == 2
    with torch.no_grad():
        x = pyro.poutine.uncondition(run.model)(torch.empty(500, 3))
        z = run.guide(run.data().test.take(torch.arange(4))["x"])
    assert x.shape == (500, 3)
    assert x.std(0).min() > 0.5  # draws, and not means
    assert z.shape == (4, 2)
    fitted = weights(tmp_path / "run", "best")
    assert not differences(dict(run.pair.state_dict()), fitted)


def test_tensorboard_events(tmp_path: Path) -> None:
    reader = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    run = small(tmp_path, tensorboard=True)
    events: Any = reader.EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    told = [(e.step, e.value) for e in events.Scalars("elbo/valid")]
    rows = [row for row in run.history() if row["split"] == "valid"]
    assert told == [(row["step"], pytest.approx(row["elbo"], rel=1e-5)) for row in rows]


# Reproducibility


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    for out, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.rand(5)  # the random state before does not matter
        small(tmp_path, out, seed=seed)
    assert not differences(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert figures(tmp_path / "a") == figures(tmp_path / "b")
    assert differences(weights(tmp_path / "a"), weights(tmp_path / "c"))
    assert figures(tmp_path / "a") != figures(tmp_path / "c")


def test_the_config_of_a_run_gives_the_run_again(tmp_path: Path) -> None:
    flags = small_flags(tmp_path, "a")
    main([*flags, "--beta", "0.5", "--lr", "0.01", "--optimizer", "RMSprop", "--clip", "5"])
    config = tmp_path / "a" / "config.yaml"
    main(["--config", str(config), "--out", str(tmp_path / "b")])
    assert not differences(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert figures(tmp_path / "a") == figures(tmp_path / "b")
    written = [yaml.safe_load((tmp_path / n / "config.yaml").read_text()) for n in "ab"]
    began, _ = ([each["run"].pop(what) for each in written] for what in ("began", "digest"))
    assert written[0] == written[1]
    assert began[0] <= began[1]
    main(["--config", str(config), "--out", str(tmp_path / "c"), "--seed", "1"])
    assert figures(tmp_path / "a") != figures(tmp_path / "c")


def test_a_command_is_the_call(tmp_path: Path) -> None:
    main(small_flags(tmp_path, "a"))
    small(tmp_path, "b")
    assert not differences(weights(tmp_path / "a"), weights(tmp_path / "b"))


# The loop


def test_every_datum_counts_once_in_an_epoch(tmp_path: Path) -> None:
    """At a learning rate of nearly 0, the figures of ragged batches are those of the whole."""
    quiet = {"lr": 1e-30, "epochs": 1, "optimizer": "SGD", "guide": "Delta", "beta": 0.0}
    for out, size in (("ragged", 32), ("whole", 72), ("ones", 71)):
        small(tmp_path, out, batch_size=size, **quiet)
    ragged, whole, ones = (figures(tmp_path / out)[0] for out in ("ragged", "whole", "ones"))
    assert (ragged["step"], whole["step"], ones["step"]) == (3, 1, 2)
    assert ragged["reconstruction"] == pytest.approx(whole["reconstruction"], rel=1e-6)
    assert ones["reconstruction"] == pytest.approx(whole["reconstruction"], rel=1e-6)


def test_evaluation_moves_no_weights(tmp_path: Path) -> None:
    """The last checkpoint is written before the final results; the run has the same weights."""
    run = small(tmp_path, optimizer={"class_path": "SGD", "init_args": {"momentum": 0.9}}, epochs=1)
    held = checkpoint(run.path)
    assert held["progress"]["step"] == 3
    assert not differences(dict(run.pair.state_dict()), held["weights"])
    # Training has changed the weights, so that equality is meaningful.
    longer = small(tmp_path, "longer", epochs=2)
    assert differences(weights(longer.path), held["weights"])


def test_best_and_patience_begin_after_the_warm_up(tmp_path: Path) -> None:
    """With a harmful learning rate the first epoch at full beta is best, and ends the fit."""
    run = small(tmp_path, warm_up=3, epochs=9, patience=1, lr=0.5, optimizer="SGD")
    rows = [row for row in run.history() if row["split"] == "valid"]
    assert rows[-1]["epoch"] >= 5  # 3 of warm-up, one that is best, one that is not
    late = [row for row in rows if row["epoch"] > 3]
    best = max(late, key=lambda row: row["objective"])
    assert run.summary is not None
    assert run.summary["best_epoch"] == best["epoch"] > 3
    assert (run.path / "checkpoints" / "best").read_text().strip() == f"step-{best['step']}"
    for row in late[1:-1]:
        assert row["objective"] > max(r["objective"] for r in late if r["epoch"] < row["epoch"])
    betas = [row["beta"] for row in rows]
    assert betas[:3] == sorted(betas[:3])
    assert betas[0] < betas[2] < 1.0
    assert betas[3:] == [1.0] * (len(rows) - 3)


def test_patience_stops(tmp_path: Path) -> None:
    run = small(tmp_path, epochs=30, patience=2, lr=1e-30, optimizer="SGD")
    assert run.history()[-1]["epoch"] == 3  # the first is best, and two are not better
    assert run.summary is not None
    assert run.summary["best_epoch"] == 1


def test_beta_weighs_the_kl_and_elbo_is_reported_at_one(tmp_path: Path) -> None:
    run = small(tmp_path, beta=0.25)
    for row in run.history():
        assert row["objective"] == pytest.approx(row["reconstruction"] - 0.25 * row["kl"])
        assert row["elbo"] == pytest.approx(row["reconstruction"] - row["kl"])


NOTES = {
    "one draw": (
        "ImportanceWeightedELBO", {}, 1,
        "note: with one draw ImportanceWeightedELBO is the evidence lower bound; give "
        "`particles=5`",
    ),
    "one draw of a negative order": (
        "RenyiELBO", {"alpha": -1.0}, 1,
        "note: with one draw RenyiELBO is the evidence lower bound; give `particles=5`",
    ),
    "several": ("DoublyReparameterizedELBO", {}, 2, ""),
    "several of an order above 0": ("RenyiELBO", {"alpha": 2.0}, 2, ""),
    "several of a negative order": (
        "RenyiELBO", {"alpha": -1.0}, 2,
        "note: with these arguments RenyiELBO is no lower bound on log p(x); the reported "
        "elbo is the importance-weighted bound of the same draws",
    ),
    "no weights": ("TraceMeanField_ELBO", {}, 1, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", NOTES)
def test_a_bound_that_is_not_what_its_name_says_is_told_before_the_first_step(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, own, particles, note = NOTES[case]
    elbo = {"class_path": name, "init_args": own}
    small(tmp_path, elbo=elbo, particles=particles, epochs=1)
    before, _ = " ".join(capsys.readouterr().out.split()).split("; writing to")
    assert note in before
    assert ("note:" in before) is bool(note)


def test_a_point_mass_has_no_bound(tmp_path: Path) -> None:
    run = small(tmp_path, guide="Delta", beta=0.0)
    with (run.path / "metrics.csv").open() as file:
        header, *rows = (line.strip().split(",") for line in file)
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        assert cells["elbo"] == cells["kl"] == ""
        assert cells["objective"] == cells["reconstruction"] != ""
    assert run.summary is not None
    assert run.summary["elbo"] is None
    assert run.summary["kl"] is None
    assert run.summary["log_p"] is None
    assert math.isfinite(run.summary["reconstruction"])


def test_networks_of_the_call_are_those_of_the_config(tmp_path: Path) -> None:
    run = small(tmp_path, decoder=SMALL, encoder={"class_path": "MLP", "init_args": {"hidden": []}})
    assert run.config["encoder"]["init_args"]["hidden"] == []
    assert run.config["decoder"]["init_args"]["hidden"] == [16]


# Help


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    told = capsys.readouterr().out
    flags = """--data --data-dir --label --binarize --model --prior --likelihood --guide --encoder
        --decoder --elbo --particles --latent-dim --beta --warm-up --epochs --patience --batch-size
        --optimizer --lr --clip --seed --device --devices --precision --tensorboard --out
        --overwrite --resume --trust --config"""
    words = {word.strip("[],") for word in told.split()}
    assert not set(flags.split()) - words
    assert "SUPPRESS" not in told
    for name in ("VAE", "StandardNormal", "Bernoulli", "MeanField", "TraceMeanField_ELBO", "Adam"):
        assert name in told


@pytest.mark.parametrize(
    ("elbo", "said"),
    [
        (-3.0, "elbo -3.00 = -1.00 - 2.00 kl"),
        (-2.5, "elbo -2.50 (reconstruction -1.00, kl 2.00)"),
        (None, "reconstruction -1.00 (no bound)"),
    ],
)
def test_a_bound_is_told_as_a_difference_where_it_is_one(elbo: float | None, said: str) -> None:
    assert in_words(Figures(elbo, -1.0, 2.0, -3.0)) == said
