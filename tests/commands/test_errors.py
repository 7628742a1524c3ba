"""Errors of users are one sentence with the value and the way out, and leave no files."""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from ppvae import fit
from ppvae.cli.answering import answer
from ppvae.errors import InputError
from ppvae.run import Run
from ppvae.training.trainer import Trainer
from tests.support.fits import checkpoint, quick, small, small_flags

__all__ = ["quick"]  # a fixture, used by every test here

Main = Callable[[Sequence[str]], None]


def refusal(capsys: pytest.CaptureFixture[str], main: Main, argv: Sequence[str]) -> str:
    """The error message of the command."""
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


# The way out in each sentence. `test_bad_inputs.py` tests that every bad input has one.
WAYS_OUT = {
    "choice, near": ("--prior StandardNorml", "StandardNormal", "import path"),
    "choice, far": ("--guide qqqq", "MeanField", "Delta"),
    "likelihood": ("--likelihood bernouli", "did you mean Bernoulli"),
    "type": ("--epochs many", "whole number"),
    "float type": ("--lr fast", "number"),
    "given argument": ("--prior.latent_dim 3", "; it is --latent-dim"),
    "given particles": ("--elbo.num_particles 3", "is given it; it is --particles"),
    "given lr": ("--optimizer.lr 3", "; it is --lr"),
    "data name": ("--data mnits", "mnist"),
    "label": ("--label kind", "csv"),
    "particles": ("--particles 0", "at least 1"),
    "clip": ("--clip 0", "above 0"),
    "device": ("--device tpu", "cpu"),
    "precision": ("--precision 16", "bf16-mixed"),
    "no module": ("--prior nowhere_to_be.Found", "install"),
    "attribute of a module": ("--prior math.pi", "class or a function"),
    "likelihood of grey": ("--likelihood Bernoulli", "Gaussian"),
    "LBFGS": ("--optimizer LBFGS", "Adam"),
    "range": ("--optimizer.eps -1", "0 or more"),
    "schedule": ("--schedule StepLR --schedule.step_size 0", "at least 1"),
    "model without a prior": (
        "--model tests.support.fits.program --prior StandardNormal", "leave it out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WAYS_OUT)
def test_a_mistake_is_answered_with_a_way_out(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, *words = WAYS_OUT[case]
    sentence = refusal(capsys, fit.main, [*small_flags(tmp_path), *flags.split()])
    for word in words:
        assert word in sentence


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
    assert all(math.isfinite(row["objective"]) for row in Run(tmp_path / "run").history())
    assert not (tmp_path / "run" / "summary.json").exists()
    assert not (tmp_path / "run" / "figures").exists()


def test_a_state_of_weights_that_are_no_numbers_is_never_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal in the step that diverges must not write its weights as the last checkpoint."""

    def spoil(loop: Trainer, *_: object) -> bool:
        with torch.no_grad():
            next(loop.bound.parameters()).fill_(torch.nan)
        return False

    monkeypatch.setattr(Trainer, "_epoch", spoil)
    monkeypatch.setattr(Trainer, "is_done", False)
    with pytest.raises(InputError, match="no longer finite"):
        small(tmp_path)
    held = checkpoint(tmp_path / "run")["weights"]
    assert all(bool(value.isfinite().all()) for value in held.values())
