"""``ppvae.sample --aggregate``: draws from a density fitted to codes of the training data."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ppvae.data import load
from ppvae.diagnostics.bound.aggregate_prior import aggregate_prior, held_out_gain
from ppvae.errors import InputError
from ppvae.fit import resume
from ppvae.run import Run
from ppvae.sample import main, sample
from tests.support.fits import quick, small
from tests.support.refusals import refusal
from tests.support.slow import few

__all__ = ["quick"]  # fixtures

# The command

NET: dict[str, Any] = {"class_path": "MLP", "init_args": {"hidden": [64]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def run(folder: Path, quick: None) -> Run:
    """A short fit of an autoencoder to the digits; one for all tests."""
    if not (folder / "run").exists():
        small(
            folder, data="digits", likelihood=None, guide="Delta", beta=0.0, encoder=NET,
            decoder=NET, latent_dim=10, epochs=16, batch_size=64, lr=5e-3, evaluate_every=16,
        )  # fmt: skip
    return Run(folder / "run")


@pytest.mark.slow
def test_draws_of_an_autoencoder_are_digits_where_the_codes_are_and_not_where_the_prior_is(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    main([str(run.path), "--aggregate", "--count", "180", "--out", str(tmp_path)])
    names = ["samples-aggregate.npz", "samples-aggregate.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    with Image.open(tmp_path / "samples-aggregate.png") as image:
        image.verify()
    with np.load(tmp_path / "samples-aggregate.npz") as file:
        found = dict(file)
    assert {name: array.shape for name, array in found.items()} == {
        "samples_mean": (180, 1, 8, 8), "samples": (180, 1, 8, 8), "gain": (), "gain_error": (),
    }  # fmt: skip
    assert set(np.unique(found["samples"])) == {0, 1}
    said = " ".join(capsys.readouterr().out.split())
    assert f"180 draws are in {tmp_path}: samples-aggregate.png, samples-aggregate.npz" in said
    assert f"is {found['gain']:,.2f} nats above the model's prior (standard error" in said
    assert found["gain"] > 10 * found["gain_error"] > 0

    prior = sample(run, count=180, out=tmp_path / "prior")["samples_mean"]
    digits = load("digits").test  # grey, and not what was learned from
    real = digits.take(torch.arange(len(digits)))["x"].numpy() / 16
    ours, theirs = (nearest(draws, real) for draws in (found["samples_mean"], prior))
    assert ours.distance < 0.95 * theirs.distance
    assert ours.coverage > theirs.coverage + 0.2


class Nearest:
    """Distance of draws to data, and share of data with a draw nearer than their 5th neighbour."""

    def __init__(self, distance: float, coverage: float) -> None:
        self.distance, self.coverage = distance, coverage


def nearest(draws: NDArray[Any], real: NDArray[Any]) -> Nearest:
    """Distance to the nearest datum, and coverage (Naeem et al., 2020)."""
    a, b = (torch.from_numpy(x).flatten(1).double() for x in (draws, real))
    radius = torch.cdist(b, b).kthvalue(6, 1).values  # itself is the first
    apart = torch.cdist(a, b)
    near = (apart.amin(0) < radius).double()
    return Nearest(float(apart.amin(1).mean()), float(near.mean()))


@pytest.mark.slow
def test_equal_seeds_draw_alike_and_a_file_is_not_overwritten(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    _ = run.audit  # of programs made with initial weights, which are drawn
    state = torch.get_rng_state()
    some: dict[str, Any] = {"aggregate": True, "count": 9, "components": 2}
    one, two = (sample(run, out=tmp_path / name, **some) for name in ("one", "two"))
    assert torch.equal(state, torch.get_rng_state())
    assert all(np.array_equal(one[name], two[name]) for name in one)
    other = sample(run, out=tmp_path / "three", seed=1, **some)
    assert not np.array_equal(one["samples_mean"], other["samples_mean"])
    # Judged by data that the density was not fitted to, nor the pair.
    data = run.data()
    r = aggregate_prior(run.pair, run.audit, data.train, components=2)
    gain = held_out_gain(r, run.pair, run.audit, data.test)
    assert (one["gain"], one["gain_error"]) == (gain.mean, gain.standard_error)
    with pytest.raises(
        InputError, match=r"samples-aggregate.npz exists already; .*`overwrite=True`"
    ):
        sample(run, out=tmp_path / "one", **some)
    # Draws from the prior have a file of their own.
    sample(run, out=tmp_path / "one", count=9)


def test_what_cannot_be_asked_is_told_before_a_file_that_exists(run: Run, tmp_path: Path) -> None:
    (tmp_path / "samples.npz").touch()
    with pytest.raises(InputError, match="not conditional on anything"):
        sample(run, given="3", out=tmp_path)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    few(
        [
            (["--components", "0"], "--components is 0; it must be at least 1"),
            (
                ["--components", "1438"],
                "components is 1438, and there are 1437 data: a mixture needs",
            ),
            (["--impute"], "--aggregate is for draws of new data"),
            (["--given", "3"], "--given 3: the model is not conditional on anything"),
            (["--count", "0"], "count is 0; it must be at least 1"),
        ],
        2,
    ),
)
def test_a_mistake_is_a_sentence_and_leaves_nothing(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], sentence: str
) -> None:
    capsys.readouterr()
    out = tmp_path / "out"
    assert sentence in refusal(main, capsys, run.path, "--aggregate", *argv, "--out", out)
    assert list(tmp_path.iterdir()) == []


def test_a_density_that_knows_its_codes_by_heart_is_told_as_such(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ppvae.diagnostics.shared.estimate import Estimate

    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    monkeypatch.setattr(
        "ppvae.diagnostics.bound.aggregate_prior.held_out_gain",
        lambda *_, **__: Estimate(-2.5, 0.5),
    )
    main([str(run.path), "--aggregate", "--components", "1", "--out", str(tmp_path)])
    said = " ".join(capsys.readouterr().out.split())
    assert "2.50 nats below the model's prior (standard error 0.50), which is better" in said


def test_data_that_are_gone_are_told_of_and_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quick: None
) -> None:
    run = small(tmp_path, epochs=1)
    (tmp_path / "x.npy").rename(tmp_path / "y.npy")
    capsys.readouterr()
    said = refusal(main, capsys, run.path, "--aggregate")
    assert said.endswith("x.npy, are not here: put them back\n")  # other data would not help
    with pytest.raises(InputError, match=r"put them back, or resume .*: resume\(run, data=PATH\)$"):
        resume(run.path, epochs=2)
    resume(run.path, epochs=2, data=tmp_path / "y.npy")
    from_python = small(tmp_path, out="python", data=load(tmp_path / "y.npy"), epochs=1)
    capsys.readouterr()
    rows = from_python.path, "--aggregate", "--data", tmp_path / "y.npy"
    assert (
        "passed in Python: give them there to ppvae.diagnostics.bound.aggregate_prior"
        in refusal(main, capsys, *rows)
    )


@pytest.mark.slow
@pytest.mark.parametrize("latent", few([True, False], 2))
def test_with_a_condition_draws_are_of_the_class_that_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None, latent: bool
) -> None:
    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    kinds = np.array(["dog", "cat"] * 45)
    x = np.random.default_rng(0).normal(size=(90, 2)) + np.where(kinds == "dog", 5, -5)[:, None]
    np.savez(tmp_path / "kinds.npz", x=x.astype(np.float32), y=kinds)
    parts: dict[str, Any] = {"model": "ConditionalVAE"}
    if latent:
        parts = {"model": "SemiSupervisedVAE", "guide": "SemiSupervised", "elbo": "TraceEnum_ELBO"}
    run = small(tmp_path, data=tmp_path / "kinds.npz", epochs=15, lr=3e-2, **parts)
    some: dict[str, Any] = {"aggregate": True, "components": 2, "count": 40}
    means = {
        given: sample(run, given=given, out=tmp_path / given, **some)["samples_mean"].mean(-1)
        for given in ("dog", "cat")
    }
    assert means["dog"].min() > 0.5  # a table is standardized
    assert means["cat"].max() < -0.5
