"""A table of numbers, counts and categories: from its file to results with its names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure

import ppvae
from ppvae import plots
from ppvae.cli.given import given_settings
from ppvae.components.spec import Spec
from ppvae.diagnose import diagnose
from ppvae.errors import InputError
from ppvae.fit import fit
from ppvae.sample import main, sample
from ppvae.training.chosen_parts import part_of, suited_programs
from tests.support.fits import leave_out_slow_parts
from tests.support.penguins import COLUMNS, MEASURES, mixed_penguins

SMALL = {"class_path": "MLP", "init_args": {"hidden": [16]}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A short fit of the penguins with the default likelihood."""
    folder = tmp_path_factory.mktemp("penguins")
    mixed_penguins(200, missing=0.05).to_csv(folder / "penguins.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        leave_out_slow_parts(patch)
        return fit(
            folder / "penguins.csv", encoder=SMALL, decoder=SMALL, latent_dim=2, epochs=20,
            batch_size=32, lr=2e-2, out=folder / "run", device="cpu",
        )  # fmt: skip


def file_of(run: Any) -> pd.DataFrame:
    return pd.read_csv(run.path.parent / "penguins.csv")


def test_each_column_is_scored_as_what_it_is(run: Any) -> None:
    config = yaml.safe_load((run.path / "config.yaml").read_text())
    assert config["likelihood"]["class_path"] == "PerColumn"
    assert run.model.likelihood.columns == COLUMNS
    again: Any = ppvae.load(run.path).model
    assert again.likelihood.names == run.model.likelihood.names
    summary = json.loads((run.path / "summary.json").read_text())
    assert np.isfinite(summary["log_p"]["mean"])


def test_what_is_drawn_is_a_table_in_the_units_and_names_of_the_file(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr("ppvae.run.figures.save", lambda figure, _: drawn.append(figure))
    main([str(run.path), "--out", str(tmp_path), "--count", "50", "--pairs", "2"])
    said = " ".join(capsys.readouterr().out.split())
    assert "samples.csv, reconstructions.csv, samples.npz" in said
    table, told = pd.read_csv(tmp_path / "samples.csv"), file_of(run)
    assert list(table.columns) == list(told.columns)
    for column in COLUMNS:
        if column.levels:
            assert set(table[column.name]) <= set(column.levels)
        else:
            low, high = told[column.name].min(), told[column.name].max()
            assert table[column.name].between(low - (high - low), high + 2 * (high - low)).all()
    assert table["dives"].dtype.kind == "i"
    rebuilt = pd.read_csv(tmp_path / "reconstructions.csv", index_col="row")
    numbers = run.data().test.annotations.numbers.numpy()
    assert set(rebuilt.index) == set(numbers)
    assert set(rebuilt["species"]) <= set(COLUMNS[0].levels)
    panels = [axes.get_title(loc="left") for axes in drawn[0].axes]
    assert panels[: len(told.columns)] == list(told.columns)
    assert [text.get_text() for text in drawn[0].axes[0].get_xticklabels()] == list(
        COLUMNS[0].levels
    )


def test_empty_cells_are_filled_with_levels_and_the_others_are_those_of_the_file(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    found = sample(run, impute=True, samples=200, out=tmp_path)
    table = pd.read_csv(tmp_path / "imputed.csv", index_col="row")
    told = file_of(run).loc[table.index]
    assert not table.isna().to_numpy().any()
    for column in COLUMNS:
        seen = told[column.name].notna()
        got, want = table[column.name][seen], told[column.name][seen]
        if column.levels:
            assert list(got) == list(want)
        else:
            np.testing.assert_allclose(got, want, rtol=1e-6)
    assert list(table["species"][told["species"].isna()]) == [
        COLUMNS[0].levels[int(code)] for code in found["x"][told["species"].isna(), 0]
    ]


def test_a_column_is_given_another_family_on_the_command_line(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out_slow_parts(monkeypatch)
    argv = [
        "--data", str(run.path.parent / "penguins.csv"),  # for which PerColumn is the default
        "--likelihood.families", "{body_mass_g: Laplace, dives: Poisson}", "--latent-dim", "2",
        "--encoder.hidden", "8", "--decoder.hidden", "8", "--epochs", "1", "--device", "cpu",
        "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    made: Any = fit(**given_settings("fit", argv)).model
    assert made.likelihood.names["body_mass_g"] == "Laplace"
    assert made.likelihood.names["dives"] == "Poisson"
    opened: Any = ppvae.load(tmp_path / "run").model
    assert opened.likelihood.names == made.likelihood.names


def test_a_model_without_a_likelihood_and_an_argument_without_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out_slow_parts(monkeypatch)
    mixed_penguins(60, missing=0.0)[list(MEASURES)].to_csv(tmp_path / "real.csv", index=False)
    made = fit(
        tmp_path / "real.csv", model="LinearGaussian", guide="ExactPosterior", latent_dim=1,
        epochs=1, out=tmp_path / "run", device="cpu",
    )  # fmt: skip
    assert made.config["likelihood"] is None
    for arguments, name in (({"variance": 0.5}, "Gaussian"), ({"families": {}}, "PerColumn")):
        part = part_of("likelihood", {"init_args": arguments})
        assert suited_programs({"likelihood": part}, made.data())["likelihood"] == Spec(
            name, arguments, is_default=True
        )
    spec = {"class_path": "Bernoulli", "init_args": {"families": {"a": "Laplace"}}}
    with pytest.raises(InputError, match=r"it is one of `likelihood='PerColumn'`$"):
        fit("digits", likelihood=spec)


def test_a_tree_keeps_numbers_beside_codes(run: Any) -> None:
    tree = ppvae.to_datatree(run, draws=4)
    drawn = tree["posterior_predictive"]["x"].to_numpy()
    assert drawn.dtype.kind == "f"
    assert list(tree["posterior_predictive"]["column"].to_numpy()) == [c.name for c in COLUMNS]
    assert list(tree["observed_data"]["column"].to_numpy()) == [c.name for c in COLUMNS]
    assert "columns of real numbers standardized" in run.data().describe()
    places = [place for place, column in enumerate(COLUMNS) if column.name in MEASURES]
    assert (drawn[..., places] % 1 != 0).any()


def test_pictures_share_names_and_ranges(run: Any) -> None:
    from ppvae.run.pictured import columns_of

    columns = columns_of(run)
    names, kinds, levels = zip(*((c.name, c.kind, c.levels) for c in COLUMNS), strict=True)
    assert columns == plots.Columns([*names], is_mixed=True, kinds=[*kinds], levels=[*levels])


@pytest.mark.slow
def test_a_diagnosis_answers_every_question(run: Any, tmp_path: Path) -> None:
    diagnose(run, quick=True, out=tmp_path)
    record = json.loads((tmp_path / "diagnostics.json").read_text())
    refused = {each["part"] for each in record["not_answered"]}
    assert refused <= {"baseline pca", "baseline normal", "baseline mixture"}
    parts = {each["part"] for each in record["answers"]["deficits"]["parts"]}
    assert "likelihood" in parts
    assert "association of columns" in str(record["answers"]["model"])
    assert "bits_per_dim" not in record["answers"]["bound"]
