"""Fits to tables: the recorded schema, and data read again with it."""

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import ppvae
from ppvae.errors import InputError
from ppvae.fit import fit, resume
from ppvae.run import Run
from tests.support.fits import SMALL, quick

__all__ = ["quick"]

ROWS = 60
PLACES = np.arange(ROWS)
FRAME = pd.DataFrame(
    {
        "ring": [f"b{i}" for i in PLACES],
        "bill": 40 + 3 * np.sin(PLACES),
        "mass": 4000 + 300 * np.cos(PLACES),
        "eggs": PLACES % 4,
        "species": np.array(["Adelie", "Gentoo", "Chinstrap"])[PLACES % 3],
        "clinic": np.array(["u", "v"])[PLACES % 2],
        "part": np.array(["train", "valid", "test"])[np.minimum(PLACES % 6, 2) * (PLACES % 6 < 3)],
    }
)
FIT: dict[str, Any] = {"epochs": 2, "latent_dim": 2, "encoder": SMALL, "decoder": SMALL}
ONCE: dict[str, Any] = FIT | {"epochs": 1, "schedule": "none"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "birds.csv"
    FRAME.to_csv(path, index=False)
    return path


def test_a_table_is_read_again_as_it_was(file: Path, tmp_path: Path) -> None:
    run = fit(
        data=file, label="species", covariates=["clinic"], index="ring", split_column="part",
        out=tmp_path / "run", **FIT,
    )  # fmt: skip
    again = ppvae.load(run.path)
    assert again.config["model"]["class_path"] == "ConditionalVAE"
    assert again.config["likelihood"]["class_path"] == "PerColumn"
    data, first = again.data(), run.data()
    assert data.schema == first.schema
    for name, split in data.splits.items():
        rows = torch.arange(len(split))
        batch, expected = split.take(rows), first.splits[name].take(rows)
        assert all(torch.equal(batch[key], expected[key]) for key in expected)
        known = split.annotations
        assert known.index is not None
        assert known.index.tolist() == [f"b{i}" for i in known.numbers.tolist()]
        assert FRAME["part"][known.numbers.numpy()].unique().tolist() == [name]
    with pytest.raises(InputError, match="was made for 2 epochs"):
        resume(run.path, epochs=3)


def test_new_rows_of_a_table_are_read_by_name(file: Path, tmp_path: Path) -> None:
    run = fit(data=file, label="species", drop=["ring", "part"], out=tmp_path / "run", **FIT)
    shuffled = FRAME[["clinic", "eggs", "mass", "bill"]]
    assert torch.equal(
        run.new_rows(shuffled).take(PLACES_OF_ALL)["x"], run.new_data(file).take(PLACES_OF_ALL)["x"]
    )
    with pytest.raises(InputError, match="it has no column mass, eggs"):
        run.encode(FRAME[["bill", "clinic"]])
    with pytest.raises(InputError, match=r"column clinic is 'w' in row 0, which is not one of its"):
        run.encode(FRAME.assign(clinic="w"))


PLACES_OF_ALL = torch.arange(ROWS)


@pytest.mark.slow
def test_a_fit_that_begins_from_a_run_reads_levels_as_that_did(file: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"drop": ["ring", "part"], **FIT}
    first = fit(data=file, label="species", out=tmp_path / "first", **asked)
    more = FRAME.query("clinic == 'v' and species != 'Adelie'")
    more.to_csv(tmp_path / "more.csv", index=False)
    for data in (more, tmp_path / "more.csv"):  # of the file the run reads its data again
        out = tmp_path / f"of {type(data).__name__}"
        second = fit(data=data, label="species", start=first, out=out, **asked)
        assert second.schema == second.data().schema == first.schema
        x, y = (second.data().train.take(torch.arange(9))[key] for key in "xy")
        assert (x[:, 3] == 1).all()
        assert set(y.tolist()) <= {1, 2}


def test_without_valid_the_last_weights_are_the_best(file: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "data": file,
        "drop": ["ring", "part"],
        "valid": "none",
        "lr": 10.0,
        "seed": 1,
    }
    run = fit(**asked, out=tmp_path / "run", **FIT | {"epochs": 4, "evaluate_every": 1})
    valid = run.metrics().query("split == 'valid'")
    assert valid["objective"].idxmax() != valid.index[-1]  # so that choosing would be seen
    assert run.checkpoint == f"step-{valid['step'].iloc[-1]}"
    assert len(run.data().train) == 54
    with pytest.raises(InputError, match=r"`patience` is 3, but with `valid='none'`"):
        fit(**asked, patience=3, out=tmp_path / "other")


def test_parts_of_several_files_are_read_again(file: Path, tmp_path: Path) -> None:
    test = tmp_path / "test.csv"
    FRAME.iloc[:7].to_csv(test, index=False)
    run = fit(data=file, test=test, drop=["ring", "part"], out=tmp_path / "run", **FIT)
    assert len(Run(run.path).data().test) == 7
    FRAME.iloc[1:8].to_csv(test, index=False)
    with pytest.raises(InputError, match=r"is not the data that .* was fitted to"):
        Run(run.path).data()


@pytest.mark.slow
def test_a_fit_goes_on_with_its_data_in_memory_or_elsewhere(file: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"label": "species", "drop": ["ring", "part"], **ONCE}
    run = fit(data=file, **asked, out=tmp_path / "file")
    moved = file.rename(tmp_path / "moved.csv")
    assert resume(run.path, epochs=2, data=moved).metrics()["epoch"].max() == 2
    held = fit(data=FRAME, **asked, out=tmp_path / "held")
    assert held.data().labels == resume(held.path, epochs=2, data=FRAME).data().labels
    with pytest.raises(InputError, match=r"is not the data that .*; fit again, or with `start`"):
        resume(held.path, epochs=3, data=FRAME.assign(mass=FRAME["mass"] + 1))
    with pytest.raises(InputError, match=r"has columns bill, .*by ppvae.data.load with the same"):
        resume(held.path, epochs=3, data=ppvae.data.load(FRAME.drop(columns=["ring", "part"])))


def test_a_fit_of_cells_goes_on_with_their_totals(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(3, (ROWS, 3)) + 1
    held = anndata.AnnData(counts.astype(np.float32))
    run = fit(data=held, out=tmp_path / "run", **ONCE)
    assert run.config["size_factor"] == "total"
    for epochs, data in enumerate((held, ppvae.data.load(held)), 2):
        again = resume(run.path, epochs=epochs, data=data).data()
        batch, expected = (d.test.take(torch.arange(6)) for d in (again, run.data()))
        assert torch.equal(batch["size_factor"], expected["size_factor"])


def test_what_is_said_of_columns_does_not_go_with_data_that_are_read() -> None:
    with pytest.raises(InputError, match="`label='species'` says how to read data"):
        fit(data=ppvae.data.load(FRAME[["bill", "mass"]]), label="species")


@pytest.mark.parametrize(
    ("likelihood", "columns"),
    [
        ("Gaussian", ["bill", "mass"]),
        ("NegativeBinomial", ["eggs"]),
        ("PerColumn", ["bill", "eggs"]),
        ("PerColumn", ["species"]),
        ("PerColumn", ["species", "part"]),
    ],
)
def test_the_likelihood_follows_the_columns(
    likelihood: str, columns: list[str], tmp_path: Path
) -> None:
    run = fit(data=FRAME[columns], out=tmp_path / "run", **FIT | {"epochs": 1})
    assert run.config["likelihood"]["class_path"] == likelihood
    assert run.sample(3).columns.tolist() == columns


def test_arrays_in_memory_are_fitted_as_tables_are(tmp_path: Path) -> None:
    x = FRAME[["bill", "mass"]].to_numpy(copy=True)
    x[3, 1] = np.nan
    run = fit(data=x, in_memory=True, **FIT | {"epochs": 1})
    assert run.config["likelihood"]["class_path"] == "Gaussian"
    data = run.data()
    assert "1 missing entries are left out by a mask" in data.describe()
    hidden = [int((~s.take(torch.arange(len(s)))["mask"]).sum()) for s in data.splits.values()]
    assert sum(hidden) == 1
    counts = fit(data=FRAME[["eggs"]].to_numpy(), in_memory=True, **FIT | {"epochs": 1})
    assert counts.config["likelihood"]["class_path"] == "NegativeBinomial"


DAMAGED: dict[str, tuple[Any, str]] = {
    "kinds": ({"bill": "word"}, r"kinds is {'bill': 'word'}; it must be words among real"),
    "covariates": (3, "covariates is 3; it must be comma-separated names of columns"),
    "size": ([0, 1], r"size is \[0, 1\]; it must be a height and a width"),
}


def test_a_config_that_was_changed_is_refused(file: Path, tmp_path: Path) -> None:
    run = fit(data=file, drop=["ring", "part"], out=tmp_path / "run", **FIT | {"epochs": 1})
    config = yaml.safe_load((run.path / "config.yaml").read_text())
    del config["run"]["digest"]
    for name, (value, says) in DAMAGED.items():
        (run.path / "config.yaml").write_text(yaml.safe_dump(config | {name: value}))
        with pytest.raises(InputError, match=says):
            Run(run.path).data()
