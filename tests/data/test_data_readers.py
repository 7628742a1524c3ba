"""Readers of each kind of file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ppvae import data
from ppvae.data import Scaling
from ppvae.data.options import Schema
from ppvae.errors import InputError


def whole(split: data.Split) -> torch.Tensor:
    return next(split.chunks(10_000))["x"]


def test_digits_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if another version has the file elsewhere."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    for _ in range(2):
        rows = data.digits.digits_source(Path()).train
        batch = rows.read(torch.arange(len(rows)))
        assert torch.equal(batch["x"].flatten(1), torch.from_numpy(images).long())
        assert torch.equal(batch["y"], torch.from_numpy(labels).long())
        monkeypatch.setattr(data.digits, "find_spec", lambda _: None)


def test_digits_are_counts_or_sixteenths() -> None:
    counts = data.load("digits")
    assert counts.shape == (1, 8, 8)
    assert [len(split) for split in counts.splits.values()] == [1437, 180, 180]
    assert counts.scaling == Scaling("counts")
    assert counts.labels == tuple("0123456789")
    x = whole(counts.train)
    assert set(x.flatten().tolist()) == set(range(17))
    sixteenths = data.load("digits", binarize="threshold")
    assert sixteenths.scaling == Scaling("counts", scale=(16.0,))
    assert torch.equal(whole(sixteenths.train), (x >= 8).float())
    assert "counts over 16" in sixteenths.describe()


IMAGES = np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
FLOATS = np.random.default_rng(1).normal(size=(12, 5, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("x", "kind", "expected"),
    [
        (IMAGES, "8-bit", IMAGES.transpose(0, 3, 1, 2) / np.float32(255)),
        (IMAGES[..., 0], "8-bit", IMAGES[:, None, ..., 0] / np.float32(255)),
        (IMAGES[..., :1], "8-bit", IMAGES[:, None, ..., 0] / np.float32(255)),
        (IMAGES[..., 0, 0], "counts", IMAGES[..., 0, 0]),  # bytes in a table are not pixels
        (IMAGES[..., 0] // 128, "as-is", IMAGES[:, None, ..., 0] // 128),
        (IMAGES[..., 0] > 99, "as-is", IMAGES[:, None, ..., 0] > 99),
        (IMAGES[..., 0].astype(">i2"), "counts", IMAGES[:, None, ..., 0]),
        (IMAGES[..., 0, 0] - 9.0, "standardized", None),
        (IMAGES[..., 0, 0] * 1.0, "counts", IMAGES[..., 0, 0]),
        (IMAGES[..., 0, 0] / np.float16(256), "as-is", IMAGES[..., 0, 0] / 256),
        (FLOATS, "as-is", FLOATS[:, None]),
        (FLOATS[:, ::-1], "as-is", FLOATS[:, None, ::-1]),
    ],
)
def test_values_decide_the_scaling(
    x: NDArray[Any], kind: str, expected: NDArray[Any] | None, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", x)
    loaded = data.load(tmp_path / "x.npy")
    assert loaded.name == "x"
    assert loaded.scaling.kind == kind
    again = data.load_new(tmp_path / "x.npy", scaling=loaded.scaling, shape=loaded.shape)
    raw = torch.tensor(np.ascontiguousarray(x).astype(np.float64))
    if expected is None:
        expected = loaded.scaling.apply(raw).numpy()
    np.testing.assert_allclose(whole(again).numpy(), expected, rtol=1e-6)
    rows = {tuple(row) for row in whole(again).flatten(1).tolist()}
    assert {tuple(row) for row in whole(loaded.train).flatten(1).tolist()} <= rows


def test_an_npz_has_labels_and_a_mask(tmp_path: Path) -> None:
    x = np.arange(24.0).reshape(12, 2)
    y = np.array(["b", "a", "c"] * 4)
    mask = x % 5 > 0
    np.savez(tmp_path / "d.npz", x=np.where(mask, x, np.inf), y=y, mask=mask)
    loaded = data.load(str(tmp_path / "d.npz"))
    assert loaded.labels == ("a", "b", "c")
    assert loaded.scaling.kind == "counts"
    schema = Schema(labels=tuple("cba"))
    new = data.load_new(tmp_path / "d.npz", scaling=loaded.scaling, shape=(2,), schema=schema)
    batch = next(new.chunks(99))
    assert batch["y"].tolist() == [1, 2, 0] * 4
    np.testing.assert_array_equal(batch["x"].numpy(), np.where(mask, x, 0))


def test_floats_beside_the_data_are_covariates_and_never_scaled() -> None:
    y = np.linspace(-50, 50, 12)
    loaded = data.from_arrays(np.zeros((12, 3)), y)
    assert loaded.labels is None
    values = [next(split.chunks(99))["y"] for split in loaded.splits.values()]
    assert all(value.dtype == torch.float32 for value in values)
    np.testing.assert_allclose(torch.cat(values).sort().values.numpy(), y, rtol=1e-6)


@pytest.mark.parametrize(
    ("label", "labels", "columns"),
    # Numbers are ordered as numbers: 9 before 10.
    [(None, None, 3), ("kind", ("9", "10"), 2), ("a", None, 2), ("word", ("u", "v"), 3)],
)
def test_a_csv_has_numeric_columns_and_a_label(
    label: str | None, labels: tuple[str, ...] | None, columns: int, tmp_path: Path
) -> None:
    words = label == "word"
    lines = [
        f"{i - 3.5},{i * i},{9 + i % 2}{',' + 'uv'[i % 2] if words else ''}" for i in range(12)
    ]
    header = "a,b,kind" + (",word" if words else "")
    (tmp_path / "t.csv").write_text("\n".join([header, *lines]))
    loaded = data.load(tmp_path / "t.csv", label=label)
    # Without the column of fractions all are whole numbers.
    assert loaded.scaling.kind == ("counts" if label == "a" else "standardized")
    assert loaded.labels == labels
    assert loaded.shape == (columns,)
    assert loaded.train.extra_names == (() if label is None else ("y",))


def test_a_folder_holds_grey_or_coloured_images(tmp_path: Path) -> None:
    for place in range(12):
        Image.fromarray(IMAGES[place, ..., 0]).save(tmp_path / f"{place:02}.png")
    grey = data.load(tmp_path)
    assert (grey.shape, grey.labels, grey.train.extra_names) == ((1, 5, 4), None, ())
    new = data.load_new(tmp_path, scaling=grey.scaling, shape=grey.shape)
    np.testing.assert_array_equal(whole(new).numpy(), IMAGES[:, None, ..., 0] / np.float32(255))
    Image.fromarray(IMAGES[0]).save(tmp_path / "00.png")
    coloured = data.load_new(tmp_path, scaling=grey.scaling, shape=(3, 5, 4))
    np.testing.assert_array_equal(
        whole(coloured)[0].numpy(), IMAGES[0].transpose(2, 0, 1) / np.float32(255)
    )
    assert torch.equal(whole(coloured)[1, 0], whole(new)[1, 0])


@pytest.mark.parametrize(
    "scaling",
    [
        Scaling("8-bit"),
        Scaling("counts"),
        Scaling("counts", scale=(16.0,)),
        Scaling("as-is"),
        Scaling("standardized", (1.0, -2.5), (0.1, 3.0)),
    ],
)
def test_a_scaling_survives_its_file(scaling: Scaling) -> None:
    assert Scaling.from_dict(scaling.to_dict()) == scaling


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        {},
        {"kind": "other"},
        {"kind": ["8-bit"]},
        {"kind": "8-bit", "more": 1},
        {"kind": "8-bit", "scale": [2.0]},
        {"kind": "standardized"},
        {"kind": "standardized", "loc": [0.0], "scale": [1.0, 1.0]},
        {"kind": "standardized", "loc": [0.0], "scale": [0.0]},
        {"kind": "standardized", "loc": [float("nan")], "scale": [1.0]},
        {"kind": "standardized", "loc": ["0"], "scale": [1.0]},
        {"kind": "standardized", "loc": [True], "scale": [1.0]},
        {"kind": "standardized", "loc": [10**400], "scale": [1.0]},
        {"kind": "counts", "scale": [1.0, 2.0]},
        {"kind": "counts", "scale": 16},
    ],
)
def test_a_scaling_from_a_stranger_is_checked(fields: object) -> None:
    with pytest.raises(InputError, match=r"^scaling: "):
        Scaling.from_dict(fields)


def test_zeros_and_ones_may_go_to_a_model_of_intensities(tmp_path: Path) -> None:
    binary = (IMAGES[..., 0] > 128).astype(np.uint8)
    np.save(tmp_path / "b.npy", binary)
    for scaling in (Scaling("8-bit"), Scaling("counts", scale=(16.0,)), Scaling("as-is")):
        new = data.load_new(tmp_path / "b.npy", scaling=scaling, shape=(1, 5, 4))
        np.testing.assert_array_equal(whole(new).numpy(), binary[:, None])


def test_new_data_of_a_known_name_is_its_test_split() -> None:
    loaded = data.load("digits", binarize="dynamic", seed=5)
    new = data.load_new(
        "Digits", scaling=loaded.scaling, shape=loaded.shape, binarize="dynamic", seed=5
    )
    assert torch.equal(whole(new), whole(loaded.test))
