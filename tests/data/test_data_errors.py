"""Unusable data are refused in one sentence with the place and the way out."""

import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ppvae import data
from ppvae.data import image_rows
from ppvae.data.options import Schema
from ppvae.errors import InputError
from tests.support.strangers import Exploit

X = np.arange(24.0).reshape(12, 2)


def refusal(*args: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        data.load(*args, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def holed(value: float) -> NDArray[Any]:
    x = X.copy()
    x[3, 1] = x[7, 0] = value
    return x


@pytest.mark.parametrize("form", ["pickle", "object array", "npz member"])
def test_a_pickle_is_refused_and_never_run(form: str, tmp_path: Path) -> None:
    target = tmp_path / "ran"
    content = np.array([Exploit(target)], dtype=object)
    if form == "npz member":
        path = tmp_path / "x.npz"
        np.savez(path, x=content)
    else:
        path = tmp_path / "x.npy"
        if form == "pickle":
            path.write_bytes(pickle.dumps(Exploit(target)))
        else:
            np.save(path, content, allow_pickle=True)
    sentence = refusal(path)
    assert str(path) in sentence
    assert "pickle" in sentence
    assert not target.exists()


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04 and no more", b"\xff\xfe\x00"]
)
def test_a_damaged_file_is_named(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"d{suffix}"
    path.write_bytes(content)
    assert str(path) in refusal(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_truncated_file_is_named(suffix: str, tmp_path: Path) -> None:
    path, whole = tmp_path / f"d{suffix}", io.BytesIO()
    if suffix == ".npy":
        np.save(whole, X)
    else:
        np.savez(whole, x=X)
    path.write_bytes(whole.getvalue()[:-90])
    sentence = refusal(path)
    assert f"{path} cannot be read as a {suffix} file" in sentence
    assert "write it again" in sentence


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        (
            {"x": holed(np.nan)},
            "NaN or an infinity in 2 of 12 rows, first in row 3 (counted from 0)",
        ),
        ({"x": holed(np.inf)}, "mark the entries in a mask (an .npz of x and mask)"),
        ({"x": np.full((12, 2), 2**24 + 1)}, "an integer beyond 16777216"),
        ({"x": X + 1j}, "x holds complex128; it must hold real numbers"),
        ({"x": np.full((12, 2), "a")}, "x holds <U1; it must hold real numbers"),
        ({"x": X[:0]}, "holds no data: x has shape (0, 2)"),
        ({"x": X[:9]}, "has 9 rows, and at least 10 are needed"),
        ({"x": holed(1e300) - 0.5}, "column 0 (counted from 0) is too wide to be standardized"),
        ({"z": X, "w": X}, "has no array 'x'; it holds z, w"),
        ({"x": X, "y": X[:5, 0]}, "y has shape (5,), and x has 12 rows"),
        ({"x": X, "y": X.astype(int)}, "y has shape (12, 2); labels are one per row"),
        ({"x": X, "y": holed(np.nan)}, "y is not a finite number in row 3 (counted from 0)"),
        ({"x": X, "y": X[:, 0] * 1j}, "y holds complex128"),
        ({"x": X, "mask": X[:, :1] > 0}, "mask has shape (12, 1), and x has (12, 2)"),
        ({"x": X, "mask": X}, "mask must be True where x was observed"),
    ],
)
def test_arrays_that_do_not_fit_are_named(
    arrays: dict[str, Any], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, **arrays)
    sentence = refusal(path)
    assert says in sentence
    assert str(path) in sentence


ROWS = "".join(f"{i},{i / 7},{'ab'[i % 2]}\n" for i in range(12))
TABLE = "one,two,kind\n" + ROWS


@pytest.mark.parametrize(
    ("text", "label", "says"),
    [
        (
            TABLE.replace(",a\n", ",2 kg\n").replace(",b\n", ",3 kg\n"),
            None,
            "column kind holds '2 kg' in row 1 (counted from 1",
        ),
        (
            TABLE.replace("kind", "kind,more").replace("a\n", "a,5%\n").replace("b\n", "b,\n"),
            None,
            "give `kinds={'more': 'category'}` if it holds categories, or `drop=['more']`",
        ),
        (TABLE.replace("\n3,", "\nthree,"), "kind", "column one holds 'three' in row 4"),
        (TABLE.replace("\n3,", "\ninf,"), "kind", "column one holds 'inf' in row 4"),
        (TABLE, "knd", "`label='knd'` is not one of"),
        (TABLE, "knd", "of its columns (did you mean kind?), which are one, two, kind"),
        (TABLE.replace(",a\n", ",\n").replace(",b\n", ",\n"), "kind", "is empty in every row"),
        ("kind\n" + "a\n" * 12, "kind", "no column is left for x"),
        (ROWS.replace(",a", "").replace(",b", ""), None, "has no header"),
        (TABLE.replace("one", ""), "kind", "to_csv(index=False)"),
        (TABLE.replace("one", "two"), "kind", "two columns named two"),
        ("one,two\n", None, "has a header and no rows"),
        (TABLE + "1,2,3,4,5\n", "kind", "line 14 has 5 fields (1, 2, 3, 4, 5), and the header 3"),
        ("one,two\n1,2\n", None, "has 1 rows, and at least 10 are needed"),
    ],
)
def test_tables_that_do_not_fit_are_named(
    text: str, label: str | None, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "d.csv"
    path.write_text(text)
    sentence = refusal(path, label=label)
    assert says in sentence
    assert str(path) in sentence


def pictures(folder: Path) -> list[Path]:
    paths = [folder / f"{place:02}.png" for place in range(12)]
    for path in paths:
        Image.new("L", (4, 3)).save(path)
    return paths


def read_all(folder: Path) -> None:
    for split in data.load(folder).splits.values():
        list(split.chunks(4))


def test_an_image_of_another_size_is_named_with_the_first(tmp_path: Path) -> None:
    paths = pictures(tmp_path)
    Image.new("L", (5, 3)).save(paths[6])
    sentence = refusal(tmp_path)
    assert f"{paths[0]} has 3 x 4 pixels, and {paths[6]} has 3 x 5" in sentence


@pytest.mark.parametrize("keep", [0, 20, 45])
@pytest.mark.parametrize("resident", [True, False])
def test_an_unreadable_image_is_named_whenever_it_is_read(
    keep: int, resident: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not resident:
        monkeypatch.setattr(image_rows, "RESIDENT_BYTES", 0)
    path = pictures(tmp_path)[6]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=f"{re.escape(str(path))} cannot be read as an image"):
        read_all(tmp_path)


def test_an_image_of_sixteen_bits_is_refused_not_cut_off(tmp_path: Path) -> None:
    for path in pictures(tmp_path):
        Image.fromarray(np.full((3, 4), 999, np.uint16)).save(path)
    assert "holds more than 8 bits per pixel (mode I;16)" in refusal(tmp_path)


def test_images_beside_labelled_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    pictures(tmp_path / "cat")
    pictures(tmp_path)
    assert "images both in sub-folders, which are labels, and next to them" in refusal(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    assert f"{tmp_path} holds no images" in refusal(tmp_path)


def test_names_and_paths_that_lead_nowhere(tmp_path: Path) -> None:
    sentence = refusal("mnits", data_dir=tmp_path)
    assert "`data='mnits'` is not known (the nearest name is mnist)" in sentence
    assert "digits, mnist, fashion-mnist, kmnist, omniglot, binarized-mnist" in sentence
    assert "which must exist" in sentence
    assert "nearest name is cifar10" in refusal("ciphar10", data_dir=tmp_path)
    missing = tmp_path / "no.npy"
    for name in (missing, str(missing), "no-such-file.csv", "no/such/folder"):
        assert f"`data='{name}'`: there is no such file or folder" in refusal(name)
    (tmp_path / "d.xlsx").touch()
    assert (
        "files of type .xlsx are not read; give a .csv, .tsv, .parquet, .npy, .npz, .h5ad"
        in refusal(tmp_path / "d.xlsx")
    )


def test_a_label_goes_with_a_table_only(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", X)
    for name in ("digits", tmp_path / "d.npy"):
        sentence = refusal(name, label="y")
        assert "`label='y'` names a column of a table (.csv, .tsv, .parquet, .h5ad)" in sentence
        assert f"and {name} is not one: leave it out" in sentence


@pytest.mark.parametrize("binarize", ["dynamic", "static", "threshold"])
def test_only_intensities_are_binarized(binarize: str, tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", X)
    sentence = refusal(tmp_path / "d.npy", binarize=binarize)
    assert f"`binarize='{binarize}'` draws from intensities in [0, 1], and {tmp_path}" in sentence
    assert "give `binarize='none'`" in sentence


def test_options_are_checked() -> None:
    assert "`binarize='often'` is not known: give one of none, dynamic" in refusal(
        "digits", binarize="often"
    )
    assert "seed is -1" in refusal("digits", seed=-1)


BYTES = np.random.default_rng(0).integers(0, 256, (12, 2), dtype=np.uint8)


@pytest.mark.parametrize(
    ("x", "scaling", "says"),
    [
        (X[:, :1], data.Scaling("counts"), "has shape (1,), and the model was fitted on (2,)"),
        (X / 24, data.Scaling("8-bit"), "does not hold 8-bit intensities"),
        (BYTES, data.Scaling("as-is"), "holds 8-bit intensities"),
        (BYTES, data.Scaling("counts", scale=(16.0,)), "fitted on counts over 16"),
        (X - 0.5, data.Scaling("counts"), "not whole numbers from 0"),
        (X, data.Scaling("standardized", (0.0,), (1.0,)), "fitted on tables of 1 columns"),
    ],
)
def test_new_data_in_another_unit_is_refused(
    x: NDArray[Any], scaling: data.Scaling, says: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "d.npy", x)
    with pytest.raises(InputError, match=re.escape(says)):
        data.load_new(tmp_path / "d.npy", scaling=scaling, shape=(2,))


def test_a_label_the_model_does_not_know_is_refused(tmp_path: Path) -> None:
    (tmp_path / "eel").mkdir()
    pictures(tmp_path / "eel")
    np.savez(tmp_path / "d.npz", x=BYTES, y=np.full(12, "eel"))
    schema = Schema(labels=("cat", "dog"))
    for path, shape in ((tmp_path, (1, 3, 4)), (tmp_path / "d.npz", (2,))):
        with pytest.raises(InputError, match="the label 'eel', which the model was not fitted on"):
            data.load_new(path, scaling=data.Scaling("8-bit"), shape=shape, schema=schema)
