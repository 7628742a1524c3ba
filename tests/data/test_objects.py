"""Data in memory, in any container of Python."""

from pathlib import Path
from typing import Any, override

import anndata
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
    """A data set of pairs (x, y)."""

    def __len__(self) -> int:
        return len(X)

    @override
    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(X[place]), int(Y[place])


class Items(Dataset[Any]):
    """A data set of the items of a list."""

    def __init__(self, held: list[Any]) -> None:
        self.held = held

    def __len__(self) -> int:
        return len(self.held)

    @override
    def __getitem__(self, place: int) -> Any:
        return self.held[place]


class Stream(IterableDataset[Any]):
    """An iterable data set of x only."""

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
    "a table and a table": ((FRAME, pd.DataFrame({"y": Y})), True),
    "a table and nothing": ((FRAME, None), False),
    "a mapping": ({"x": X, "y": Y}, True),
    "a data set": (Pairs(), True),
    "a stream": (Stream(), False),
    "what has gradients": (Items([torch.from_numpy(x).requires_grad_() for x in X]), False),
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


def labels_of(loaded: data.Data) -> dict[str, list[int]]:
    """The codes of each part."""
    return {
        part: split.take(torch.arange(len(split)))["y"].tolist()
        for part, split in loaded.splits.items()
    }


def test_labels_that_a_part_lacks_are_not_known(tmp_path: Path) -> None:
    table = FRAME.assign(kind=Y)
    np.savez(tmp_path / "k.npz", x_train=X, y_train=Y, x_val=X, y_val=Y, x_test=X)
    table.to_csv(tmp_path / "train.csv", index=False)
    FRAME.to_csv(tmp_path / "test.csv", index=False)
    for loaded in (
        data.load(((X, Y), (X, Y), X)),
        data.load(((FRAME, Y), (FRAME, Y), FRAME)),
        data.load((table, table, FRAME), label="kind"),
        data.load(tmp_path / "k.npz"),
    ):
        known = Y.tolist()
        assert labels_of(loaded) == {"train": known, "valid": known, "test": [-1] * 24}
    loaded = data.load(tmp_path / "train.csv", label="kind", test=tmp_path / "test.csv")
    assert labels_of(loaded)["test"] == [-1] * 24
    shown = data.load((table, table, FRAME), label="kind", covariates=["a"]).test.annotations.label
    assert shown is not None
    assert shown.tolist() == [-1] * 24
    unread = data.load((X, X, (X, Y)))
    assert unread.test.extra_names == ()
    assert "y of data, test is left out" in unread.describe()


def test_parts_in_a_file_are_told_apart(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "parts.npz", x_train=X, x_test=X[:5])
    loaded = data.load(tmp_path / "x.npy", test=tmp_path / "parts.npz")
    assert len(loaded.test) == 5
    with pytest.raises(InputError, match="is divided into train and test, without a part va"):
        data.load(tmp_path / "x.npy", valid=tmp_path / "parts.npz")
    with pytest.raises(InputError, match=r"^`valid='.*gone.csv'`: there is no such file"):
        data.load(tmp_path / "x.npy", valid=tmp_path / "gone.csv")
    np.savez(tmp_path / "parts.npz", x_train=X, x_valid=X[:4])
    loaded = data.load(tmp_path / "parts.npz", test=tmp_path / "x.npy")
    assert [len(split) for split in loaded.splits.values()] == [24, 4, 24]
    hole = np.arange(72).reshape(24, 3) > 0
    np.savez(tmp_path / "parts.npz", x_train=np.where(hole, X, np.nan), mask_train=hole, x_test=X)
    source = data.load(tmp_path / "parts.npz").source
    assert source is not None
    (batch,) = source.train.chunks()
    np.testing.assert_array_equal(batch["mask"], hole)
    for more in ("x_val", "x"):
        arrays: dict[str, Any] = {"x_train": X, "x_valid": X, more: X}
        np.savez(tmp_path / "parts.npz", **arrays)
        with pytest.raises(InputError, match=f"holds .*{more}.*: keep only the intended one"):
            data.load(tmp_path / "parts.npz")


def test_pictures_of_a_data_set_are_decoded() -> None:
    seeds = map(np.random.default_rng, range(12))
    colours = [Image.fromarray(s.integers(0, 255, (6, 5, 3), dtype=np.uint8)) for s in seeds]
    palettes = [image.quantize(8) for image in colours]
    assert {image.mode for image in palettes} == {"P"}
    loaded = data.load(Items(palettes))
    assert loaded.shape == (3, 6, 5)
    expected = [np.asarray(image.convert("RGB")).transpose(2, 0, 1) / 255 for image in palettes]
    numbers = loaded.train.annotations.numbers
    x = loaded.train.take(torch.arange(len(numbers)))["x"]
    np.testing.assert_allclose(x, np.stack(expected)[numbers.numpy()], atol=1e-6)
    assert data.load(Items([image.convert("L") for image in palettes])).shape == (1, 6, 5)


REFUSED = {
    "two pairs": ((X, Y, X, Y), "is a tuple of 4: give (x, y), or (train, valid, test)"),
    "a mapping without x": ({"z": X}, "is a mapping of z: give x"),
    "a set of shapes": ([X[0], X[0, :2]], "x is not an array"),
    "words": (np.full((24, 2), "a"), "it must hold real numbers"),
    "lengths": ((FRAME, Y[:3]), "y has 3 rows, and x has 24"),
    "other names": ((FRAME, pd.Series(Y, index=Y + 5)), "have different names (their index)"),
    "nothing": (None, "Python objects (NoneType)"),
    "labels of two columns": (
        (FRAME, FRAME[["a", "b"]]),
        "y has shape (24, 2), but labels of a table",
    ),
    "no covariates": (((X, X[:, 0]), (X, X[:, 0]), X), "test has no y, and data, train has cov"),
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


def test_cells_have_labels_beside_them_and_may_lie_on_disk(tmp_path: Path) -> None:
    held = cells()
    held.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    for thing, label in (((held, held.obs["type"]), None), (backed, "type")):
        loaded = data.load(thing, label=label)
        batch, expected = (each.test.take(torch.arange(2))
                           for each in (loaded, data.load(held, label="type")))  # fmt: skip
        assert loaded.labels == ("B", "NK", "T")
        assert all(torch.equal(batch[key], expected[key]) for key in expected)
    assert "y" not in held.obs


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
    FRAME.assign(kind=["u", "v"] * 12).to_parquet(tmp_path / "t.parquet")
    loaded = data.load(tmp_path / "t.parquet", label="kind")
    assert loaded.labels == ("u", "v")
    assert [c.name for c in loaded.columns or ()] == ["a", "b", "c"]


def test_a_package_that_is_absent_is_named_with_its_command() -> None:
    with pytest.raises(InputError, match=r"needs no_such_package, .*`pip install no_such_package`"):
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
    with pytest.raises(InputError, match="holds X and data: rename the intended one to x"):
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
