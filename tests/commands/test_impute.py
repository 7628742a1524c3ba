"""`sample --impute`: the completed data, their file, and refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ppvae.errors import InputError
from ppvae.run import Run
from ppvae.sample import main, sample
from tests.support.fits import quick, small
from tests.support.missing import SIGMAS
from tests.support.refusals import refusal

__all__ = ["quick"]  # a fixture: no pictures


Array = NDArray[Any]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the pixels of scikit-learn's digits, training and held out, and all pixels."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    x = load_digits().images[:, None] / 16
    mask = np.random.default_rng(0).random(x.shape) < 0.5
    holed = np.where(mask, x, np.nan)
    np.savez(folder / "learn.npz", x=holed[:1400], mask=mask[:1400])
    np.savez(folder / "held.npz", x=holed[1400:], mask=mask[1400:])
    np.savez(folder / "nowhere.npz", x=holed[1400:1420], mask=np.zeros_like(mask[1400:1420]))
    np.savez(folder / "narrow.npz", x=holed[1400:, :, :4], mask=mask[1400:, :, :4])
    np.save(folder / "truth.npy", x[1400:])
    np.save(folder / "nan.npy", holed[1400:])
    return folder


@pytest.fixture
def run(digits: Path, quick: None) -> Run:
    """A short fit to these digits, for all tests."""
    if not (digits / "run").exists():
        small(
            digits, data=digits / "learn.npz", likelihood=None, decoder=None, encoder=None,
            model="LinearGaussian", guide="ExactPosterior", elbo="Trace_ELBO", latent_dim=15,
            epochs=12, batch_size=64, lr=2e-2, schedule="CosineAnnealingLR",
        )  # fmt: skip
    return Run(digits / "run")


@pytest.mark.slow
def test_half_of_the_digits_tell_more_of_the_other_half_than_the_mean_digit(
    digits: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "filled"
    main([str(run.path), "--impute", "--data", str(digits / "held.npz"), "--samples", "100",
          "--out", str(out)])  # fmt: skip
    assert sorted(path.name for path in out.iterdir()) == ["imputed.npz", "imputed.png"]
    with Image.open(out / "imputed.png") as image:
        image.verify()
    with np.load(out / "imputed.npz") as file:
        found = dict(file)
    assert {name: array.shape for name, array in found.items()} == {
        "x": (397, 1, 8, 8), "scale": (397, 1, 8, 8), "error": (397, 1, 8, 8),
        "draws": (5, 397, 1, 8, 8), "mask": (397, 1, 8, 8), "ess": (397,),
    }  # fmt: skip
    truth, hidden = np.load(digits / "truth.npy"), ~found["mask"]
    with np.load(digits / "learn.npz") as learned:
        mean = np.nanmean(learned["x"], 0)
    off = found["x"] - truth
    assert np.abs(off[~hidden]).max() < 1e-6
    assert np.square(off[hidden]).mean() < 0.6 * np.square((mean - truth)[hidden]).mean()
    # The scale is that of the missing entries.
    assert 0.7 < np.sqrt(np.square(off[hidden] / found["scale"][hidden]).mean()) < 1.3
    said = " ".join(capsys.readouterr().out.split())
    assert f"{hidden.sum():,} missing entries are imputed, in {out}" in said
    assert "100 samples per datum have an effective sample size of 100" in said


def test_the_runs_own_data_are_imputed_by_default_and_a_file_is_not_overwritten(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    some: dict[str, Any] = {"impute": True, "samples": 5, "out": tmp_path}
    found = sample(run, **some)
    test = run.data().test.take(torch.arange(140))
    assert np.array_equal(found["mask"], test["mask"].numpy())
    assert np.array_equal(found["x"][found["mask"]], test["x"][test["mask"]].numpy())
    before = (tmp_path / "imputed.npz").read_bytes()
    with pytest.raises(InputError, match=r"imputed.npz exists already; .*`overwrite=True`"):
        sample(run, **some)
    assert (tmp_path / "imputed.npz").read_bytes() == before
    again = sample(run, overwrite=True, seed=1, **some)
    assert not np.array_equal(again["draws"], found["draws"])


def test_of_data_of_which_nothing_is_known_the_model_tells_what_all_are_like(
    digits: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    found = sample(
        run, impute=True, data=digits / "nowhere.npz", samples=2000, out=tmp_path / "out"
    )
    model: Any = run.model
    mean = model.loc.detach().numpy()
    variance = model.weight.detach().square().sum(1).view(1, 8, 8) + model.noise() ** 2
    assert (np.abs(found["x"] - mean) <= SIGMAS * found["error"] + 1e-6).all()
    np.testing.assert_allclose(found["scale"].mean(0), variance.detach().sqrt(), rtol=0.03)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--data", "{data}/narrow.npz"], "has shape (1, 4, 8), and the model was fitted on"),
        (["--data", "{data}/truth.npy"], "no entry of the data is missing, so that there is nothi"),
        (["--data", "{data}/nan.npy"], "holds NaN or an infinity in 397 of 397 rows"),
        (["--data", "{data}/no.npz"], "no.npz: there is no such file or folder"),
        (["--data", "{data}/held.npz", "--samples", "0"], "samples is 0; it must be at least 1"),
        (["--data", "{data}/held.npz", "--given", "3"], "--given 3 is for draws of new data"),
    ],
)
def test_a_mistake_is_a_sentence_and_leaves_nothing(
    digits: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    argv: list[str], sentence: str,
) -> None:  # fmt: skip
    capsys.readouterr()
    before = set(run.path.rglob("*"))
    flags = [word.format(data=digits) for word in argv]
    out = tmp_path / "out"
    assert sentence in refusal(main, capsys, run.path, "--impute", *flags, "--out", out)
    assert list(tmp_path.iterdir()) == []
    assert set(run.path.rglob("*")) == before


def test_a_run_of_complete_data_has_nothing_to_impute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quick: None
) -> None:
    run = small(tmp_path, epochs=1)
    capsys.readouterr()
    said = refusal(main, capsys, run.path, "--impute")
    assert "give data with a mask that is True where x was observed: an .npz of x and mask" in said
    assert not (run.path / "samples").exists()
    # But it can impute other data, though it was fitted to complete ones.
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(20, 3)), rng.random((20, 3)) < 0.5
    np.savez(tmp_path / "holed.npz", x=x, mask=mask)
    found = sample(run, impute=True, data=tmp_path / "holed.npz", samples=50)
    assert np.array_equal(found["mask"], mask)
    assert (found["scale"][~mask] > 0).all()
