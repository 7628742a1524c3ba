"""Methods of a run: results in the unit of the data and in the form of the input."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.datasets import load_digits

import ppvae
from ppvae.arviz.rows import find_data
from ppvae.cli.flags_in_sentences import in_flags
from ppvae.data import as_split, from_arrays
from ppvae.diagnostics import embed, log_evidence
from ppvae.encode import encode
from ppvae.errors import InputError
from ppvae.fitted import Run
from ppvae.programs.imputation import impute
from ppvae.sample import sample
from tests.support.fits import leave_out_slow_parts, rewrite_config, small, small_copy

NAMES = ["length", "width", "depth"]


def raw(rows: int = 90) -> NDArray[np.float64]:
    """A table in some unit, with the label of each row in its sign."""
    generator = np.random.default_rng(1)
    code = generator.normal(size=(rows, 1))
    noise = generator.normal(size=(rows, 3))
    return 500.0 + np.array([1.0, 20.0, 300.0]) * (code + 0.3 * noise)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A fit of the table as a file."""
    folder = tmp_path_factory.mktemp("fitted")
    np.save(folder / "raw.npy", raw())
    with pytest.MonkeyPatch.context() as patch:
        leave_out_slow_parts(patch)
        yield small(folder, data=folder / "raw.npy", epochs=30, lr=1e-2)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A fit whose model is conditional on labels."""
    folder = tmp_path_factory.mktemp("told")
    x = raw()
    y = np.where(np.arange(90) % 2, "wet", "dry")
    x[y == "wet"] += 4000.0
    np.savez(folder / "kinds.npz", x=x, y=y)
    with pytest.MonkeyPatch.context() as patch:
        leave_out_slow_parts(patch)
        yield small(folder, data=folder / "kinds.npz", model="ConditionalVAE", epochs=20, lr=1e-2)


def test_a_table_is_encoded_by_the_scaling_of_the_fit(run: Run) -> None:
    x = raw()[:7]
    codes = run.encode(pd.DataFrame(x, index=list("abcdefg"), columns=NAMES), samples=20)
    scaled = as_split(run.scaling.apply(torch.from_numpy(x)))
    embedding = embed(run.pair, run.audit, scaled)
    np.testing.assert_allclose(codes[["loc_0", "loc_1"]], embedding.loc["z"], rtol=1e-5)
    np.testing.assert_allclose(codes[["scale_0", "scale_1"]], embedding.scale["z"], rtol=1e-5)
    evidence = log_evidence(run.pair, run.audit, scaled, samples=20)
    np.testing.assert_allclose(codes["log_p"], evidence.log_p, rtol=1e-5)
    np.testing.assert_allclose(codes["log_p_error"], evidence.error, rtol=1e-4)
    assert list(codes.index) == list("abcdefg")


@pytest.mark.parametrize(
    "given",
    [
        lambda x: x,
        torch.from_numpy,
        lambda x: pd.DataFrame(x, columns=NAMES),
        sparse.csr_array,
        lambda x: x.tolist(),
    ],
    ids=["array", "tensor", "frame", "sparse", "list"],
)
def test_every_container_has_the_same_codes(run: Run, given: Any) -> None:
    x = raw()[:5]
    np.testing.assert_array_equal(
        run.encode(given(x), samples=0), run.encode(x.copy(), samples=0), strict=True
    )


def test_without_data_the_test_rows_are_asked_about_by_their_numbers_in_the_file(run: Run) -> None:
    codes = run.encode(samples=0)
    assert set(codes.pop("split")) == {"test"}
    assert len(codes) == run.resolved["data"]["rows"]["test"]
    expected = run.encode(raw()[codes.index], samples=0)
    np.testing.assert_allclose(codes, expected, rtol=1e-4)
    assert list(codes.columns) == list(expected.columns)


def test_the_command_and_the_method_compute_the_same(run: Run) -> None:
    found, codes = encode(run, samples=5, seed=3), run.encode(samples=5, seed=3)
    for name in ("log_p", "log_p_error", "elbo"):
        np.testing.assert_array_equal(codes[name], found[name])
    np.testing.assert_array_equal(codes.filter(like="loc_"), found["loc"])
    np.testing.assert_array_equal(run.log_p(samples=5, seed=3), found["log_p"])


def test_a_reconstruction_is_what_the_codes_decode_to_in_the_unit_of_the_data(run: Run) -> None:
    x = pd.DataFrame(raw()[:6], index=list("uvwxyz"), columns=NAMES)
    codes, rebuilt = run.encode(x, samples=0), run.reconstruct(x)
    decoded = run.decode(codes)
    np.testing.assert_allclose(decoded, rebuilt, rtol=1e-6)
    assert list(rebuilt.columns) == NAMES
    assert list(rebuilt.index) == list("uvwxyz")
    np.testing.assert_allclose(decoded, run.decode(codes[["loc_0", "loc_1"]].to_numpy()), rtol=1e-9)
    # In that unit they are near the data, whose columns are hundreds apart.
    assert (np.abs(rebuilt - x) / raw().std(0)).to_numpy().mean() < 0.6


def test_draws_have_the_moments_of_the_data(run: Run) -> None:
    x, drawn = raw(), run.sample(4000, seed=1)
    assert drawn.shape == (4000, 3)
    error = x.std(0) / len(x) ** 0.5
    assert (np.abs(drawn.mean(0) - x.mean(0)) < 5 * error).all()
    np.testing.assert_allclose(drawn.std(0), x.std(0), rtol=0.3)
    np.testing.assert_array_equal(run.sample(9, seed=5), run.sample(9, seed=5))


def test_missing_entries_are_filled_in_and_the_others_stay(run: Run) -> None:
    x = pd.DataFrame(raw()[:6], index=list("uvwxyz"), columns=NAMES)
    holed = x.mask(np.eye(6, 3, dtype=bool))
    filled = run.impute(holed, samples=200)
    assert not filled.isna().any(axis=None)
    kept = holed.notna().to_numpy()
    np.testing.assert_array_equal(filled.to_numpy()[kept], x.to_numpy()[kept])
    assert list(filled.index) == list("uvwxyz")
    rows = run.new_rows(holed)
    scaled = impute(run.pair, run.audit, rows, samples=200, draws=0).x
    expected = run.scaling.undo(scaled).numpy()
    np.testing.assert_allclose(filled.to_numpy()[~kept], expected[~kept])
    np.testing.assert_array_equal(run.impute(holed.to_numpy(), samples=200), filled)
    with pytest.raises(InputError, match="missing"):
        run.impute(x)


def test_what_a_model_is_conditional_on_is_given_by_name(told: Run) -> None:
    z = np.zeros((2, 2))
    wet, dry = told.decode(z, "wet"), told.decode(z, covariates="dry")
    assert (wet - dry > 2000).all()
    both = told.decode(z, ["dry", "wet"])
    np.testing.assert_allclose(both, np.stack([dry[0], wet[1]]), rtol=1e-6)
    drawn = told.sample(200, covariates="wet").mean(0) - told.sample(200, covariates="dry").mean(0)
    assert (drawn > 2000).all()
    codes = told.encode(raw()[:3], ["dry", "dry", "wet"], samples=0)
    assert list(codes["label"]) == ["dry", "dry", "wet"]
    for wrong, match in ((["dry", "moist"], "moist"), (["dry"], r"one per row, \(2,\)")):
        with pytest.raises(InputError, match=match):
            told.decode(z, wrong)


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (lambda run: run.decode(np.zeros((2, 3))), r"\(2, 3\)"),
        (lambda run: run.decode({"u": np.zeros((2, 2))}), "'u'"),
        (lambda run: run.decode(np.full((2, 2), np.nan)), "finite"),
        (lambda run: run.decode(np.zeros((2, 2)), "wet"), "`covariates='wet'`"),
        (lambda run: run.sample(2, covariates=1), "`covariates=1`"),
        (lambda run: run.sample(0), "n is 0"),
        (lambda run: run.encode(np.zeros((2, 4))), r"\(4,\)"),
        (lambda run: run.encode(split="all of it"), "`split`"),
        (lambda run: run.encode(samples=-1), "`samples`"),
        (lambda run: run.plot("moon"), "'moon'"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_its_value(run: Run, ask: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        ask(run)


def test_metrics_are_a_table_of_the_very_numbers(run: Run) -> None:
    metrics, rows = run.metrics(), run.history()
    assert list(metrics.columns) == list(rows[0])
    for name in metrics.columns:
        for value, row in zip(metrics[name], rows, strict=True):
            assert pd.isna(value) if row[name] is None else value == row[name]
    assert metrics["epoch"].dtype == metrics["step"].dtype == np.int64


def test_absent_figures_are_missing_values(tmp_path: Path) -> None:
    metrics = Run(small_copy(tmp_path, guide="Delta", beta=0.0)).metrics()
    assert metrics["elbo"].isna().all()
    assert metrics["reconstruction"].notna().all()


def test_a_run_without_its_data_says_that_they_are_those_of_the_fit(tmp_path: Path) -> None:
    path = small_copy(tmp_path)
    rewrite_config(path, lambda config: config.update(data=str(tmp_path / "gone.csv")))
    away = Run(path)
    said = f"the data of the fit, {tmp_path / 'gone.csv'}, are not here: put them back"
    other = small_copy(tmp_path, "other")
    asks: list[tuple[Callable[[], Any], str]] = [
        *((ask, "") for ask in (away.data, lambda: away.plot("samples"))),
        *((ask, ", or give other data by `x=NEW`") for ask in (
            away.encode, away.log_p, away.impute, away.diagnose,
        )),
        *((ask, ", or give other data by --data NEW") for ask in (
            lambda: sample(away), lambda: encode(away), lambda: find_data(away, None),
            lambda: away.compare(other, samples=1),
        )),
    ]  # fmt: skip
    for ask, way_out in asks:
        with pytest.raises(InputError) as refused:
            ask()
        assert in_flags(str(refused.value)) == said + way_out
    assert len(away.encode(away.example()["x"].numpy(), samples=0)) > 0


def test_data_from_python_are_still_there_when_the_fit_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out_slow_parts(monkeypatch)
    digits = load_digits()
    few = from_arrays(digits.images[:60], digits.target[:60], binarize="dynamic", scale="unit")
    run = small(tmp_path, data=few, likelihood="Bernoulli", epochs=1)
    assert len(run.encode(samples=0)) == len(few.test)
    # Intensities go in and come out in the unit of the data, in the shape they came in.
    rebuilt = run.reconstruct(digits.images[:4])
    assert rebuilt.shape == (4, 8, 8)
    assert rebuilt.max() > 1
    assert set(np.unique(run.sample(3))) == {0.0, run.scaling.undo(torch.ones(1)).item()}
    with pytest.raises(InputError, match="passed in Python"):
        Run(run.path).encode()


def birds(rows: int = 90) -> pd.DataFrame:
    """A mixed table with dependent columns, names, a label, and missing cells."""
    generator = np.random.default_rng(2)
    code = generator.normal(size=rows)
    frame = pd.DataFrame(
        {
            "length": 200 + 10 * (code + 0.2 * generator.normal(size=rows)),
            "island": np.where(code + 0.2 * generator.normal(size=rows) > 0, "far", "near"),
            "eggs": generator.poisson(np.exp(1 + 0.5 * code)),
            "species": np.where(np.arange(rows) % 2, "auk", "tern"),
        },
        index=[f"bird-{i}" for i in range(rows)],
    )
    frame.loc["bird-3", "length"] = np.nan
    frame.loc["bird-4", "island"] = None
    return frame


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A fit of the birds as a DataFrame."""
    parts: dict[str, Any] = {"likelihood": ..., "label": "species", "epochs": 20, "lr": 1e-2}
    with pytest.MonkeyPatch.context() as patch:
        leave_out_slow_parts(patch)
        yield small(tmp_path_factory.mktemp("mixed"), data=birds(), **parts)


