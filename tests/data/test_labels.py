"""Unknown labels: read from a file, refused if a model needs them, hidden."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ppvae.data import load
from ppvae.data.labels import encode, hide
from ppvae.errors import InputError
from tests.support.fits import quick, small

__all__ = ["quick"]  # a fixture, used by every test that fits

SEMI: dict[str, Any] = {
    "model": "SemiSupervisedVAE", "guide": "SemiSupervised", "elbo": "TraceEnum_ELBO",
    "prior": "StandardNormal",
}  # fmt: skip


def table(folder: Path, known: float = 0.3) -> Path:
    """Rows of three classes, most of whose labels are -1."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=240)
    x = np.eye(3)[y] + 0.1 * rng.standard_normal((240, 3))
    path = folder / "rows.npz"
    np.savez(path, x=x.astype(np.float32), y=np.where(rng.random(240) < known, 10 * y, -1))
    return path


def test_minus_one_is_no_class_and_stays_minus_one() -> None:
    codes, names = encode(np.array([20, -1, 10, 20, -1]), "it")
    assert (codes.tolist(), names) == ([1, -1, 0, 1, -1], ("10", "20"))
    again, names = encode(np.array([-1, 20]), "new", ("10", "20", "30"))
    assert (again.tolist(), names) == ([-1, 1], ("10", "20", "30"))
    strings, names = encode(np.array(["-1", "a"]), "it")
    assert (strings.tolist(), names) == ([0, 1], ("-1", "a"))


def test_labels_beside_covariates_cannot_be_hidden() -> None:
    table = pd.DataFrame({"a": np.arange(20) / 7, "b": np.arange(20) / 3, "c": ["u", "v"] * 10})
    with pytest.raises(InputError, match="`labels=4` hides labels from the model, which"):
        hide(load(table, label="c", covariates=["b"]), 4)


def test_labels_that_are_all_unknown_are_refused() -> None:
    with pytest.raises(InputError, match="y is -1, unknown, in every row; leave it out"):
        encode(np.array([-1, -1]), "it")


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_file_with_some_labels_is_learned_from_as_it_is(tmp_path: Path) -> None:
    data = load(table(tmp_path))
    assert data.labels == ("0", "10", "20")
    run = small(tmp_path, data=table(tmp_path), epochs=30, **SEMI)
    assert run.config["labels"] is None
    assert run.summary is not None
    told = run.summary["classification"]
    assert 0 < told["rows"] < run.summary["rows"]
    assert told["accuracy"] > 0.9


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": "ConditionalVAE"}, "are -1, unknown, and the model is conditional on them"),
        ({"labels": 9}, "`labels=9` hides labels, so the model must infer them; take `model="),
        (
            {"model": "ConditionalVAE", "labels": 9},
            "`labels=9` hides labels, so the model must infer them",
        ),
    ],
)
def test_where_unknown_labels_make_no_sense_they_are_refused(
    tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        small(tmp_path, data=table(tmp_path), **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("model", "way_out"),
    [
        ("HierarchicalVAE", "for layers: TopDown, Ladder or BottomUp"),
        ("SemiSupervisedVAE", "for a class: SemiSupervised, with .elbo='TraceEnum_ELBO'"),
    ],
)
def test_a_swap_of_the_model_alone_is_told_the_guides_that_go_with_it(
    tmp_path: Path, model: str, way_out: str
) -> None:
    with pytest.raises(InputError, match=way_out):
        small(tmp_path, data=table(tmp_path), model=model)
