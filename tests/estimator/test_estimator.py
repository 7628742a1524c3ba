"""The estimator: its numbers are those of the programs, in the units of the data."""

import pickle
import re
import threading
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from ppvae.errors import InputError
from ppvae.models import StandardNormal
from ppvae.sklearn import VAE
from tests.support.fits import SMALL, table
from tests.support.snapshots import changes, snapshot

Array = NDArray[Any]

QUICK: dict[str, Any] = {
    "encoder": SMALL, "decoder": SMALL, "max_iter": 3, "n_samples": 10, "random_state": 0,
}  # fmt: skip
X = table(60).astype(np.float64)


@pytest.fixture(scope="module")
def fitted() -> VAE:
    return VAE(validation_fraction=0.25, **QUICK).fit(X)


def holed(x: Array) -> Array:
    """A table with missing entries in some rows."""
    found = x.copy()
    found[::3, 0] = np.nan
    found[1::5, 2] = np.nan
    return found


# Results


def test_a_score_is_a_density_of_the_units_that_the_data_have(fitted: VAE) -> None:
    """Log p of a x + b is that of x minus log a for each column: the fit is the same."""
    factors = np.array([10.0, 0.5, 3.0])
    other = clone(fitted).fit(X * factors + 7)
    moved = other.score_samples(X * factors + 7)
    np.testing.assert_allclose(moved, fitted.score_samples(X) - np.log(factors).sum(), atol=1e-3)
    seen = ~np.isnan(holed(X))
    moved = other.score_samples(holed(X) * factors + 7)
    expected = fitted.score_samples(holed(X)) - seen @ np.log(factors)
    np.testing.assert_allclose(moved, expected, atol=1e-3)


@pytest.mark.slow
def test_scores_of_zeros_and_ones_are_probabilities() -> None:
    binary = (X > 0).astype(np.float64)
    vae = VAE(likelihood="auto", **QUICK | {"n_samples": 50_000}).fit(binary)
    every = np.array(np.meshgrid(*[[0.0, 1.0]] * 3)).reshape(3, -1).T
    total = np.exp(vae.score_samples(every)).sum()
    assert total == pytest.approx(1, abs=0.02)
    assert set(np.unique(vae.sample(50))) == {0.0, 1.0}


def test_what_is_missing_is_integrated_out(fitted: VAE) -> None:
    """The density of two columns is the integral of that of three over the third."""
    row, grid = X[:1].copy(), np.linspace(-8, 8, 400)
    whole = np.repeat(row, len(grid), axis=0)
    whole[:, 1] = grid
    row[0, 1] = np.nan
    precise = clone(fitted).set_params(n_samples=2000).fit(X)
    integral = np.trapezoid(np.exp(precise.score_samples(whole)), grid)
    assert np.log(integral) == pytest.approx(precise.score_samples(row)[0], abs=0.02)


def test_a_score_does_not_depend_on_what_is_beside_it(fitted: VAE) -> None:
    scores = fitted.score_samples(holed(X))
    for row in (0, 1, 59):
        alone = fitted.score_samples(holed(X)[[row]])
        np.testing.assert_allclose(alone, scores[[row]], rtol=1e-10)
    assert fitted.score(X) == pytest.approx(fitted.score_samples(X).mean())


def test_codes_are_means_of_the_guide_and_decode_in_the_units_of_the_data(fitted: VAE) -> None:
    codes = fitted.transform(X)
    torch.manual_seed(0)
    x = fitted._fitted.climbed.scaling.apply(torch.from_numpy(X)).double()
    draws = torch.stack([fitted.guide_(x) for _ in range(400)])
    error = draws.std(0) / 20
    assert ((draws.mean(0) - torch.from_numpy(codes)).abs() < 5 * error).all()
    other = clone(fitted).fit(X * 10 + 7)
    moved = other.inverse_transform(other.transform(X * 10 + 7))
    np.testing.assert_allclose(moved, fitted.inverse_transform(codes) * 10 + 7, atol=1e-2)


def test_draws_are_those_of_their_seed(fitted: VAE) -> None:
    draws = fitted.sample(200)
    assert draws.shape == (200, 3)
    np.testing.assert_array_equal(draws, fitted.sample(200))
    np.testing.assert_array_equal(fitted.sample(5, random_state=3), fitted.sample(5, 3))
    assert not np.array_equal(fitted.sample(5, random_state=3), fitted.sample(5))
    with pytest.raises(InputError, match="`n_samples` is 0; it must be at least 1"):
        fitted.sample(0)


def test_a_p_value_counts_the_validation_rows_that_are_no_likelier(fitted: VAE) -> None:
    known = fitted.validation_scores_
    assert len(known) == 15
    assert (np.diff(known) >= 0).all()
    scores, p = fitted.score_samples(X), fitted.p_value(X)
    counted = (1 + (known[None] <= scores[:, None] + 1e-8).sum(1)) / 16
    np.testing.assert_array_equal(p, counted)
    # The validation rows are among these: each counts itself and the lower ones.
    for rank, score in enumerate(known):
        assert (2 + rank) / 16 in p[np.isclose(scores, score, rtol=1e-9)]
    far = np.full((1, 3), 1e3)
    assert fitted.p_value(far) == pytest.approx([1 / 16])


# Behaviour