def test_a_mixed_table_is_answered_with_its_names_and_levels(mixed: Run) -> None:
    frame = birds()
    codes = mixed.encode(frame, samples=0)
    assert list(codes.index) == list(frame.index)
    assert list(codes["label"]) == list(frame["species"])
    # The order of the columns is theirs, and labels need not be there.
    shuffled = mixed.encode(frame[["eggs", "island", "length"]], samples=0)
    pd.testing.assert_frame_equal(shuffled, codes.drop(columns="label"))
    drawn = mixed.sample(50)
    assert list(drawn.columns) == ["length", "island", "eggs"]
    assert set(drawn["island"]) == {"far", "near"}
    assert drawn["eggs"].min() >= 0
    rebuilt = mixed.reconstruct(frame)
    pd.testing.assert_frame_equal(mixed.decode(codes), rebuilt, rtol=1e-4)
    known = frame["island"].notna()
    assert (rebuilt["island"] == frame["island"])[known].mean() > 0.8
    filled = mixed.impute(frame, samples=50)
    assert filled.notna().all(axis=None)
    assert filled.loc["bird-4", "island"] in ("far", "near")
    pd.testing.assert_frame_equal(filled.where(frame.notna()), frame, check_dtype=False)
    own = mixed.encode(split="all", samples=0)
    pd.testing.assert_index_equal(own.index, frame.index, check_names=False)
    assert dict(own.pop("split").value_counts()) == mixed.resolved["data"]["rows"]
    pd.testing.assert_frame_equal(own, codes, rtol=1e-4, check_names=False)


