"""Meaning of containers besides their numbers: masks, zeros, names, categories, axes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from ppvae import data
from ppvae.data import containers
from ppvae.data.arrays import array_source
from ppvae.data.containers import observed
from ppvae.errors import InputError

X = np.random.default_rng(0).normal(size=(20, 3))
COUNTS = np.random.default_rng(1).poisson(1.0, (20, 5))


def read(source: Any) -> data.Batch:
    batch: data.Batch = next(source.train.chunks())
    return batch


@pytest.mark.parametrize("fill", [-9999.0, np.nan, 1e20])
def test_a_masked_array_keeps_its_mask(fill: float) -> None:
    mask = np.random.default_rng(2).random(X.shape) < 0.3
    batch = read(array_source(np.ma.masked_array(np.where(mask, fill, X), mask), "d"))
    np.testing.assert_array_equal(batch["mask"].numpy(), ~mask)
    np.testing.assert_array_equal(batch["x"].numpy(), np.where(mask, 0, X))


def test_a_mask_beside_a_masked_array_hides_what_either_hides() -> None:
    inner, outer = np.random.default_rng(3).random((2, *X.shape)) < 0.3
    batch = read(array_source(np.ma.masked_array(X, inner), "d", mask=~outer))
    np.testing.assert_array_equal(batch["mask"].numpy(), ~inner & ~outer)


def test_a_masked_array_without_a_masked_entry_has_no_mask() -> None:
    assert "mask" not in read(array_source(np.ma.masked_array(X), "d"))


FORMATS = ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.csr_array])
def test_a_sparse_matrix_has_its_zeros(form: str, kind: Any) -> None:
    batch = read(array_source(kind(COUNTS).asformat(form), "d"))
    np.testing.assert_array_equal(batch["x"].numpy(), COUNTS)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
def test_a_sparse_file_is_read(form: str, tmp_path: Path) -> None:
    scipy.sparse.save_npz(tmp_path / "c.npz", scipy.sparse.csr_matrix(COUNTS).asformat(form))
    loaded = data.load(tmp_path / "c.npz")
    assert loaded.shape == (5,)
    assert loaded.scaling.kind == "counts"
    assert loaded.source is not None
    np.testing.assert_array_equal(read(loaded.source)["x"].numpy(), COUNTS)


def test_a_sparse_matrix_that_is_too_large_is_refused() -> None:
    huge = scipy.sparse.csr_matrix((10**7, 10**7))
    with pytest.raises(InputError, match=r"x is sparse, 10,000,000 rows of 10,000,000, .* GiB"):
        array_source(huge, "d")


WORDS = ["cat", "dog"] * 10


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (pd.Series(WORDS), ("cat", "dog")),
        (pd.Series(WORDS, dtype="string"), ("cat", "dog")),
        (pd.Series(pd.Categorical(WORDS, ["dog", "eel", "cat"])), ("dog", "cat")),
        (pd.Categorical(WORDS, ["dog", "cat"], ordered=True), ("dog", "cat")),
        (pd.Index(WORDS), ("cat", "dog")),
        (pd.DataFrame({"kind": WORDS}), ("cat", "dog")),
        (np.array(WORDS, dtype=object), ("cat", "dog")),
        (np.array(WORDS, dtype=np.dtypes.StringDType()), ("cat", "dog")),
        (np.array(WORDS, dtype="S3"), ("cat", "dog")),
        (WORDS, ("cat", "dog")),
        (pd.Series([7, 5] * 10, dtype="Int64"), ("5", "7")),
        (pd.Series([True, False] * 10, dtype="boolean"), ("False", "True")),
    ],
)
def test_labels_of_any_container(y: Any, labels: tuple[str, ...]) -> None:
    source = array_source(X, "d", y)
    assert source.labels == labels
    codes = read(source)["y"].tolist()
    values = [str(value) for value in np.asarray(y, dtype=object).ravel()]
    named = [value.removeprefix("b'").removesuffix("'") for value in values]
    assert [labels[code] for code in codes] == named


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(["cat", None, *WORDS[2:]]),
        pd.Series(["cat", np.nan, *WORDS[2:]], dtype="category"),
        pd.Series(["cat", pd.NA, *WORDS[2:]], dtype="string"),
        np.ma.masked_array(WORDS, [False, True] + [False] * 18),
    ],
)
def test_a_label_that_is_missing_is_not_known(y: Any) -> None:
    source = array_source(X, "d", y)
    assert source.labels == ("cat", "dog")
    assert read(source)["y"].tolist() == [0, -1, *[0, 1] * 9]


def test_a_table_of_pandas_keeps_its_names() -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(d=pd.Series(range(20), dtype="Int64"))
    rows = array_source(frame, "d").train
    assert rows.names == ("a", "b", "c", "d")
    assert rows.select(torch.arange(3)).names == rows.names
    np.testing.assert_array_equal(next(rows.chunks())["x"][:, 3].numpy(), range(20))


def test_a_mask_has_the_names_of_its_table() -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    seen = frame.notna()
    assert read(array_source(frame, "d", mask=seen))["mask"].all()
    for mask in (seen[["b", "a", "c"]], seen.rename(columns={"c": "e"}), seen[::-1]):
        for ask in (lambda m: array_source(frame, "d", mask=m), lambda m: observed(frame, m)):
            with pytest.raises(InputError, match="of x and mask have different names"):
                ask(mask)
    assert read(array_source(frame, "d", mask=seen[["b", "a", "c"]].to_numpy()))["mask"].all()


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float64, torch.float64),
        (torch.int16, torch.int64),
        (torch.uint8, torch.uint8),
        (torch.bool, torch.bool),
    ],
)
def test_tensors_of_any_type(dtype: torch.dtype, kind: torch.dtype) -> None:
    x = torch.arange(40).reshape(20, 2).to(dtype)
    rows = array_source(x, "d").train
    assert rows.dtype == kind
    assert torch.equal(next(rows.chunks())["x"], x.to(kind))


def test_tensors_that_are_more_than_numbers() -> None:
    x = torch.randn(20, 3)
    for tensor in (x.clone().requires_grad_(), x.to_sparse(), x.mT.contiguous().mT):
        assert torch.equal(read(array_source(tensor, "d"))["x"], x)


@pytest.mark.gpu
def test_tensors_of_a_gpu() -> None:
    x = torch.randn(20, 3)
    assert torch.equal(read(array_source(x.to("cuda"), "d"))["x"], x)


def test_arrays_that_lie_elsewhere(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for x in (mapped, X.tolist(), X.astype(">f8"), X[::-1][::-1], X.astype(object)):
        np.testing.assert_array_equal(read(array_source(x, "d"))["x"].numpy(), X)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((12, 8, 6, 1), (1, 8, 6)),
        ((12, 8, 6, 2), (2, 8, 6)),
        ((12, 8, 6, 3), (3, 8, 6)),
        ((12, 8, 6, 4), (4, 8, 6)),
        ((12, 4, 8, 8), (4, 8, 8)),
        ((12, 2, 8, 8), (2, 8, 8)),
        ((12, 3, 8, 8), (3, 8, 8)),
    ],
)
def test_channels_come_first(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random(shape)
    source = array_source(x, "d")
    assert source.train.shape == expected
    assert source.notes == ()
    moved = np.moveaxis(x, -1, 1) if expected != shape[1:] else x
    np.testing.assert_array_equal(read(source)["x"].numpy(), moved)


def test_axes_that_could_be_either_are_said() -> None:
    assert "the first 3 of (3, 8, 4)" in data.from_arrays(np.ones((12, 3, 8, 4)) / 2).describe()


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        ([[1.0, 2.0], [3.0]], None, "x is not an array"),
        (np.zeros(20, [("a", "f8"), ("b", "f8")]), None, "with the fields a, b"),
        (np.array(["a", 1.5] * 10, dtype=object), None, "Python objects (float, str)"),
        (pd.DataFrame({"a": range(20), "when": pd.Timestamp(0)}), None, "column when of x holds"),
        (pd.DataFrame({"a": range(20), "kind": WORDS}), None, "column kind of x holds"),
        (pd.DataFrame({"kind": pd.Categorical(WORDS)}), None, "column kind of x holds category"),
        (pd.Categorical(WORDS), None, "x holds categories"),
        (np.zeros(20, "M8[s]"), None, "x holds datetime64"),
        (X, np.array([1, "a"] * 10, dtype=object), "y holds Python objects (int, str)"),
        (pd.Series(range(20)), pd.Series(WORDS, range(1, 21)), "the rows of x and y have"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(x: Any, y: Any, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        array_source(x, "d", y)


@pytest.mark.parametrize(("name", "way_out"), [("y", "y.astype(str)"), ("x", "x.astype(float)")])
def test_objects_in_a_file_are_named(name: str, way_out: str, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"x": X, "y": np.array(WORDS)}
    arrays[name] = arrays[name].astype(object)
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(InputError, match=re.escape(f"save {way_out}")):
        data.load(tmp_path / "d.npz")


def test_parts_in_a_file_stay_parts(tmp_path: Path) -> None:
    x, y = np.arange(60.0).reshape(30, 2) / 60, np.arange(30) % 3 + 5
    np.savez(tmp_path / "d.npz", x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:])
    loaded = data.load(tmp_path / "d.npz")
    assert [len(split) for split in loaded.splits.values()] == [17, 3, 10]
    assert loaded.labels == ("5", "6", "7")
    test = next(loaded.test.chunks(99))
    np.testing.assert_allclose(test["x"].numpy(), x[20:], rtol=1e-6)
    assert test["y"].tolist() == (y[20:] - 5).tolist()


def test_rows_are_the_same_in_chunks_and_their_digest_tells_them_apart() -> None:
    rows = array_source(X, "d", WORDS).train
    whole = next(rows.chunks())
    for name, values in whole.items():
        assert torch.equal(torch.cat([chunk[name] for chunk in rows.chunks(7)]), values)
    again = array_source(np.asfortranarray(X), "e", pd.Series(WORDS)).train
    assert again.digest() == rows.digest()
    moved = X.copy()
    moved[7, 1] = np.nextafter(moved[7, 1], 9)
    others = (X[::-1], moved, X.astype(np.float32), X[:, :2], X[:19])
    digests = {array_source(x, "d", WORDS[: len(x)]).train.digest() for x in others}
    assert len(digests | {rows.digest()}) == 6


def test_the_package_takes_no_container_without_its_library() -> None:
    """Pandas and SciPy are not imported to recognize an array of NumPy."""
    assert containers.plain(X, "d", "x").values is X