@pytest.mark.slow
def test_it_is_a_function_of_its_seed_and_leaves_the_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    VAE(**QUICK).fit(X)
    before = snapshot()
    one, other = (VAE(**QUICK).fit(holed(X)) for _ in range(2))
    np.testing.assert_array_equal(one.transform(X), other.transform(X))
    np.testing.assert_array_equal(one.score_samples(X), other.score_samples(X))
    one.sample(3)
    assert not changes(before), changes(before)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert not np.array_equal(VAE(**QUICK | {"random_state": 1}).fit(X).transform(X), one)


def test_verbose_tells_each_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    VAE(**QUICK | {"verbose": True}).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[-1].startswith("epoch 3, validation objective -")


def test_what_is_dumped_and_loaded_is_the_same(fitted: VAE, tmp_path: Path) -> None:
    joblib.dump(fitted, tmp_path / "vae.joblib")
    for again in (joblib.load(tmp_path / "vae.joblib"), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
        np.testing.assert_array_equal(again.score_samples(holed(X)), fitted.score_samples(holed(X)))
        with pytest.raises(InputError, match="a code has 2"):
            again.inverse_transform(X)


def test_fits_in_several_threads_take_turns(fitted: VAE) -> None:
    found: list[Array] = []
    threads = [
        threading.Thread(target=lambda: found.append(clone(fitted).fit(X).transform(X)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for codes in found:
        np.testing.assert_array_equal(codes, fitted.transform(X))
    assert len(found) == 3


@pytest.mark.slow
def test_a_search_chooses_by_log_p_in_a_pipeline() -> None:
    search = GridSearchCV(VAE(**QUICK), {"n_components": [1, 2], "prior": ["StandardNormal"]}, cv=2)
    search.fit(holed(X))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    labels = X[:, 0] > 0
    classify = make_pipeline(VAE(**QUICK | {"max_iter": 30}), LogisticRegression()).fit(X, labels)
    assert classify.score(X, labels) > 0.8


@pytest.mark.slow
def test_a_search_in_other_processes_finds_the_same() -> None:
    grid = {"n_components": [1, 2]}
    here, there = (GridSearchCV(VAE(**QUICK), grid, cv=2, n_jobs=jobs).fit(X) for jobs in (None, 2))
    np.testing.assert_array_equal(
        here.cv_results_["mean_test_score"], there.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(here.transform(X), there.transform(X))


def test_tables_have_names(fitted: VAE) -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c"], index=[f"row {i}" for i in range(60)])
    vae = clone(fitted).set_output(transform="pandas").fit(frame)
    codes = vae.transform(frame)
    assert list(codes.columns) == ["vae0", "vae1"] == list(vae.get_feature_names_out())
    assert list(codes.index) == list(frame.index)
    assert list(vae.feature_names_in_) == ["a", "b", "c"]
    np.testing.assert_array_equal(codes, fitted.transform(X))


@pytest.mark.slow
def test_other_parts_are_parameters() -> None:
    vae = VAE(guide="Flow", prior=StandardNormal, likelihood="StudentT", **QUICK)
    again = clone(vae).fit(X)
    assert again.transform(X).shape == (60, 2)
    assert again.get_params()["prior"] is StandardNormal
    np.testing.assert_array_equal(clone(again).fit(X).transform(X), again.transform(X))
    np.testing.assert_allclose(again.transform(X)[:1], again.transform(X[:1]), rtol=1e-9)


def test_a_point_mass_has_codes_and_no_scores() -> None:
    vae = VAE(guide="Delta", beta=0, **QUICK).fit(X)
    assert vae.inverse_transform(vae.transform(X)).shape == X.shape
    assert len(vae.validation_scores_) == 0
    for ask in (vae.score_samples, vae.p_value):
        with pytest.raises(InputError, match="point mass"):
            ask(X)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"n_components": 0}, "`n_components` is 0; it must be at least 1"),
        ({"max_iter": 1.5}, "`max_iter` is 1.5; it must be a whole number"),
        ({"learning_rate": -1}, "`learning_rate` is -1; it must be above 0"),
        ({"n_iter_no_change": 0}, "`n_iter_no_change` is 0; it must be at least 1"),
        ({"n_samples": 0}, "`n_samples` is 0; it must be at least 1"),
        ({"validation_fraction": 1.0}, "`validation_fraction` is 1.0; it must be above 0"),
        ({"likelihood": "Bernoulli"}, "takes only"),
        ({"prior": "Normale"}, "Normale"),
    ],
)
def test_what_is_wrong_is_told_by_the_estimators_names(
    wrong: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        VAE(**QUICK | wrong).fit(X)


def test_each_fit_begins_anew() -> None:
    with pytest.raises(TypeError, match="warm_start"):
        VAE(warm_start=True)  # type: ignore[call-arg]  # what is refused


def test_a_value_that_the_likelihood_cannot_have_is_refused_when_scored() -> None:
    binary = (X > 0).astype(np.float64)
    vae = VAE(likelihood="Bernoulli", **QUICK).fit(binary)
    with pytest.raises(InputError, match=r"row 0 .*of X holds"):
        vae.score_samples(np.full((1, 3), 0.5))


def test_few_rows_of_one_column_are_enough() -> None:
    vae = VAE(**QUICK).fit([[1.0], [2.0]])
    assert vae.transform([[1.5]]).shape == (1, 2)
    assert vae.p_value([[1.5]])[0] in (0.5, 1.0)