@pytest.mark.slow
def test_rows_are_decoded_under_other_covariates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out_slow_parts(monkeypatch)
    frame = birds()[["length", "species"]].dropna()
    frame["mass"] = frame["length"] + 100 * (frame["species"] == "auk")
    settings: dict[str, Any] = {"model": "ConditionalVAE", "covariates": ["species"], "lr": 1e-2}
    run = small(tmp_path, data=frame, epochs=20, **settings)
    codes = run.encode(frame, samples=0)
    assert list(codes["species=auk"]) == list((frame["species"] == "auk").astype(float))
    auk, tern = (run.decode(codes, {"species": name}) for name in ("auk", "tern"))
    own = run.decode(codes, frame[["species"]])
    is_auk = frame["species"] == "auk"
    pd.testing.assert_frame_equal(own, auk.where(is_auk, tern))
    assert (auk["mass"] - tern["mass"]).mean() > 50
    with pytest.raises(InputError, match="owl"):
        run.decode(codes, {"species": "owl"})
    same = run.encode(frame[["length", "mass"]].to_numpy(), frame[["species"]], samples=0)
    np.testing.assert_allclose(same.filter(like="loc_"), codes.filter(like="loc_"), rtol=1e-5)


def test_a_run_beside_another_is_what_the_command_compares(run: Run, tmp_path: Path) -> None:
    other = small(tmp_path, data=str(run.config["data"]), epochs=1, seed=1)
    found = run.compare(other, samples=5, out=tmp_path / "beside")
    assert (tmp_path / "beside" / "comparison.json").is_file()
    assert found.best.log_p.mean == pytest.approx(run.log_p(samples=5).mean(), abs=0.2)
    assert {each.path for row in found.rows for each in row.runs} == {run.path, other.path}


