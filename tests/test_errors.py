"""What a user can mend is one sentence: what was given, and the way out; and nothing is left."""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from fits import checkpoint, quick, small, small_flags, table

from ppvae import encode, fit, sample
from ppvae.cli import answer
from ppvae.errors import InputError
from ppvae.run import Run
from ppvae.svi import SVI

__all__ = ["quick"]  # a fixture, used by every test here

Main = Callable[[Sequence[str]], None]


def refusal(capsys: pytest.CaptureFixture[str], main: Main, argv: Sequence[str]) -> str:
    """The one sentence that the command leaves with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        answer(main, argv)
    lines = capsys.readouterr().err.splitlines()
    assert left.value.code == 2, lines
    sentences = [line for line in lines if not re.match(r"epoch \d", line)]
    assert len(sentences) == 1, lines
    assert sentences[0].startswith("error: ")
    assert "Traceback" not in sentences[0]
    return sentences[0]


BAD = {
    "choice, near": ("--prior StandardNorml", "StandardNorml", "StandardNormal", "import path"),
    "choice, far": ("--guide qqqq", "qqqq", "MeanField", "Delta"),
    "likelihood": ("--likelihood bernouli", "bernouli", "did you mean Bernoulli"),
    "flag": ("--latent-dims 3", "--latent-dims", "--latent-dim"),
    "stray word": ("mnist", "mnist"),
    "type": ("--epochs many", "--epochs", "many", "whole number"),
    "float type": ("--lr fast", "--lr", "fast", "number"),
    "own argument": ("--decoder.hiden 3", "--decoder.hiden", "hidden"),
    "own argument's type": ("--decoder.hidden wide", "wide", "--decoder.hidden"),
    "own argument's value": ("--encoder.activation rlu", "rlu", "relu"),
    "own argument without value": ("--decoder.hidden", "--decoder.hidden"),
    "given argument": ("--prior.latent_dim 3", "--prior.latent_dim", "; it is --latent-dim"),
    "given particles": (
        "--elbo.num_particles 3", "--elbo.num_particles", "is given it; it is --particles"
    ),
    "given lr": ("--optimizer.lr 3", "--optimizer.lr", "; it is --lr"),
    "data": ("--data nowhere.npy", "nowhere.npy"),
    "data name": ("--data mnits", "mnits", "mnist"),
    "label": ("--label kind", "label", "csv"),
    "warm-up": ("--warm-up 2", "2", "epochs"),
    "beta": ("--beta -1", "-1", "beta"),
    "beta nan": ("--beta nan", "nan", "beta"),
    "lr 0": ("--lr 0", "0", "lr"),
    "lr nan": ("--lr nan", "nan", "lr"),
    "latent-dim": ("--latent-dim 0", "latent_dim", "0", "at least 1"),
    "particles": ("--particles 0", "particles", "0", "at least 1"),
    "batch-size": ("--batch-size 0", "batch_size", "0", "at least 1"),
    "epochs": ("--epochs 0", "epochs", "0", "at least 1"),
    "patience": ("--patience 0", "patience", "0", "at least 1"),
    "clip": ("--clip 0", "clip", "0", "above 0"),
    "seed": ("--seed -1", "seed", "-1"),
    "devices": ("--devices 0", "devices", "0", "at least 1"),
    "device": ("--device tpu", "tpu", "cpu"),
    "precision": ("--precision 16", "16", "bf16-mixed"),
    "network": ("--decoder ConvDecoder", "ConvDecoder", "3"),
    "no module": ("--prior nowhere_to_be.Found", "nowhere_to_be", "install"),
    "no attribute": ("--prior ppvae.models.Standard", "Standard", "ppvae.models"),
    "attribute of a module": ("--prior math.pi", "math.pi", "class or a function"),
    "likelihood of grey": ("--likelihood Bernoulli", "Bernoulli", "Gaussian"),
    "LBFGS": ("--optimizer LBFGS", "LBFGS", "Adam"),
    "optimizer's value": ("--optimizer.eps -1", "-1", "eps"),
    "optimizer's argument": ("--optimizer SGD --optimizer.momentm 1", "momentm", "momentum"),
    "config": ("--config nowhere.yaml", "nowhere.yaml"),
    "model without a prior": (
        "--model fits.program --prior StandardNormal", "--prior", "leave it out"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_answered_in_a_sentence(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, *words = BAD[case]
    base = small_flags(tmp_path)
    if "ConvDecoder" in flags:
        base = [flag for flag in base if flag != "--decoder.hidden"]
        base.remove("16")
    sentence = refusal(capsys, fit.main, [*base, *flags.split()])
    for word in words:
        assert word in sentence
    assert not (tmp_path / "run").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["x.npy"]


def test_grey_pixels_under_a_bernoulli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (60, 5, 5), dtype=np.uint8)
    np.save(tmp_path / "grey.npy", grey)
    sentence = refusal(
        capsys,
        fit.main,
        ["--data", str(tmp_path / "grey.npy"), "--epochs", "1", "--out", str(tmp_path / "run")],
    )
    for way in ("--binarize", "ContinuousBernoulli", "Gaussian"):
        assert way in sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = refusal(capsys, fit.main, [*small_flags(tmp_path), "--device", "cuda"])
    assert "--device auto or cpu" in sentence
    assert not (tmp_path / "run").exists()


def test_what_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = small_flags(tmp_path)
    fit.main(flags)
    config = (tmp_path / "run" / "config.yaml").read_bytes()
    sentence = refusal(capsys, fit.main, [*flags, "--seed", "1"])
    assert "--resume" in sentence
    assert "--overwrite" in sentence
    assert (tmp_path / "run" / "config.yaml").read_bytes() == config

    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("years of work")
    sentence = refusal(capsys, fit.main, [*flags, "--out", str(other), "--overwrite"])
    assert "stays" in sentence
    assert (other / "chapter.txt").read_text() == "years of work"

    fit.main([*flags, "--seed", "1", "--overwrite"])
    assert Run(tmp_path / "run").config["seed"] == 1


def test_configs_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.yaml"
    for text, word in (
        ("latent_dims: 3\n", "latent_dims"),
        ("epochs: [1, 2\n", "c.yaml"),
        ("epochs: many\n", "many"),
        ("prior: {class: StandardNormal}\n", "class_path"),
        ("- 1\n- 2\n", ""),
    ):
        config.write_text(text)
        argv = ["--config", str(config), "--out", str(tmp_path / "run")]
        assert word in refusal(capsys, fit.main, argv)
        assert not (tmp_path / "run").exists()


def test_resume_of_what_cannot_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = tmp_path / "nothing"
    assert "nothing" in refusal(capsys, fit.main, ["--resume", str(nothing)])
    assert not nothing.exists()
    run = small(tmp_path)
    sentence = refusal(capsys, fit.main, ["--resume", str(run.path), "--lr", "1"])
    assert "--lr" in sentence
    assert "--config" in sentence
    assert "--epochs" in sentence
    sentence = refusal(capsys, fit.main, ["--resume", str(run.path), "--epochs", "0"])
    assert "epochs is 0" in sentence


def test_commands_on_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(small(tmp_path).path)
    np.save(tmp_path / "other.npy", table(columns=4))
    names = {p.name for p in tmp_path.rglob("*")}
    for main, argv, words in (
        (encode.main, ["--out", "codes.txt"], ("codes.txt", ".npz or .csv")),
        (encode.main, ["--data", str(tmp_path / "other.npy")], ("other.npy", "3")),
        (encode.main, ["--samples", "0"], ("samples is 0",)),
        (encode.main, ["--split", "trial"], ("trial", "train")),
        (encode.main, ["--checkpoint", "step-999"], ("step-999", "last")),
        (encode.main, ["--label", "kind"], ("--label kind", "--data")),
        (sample.main, ["--count", "0"], ("count is 0", "at least 1")),
        (sample.main, ["--steps", "1"], ("steps is 1", "at least 2")),
        (sample.main, ["--cuont", "3"], ("--cuont", "--count")),
    ):
        sentence = refusal(capsys, main, [run, *argv])
        for word in words:
            assert word in sentence
    assert {p.name for p in tmp_path.rglob("*")} == names
    assert "nowhere" in refusal(capsys, encode.main, [str(tmp_path / "nowhere")])


@pytest.mark.parametrize("batch", ["32", "1000"], ids=["within an epoch", "in its last step"])
@pytest.mark.parametrize("lr", ["1e10", "1e37"])
def test_weights_that_diverge_keep_the_last_good_checkpoint(
    batch: str, lr: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*small_flags(tmp_path), "--optimizer", "SGD", "--lr", lr, "--epochs", "9"]
    sentence = refusal(capsys, fit.main, [*flags, "--batch-size", batch])
    assert "no longer finite" in sentence
    assert "smaller lr" in sentence
    held = checkpoint(tmp_path / "run")["weights"]
    assert all(bool(value.isfinite().all()) for value in held.values())
    assert all(math.isfinite(row["objective"]) for row in Run(tmp_path / "run").metrics())
    assert not (tmp_path / "run" / "summary.json").exists()
    assert not (tmp_path / "run" / "figures").exists()


def test_a_state_of_weights_that_are_no_numbers_is_never_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal in the very step that diverged would have it written as the last checkpoint."""

    def spoil(loop: SVI, *_: object) -> bool:
        with torch.no_grad():
            next(loop.bound.parameters()).fill_(torch.nan)
        return False

    monkeypatch.setattr(SVI, "_epoch", spoil)
    monkeypatch.setattr(SVI, "is_done", False)
    with pytest.raises(InputError, match="no longer finite"):
        small(tmp_path)
    held = checkpoint(tmp_path / "run")["weights"]
    assert all(bool(value.isfinite().all()) for value in held.values())
