"""Data that is in memory, in whatever Python holds it."""

from pathlib import Path
from typing import Any, override

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.sparse import csr_matrix
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from ppvae import data
from ppvae.data.optional import needed
from ppvae.errors import InputError

X = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
Y = np.arange(24) % 3


class Pairs(Dataset[Any]):
    """x and y, one by one."""

    def __len__(self) -> int:
        return len(X)

    @override
    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(X[place]), int(Y[place])


class Stream(IterableDataset[Any]):
    """x alone, in turn."""

    def __iter__(self) -> Any:
        return iter(X)


FRAME = pd.DataFrame(X, columns=list("abc"))

HELD: dict[str, tuple[Any, bool]] = {
    "an array": (X, False),
    "a tensor": (torch.from_numpy(X), False),
    "a sparse matrix": (csr_matrix(X), False),
    "a table": (FRAME, False),
    "a pair": ((X, Y), True),
    "a pair of tensors": ((torch.from_numpy(X), torch.from_numpy(Y)), True),
    "a table and labels": ((FRAME, pd.Series(Y)), True),
    "a mapping": ({"x": X, "y": Y}, True),
    "a data set": (Pairs(), True),
    "a stream": (Stream(), False),
    "tensors": (TensorDataset(torch.from_numpy(X)), False),
    "tensors and labels": (TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), True),
}


@pytest.mark.parametrize("kind", HELD)
def test_the_same_rows_are_the_same_data(kind: str) -> None:
    held, has_labels = HELD[kind]
    loaded = data.load(held)
    expected = data.from_arrays(X)
    batch, same = (each.test.take(torch.arange(2)) for each in (loaded, expected))
    assert torch.equal(batch["x"], same["x"])
    assert loaded.labels == (("0", "1", "2") if has_labels else None)
    if has_labels:
        numbers = loaded.test.annotations.numbers[:2]
        assert batch["y"].tolist() == Y[numbers.numpy()].tolist()


def test_a_triple_is_the_three_parts() -> None:
    loaded = data.load(((X, Y), (X[:5], Y[:5]), (X[:7], Y[:7])))
    assert [len(split) for split in loaded.splits.values()] == [24, 5, 7]
    with pytest.raises(InputError, match=r"of shape \(3,\), and .* of \(2,\)"):
        data.load((X, X[:, :2], X))
    with pytest.raises(InputError, match="which the model was not fitted on"):
        data.load(((X, Y), (X, Y + 1), (X, Y)))