def test_a_cell_that_fits_can_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out_slow_parts(monkeypatch)
    monkeypatch.chdir(tmp_path)
    one, other = (small(tmp_path, out=None, epochs=1) for _ in range(2))
    assert one.path != other.path
    codes = one.encode(samples=0)
    assert other.encode(samples=0).equals(codes)
    with pytest.raises(InputError, match="`overwrite=True`"):
        small(tmp_path, str(one.path.absolute()), epochs=1)
    again = small(tmp_path, str(one.path.absolute()), epochs=1, overwrite=True)
    assert again.encode(samples=0).equals(codes)


def test_images_keep_their_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out_slow_parts(monkeypatch)
    x = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3)).astype(np.uint8)
    run = small(tmp_path, data=x, likelihood="DiscretizedLogistic", epochs=1, in_memory=True)
    assert repr(run).startswith("Run(in memory): ")
    last, first = run.reconstruct(x[:5]), run.reconstruct(x[:5].transpose(0, 3, 1, 2))
    assert last.shape == (5, 4, 4, 3)
    np.testing.assert_array_equal(last, first.transpose(0, 2, 3, 1))


def test_the_package_lists_what_there_is() -> None:
    listed = dir(ppvae)
    assert {"fit", "load", "Run", "models", "to_datatree"} <= set(listed)
    assert all(getattr(ppvae, name) is not None for name in listed)
    assert not [name for name in listed if re.match("_[^_]", name)]