REFUSED = {
    "two pairs": ((X, Y, X, Y), "is a tuple of 4: give (x, y), or (train, valid, test)"),
    "a mapping without x": ({"z": X}, "is a mapping of z: give x"),
    "a set of shapes": ([X[0], X[0, :2]], "x is no array"),
    "words": (np.full((24, 2), "a"), "it must hold numbers"),
    "lengths": ((FRAME, Y[:3]), "y has 3 rows, and x has 24"),
    "other names": ((FRAME, pd.Series(Y, index=Y + 5)), "have different names (their index)"),
    "nothing": (None, "Python objects (NoneType)"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_holds_no_data_is_refused(kind: str) -> None:
    held, says = REFUSED[kind]
    with pytest.raises(InputError) as refusal:
        data.load(held)
    assert says in str(refusal.value)


def test_columns_are_named_of_tables_alone() -> None:
    with pytest.raises(InputError, match=r"`covariates=\('a',\)` names a column of a table"):
        data.load(X, covariates=["a"])


def cells() -> Any:
    """24 cells of three genes."""
    anndata = pytest.importorskip("anndata")
    counts = np.random.default_rng(1).poisson(3, (24, 3)) + 1
    names = [f"cell{i}" for i in range(24)]
    obs = pd.DataFrame({"batch": ["u", "v"] * 12, "type": ["T", "B", "NK"] * 8}, index=names)
    return anndata.AnnData(
        csr_matrix(counts.astype(np.float32)), obs, pd.DataFrame(index=["g1", "g2", "g3"])
    )


def test_cells_keep_barcodes_genes_and_annotations(tmp_path: Path) -> None:
    held = cells()
    held.write_h5ad(tmp_path / "cells.h5ad")
    for thing in (held, tmp_path / "cells.h5ad"):
        loaded = data.load(thing, label="type", covariates=["batch"])
        assert loaded.labels == ("B", "NK", "T")
        assert loaded.covariate_names == ("batch=u", "batch=v")
        assert [(c.name, c.kind) for c in loaded.columns or ()] == [
            ("g1", "count"), ("g2", "count"), ("g3", "count"),
        ]  # fmt: skip
        known = loaded.test.annotations
        assert known.index is not None
        assert known.index.tolist() == [f"cell{i}" for i in known.numbers.tolist()]
        assert loaded.size_factor == "auto"
        counted = data.suited(loaded, "counts")
        batch = counted.test.take(torch.arange(2))
        total = batch["x"].sum(1) / float(held.X.sum()) * 24
        np.testing.assert_allclose(batch["size_factor"], total, rtol=1e-5)
        assert "size_factor" not in data.suited(loaded, "real").test.extra_names


def test_genes_of_new_cells_are_brought_into_order() -> None:
    held = cells()
    fitted = data.load(held)
    new = data.load_new(
        held[:, ["g3", "g1", "g2"]].copy(), scaling=fitted.scaling, shape=(3,), schema=fitted.schema
    )
    expected = torch.from_numpy(held.X.toarray())
    assert torch.equal(new.take(torch.arange(24))["x"], expected)
    with pytest.raises(InputError, match="lacks 1 of the 3 variables"):
        data.load_new(
            held[:, ["g3", "g1"]].copy(), scaling=fitted.scaling, shape=(3,), schema=fitted.schema
        )


def test_a_parquet_table_is_a_table(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    FRAME.assign(kind=["u", "v"] * 12).to_parquet(tmp_path / "t.parquet")
    loaded = data.load(tmp_path / "t.parquet", label="kind")
    assert loaded.labels == ("u", "v")
    assert [c.name for c in loaded.columns or ()] == ["a", "b", "c"]


def test_a_package_that_is_absent_is_named_with_its_command() -> None:
    with pytest.raises(InputError, match=r"takes no_such_package, .*`pip install no_such_package`"):
        needed("no_such_package", "reading t.parquet")


def test_tabs_and_names_of_arrays(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    assert data.load(tmp_path / "t.tsv").shape == (3,)
    for name in ("X", "data", "images"):
        arrays: dict[str, Any] = {name: X, "labels": Y}
        np.savez(tmp_path / "d.npz", **arrays)
        loaded = data.load(tmp_path / "d.npz")
        assert loaded.labels == ("0", "1", "2")
        assert f"{name} taken for x; labels taken for y" in loaded.describe()
    np.savez(tmp_path / "d.npz", X=X, data=X)
    with pytest.raises(InputError, match="holds X and data: call the one that is meant x"):
        data.load(tmp_path / "d.npz")


def test_images_of_mixed_sizes_are_scaled_and_cut(tmp_path: Path) -> None:
    for place in range(12):
        wide = Image.new("L", (40 + place, 20))
        wide.paste(255, (10, 0, 30 + place, 20))  # the middle is white
        wide.save(tmp_path / f"{place}.png")
    with pytest.raises(InputError, match=r"give the height and width .* `size=\(20, 20\)`"):
        data.load(tmp_path)
    loaded = data.load(tmp_path, size=(8, 6))
    assert loaded.shape == (1, 8, 6)
    x = loaded.train.take(torch.arange(9))["x"]
    assert (x > 0.9).all()
    with pytest.raises(InputError, match=r"`size=\(8, 6\)` is for a folder of images"):
        data.load("digits", size=(8, 6))
