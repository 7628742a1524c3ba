"""The label column of a table: codes, names, and unknown labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ppvae import data
from ppvae.data import Data
from ppvae.data.options import ReadOptions
from tests.support.frames import FRAME, PLACES, ROWS


def test_labels_that_are_empty_are_not_known() -> None:
    table = FRAME.assign(code=FRAME["code"].astype("float").where(PLACES % 5 > 0))
    loaded = data.load(table, label="code")
    for split in loaded.splits.values():
        y = split.take(torch.arange(len(split)))["y"]
        numbers = split.annotations.numbers.numpy()
        np.testing.assert_array_equal(y, np.where(numbers % 5 > 0, numbers % 2, -1))
    assert loaded.labels == ("0", "1")
    assert "8 labels are unknown" in loaded.describe()


def label_of(loaded: Data) -> list[int]:
    """The labels of all rows, in the order of the file."""
    pairs = [
        (number, code)
        for split in loaded.splits.values()
        for number, code in zip(
            split.annotations.numbers.tolist(),
            split.take(torch.arange(len(split)))["y"].tolist(),
            strict=True,
        )
    ]
    return [code for _, code in sorted(pairs)]


def test_a_label_that_is_decimals_is_that_in_every_part() -> None:
    age = FRAME.assign(age=30.5 + PLACES)
    loaded = data.load(
        (age, age[:9].assign(age=40.0), age[:9].assign(age=[30, 50, 60] * 3)), label="age"
    )
    for split in loaded.splits.values():
        assert split.take(torch.arange(3))["y"].is_floating_point()
    assert type(loaded.schema).from_dict(loaded.schema.to_dict()).is_decimal


@pytest.mark.parametrize(
    ("label", "names"),
    [
        (["00501", "10001"], ("00501", "10001")),
        ([10**17, 10**17 + 1], (str(10**17), str(10**17 + 1))),
        (["18-25", "26-35"], ("18-25", "26-35")),
        (["None", "Severe"], ("None", "Severe")),
        ([" yes", "no"], ("no", "yes")),
        ([7.0, 12.0], ("7", "12")),
    ],
)
@pytest.mark.parametrize("where", ["memory", "file", "categories"])
def test_labels_are_called_as_they_are_written(
    where: str, label: list[Any], names: tuple[str, ...], tmp_path: Path
) -> None:
    table = FRAME.assign(kind=label * 20)
    if where == "categories":
        table["kind"] = table["kind"].astype(str if label[0] != 7.0 else int).astype("category")
    thing: Any = table
    if where == "file":
        thing = tmp_path / "t.csv"
        table.to_csv(thing, index=False)
    loaded = data.load(thing, label="kind")
    assert loaded.labels is not None
    assert set(loaded.labels) == set(names)
    written = [str(label[i % 2]).strip().removesuffix(".0") for i in PLACES]
    assert [loaded.labels[code] for code in label_of(loaded)] == written


def test_a_label_of_minus_one_is_not_known() -> None:
    loaded = data.load(FRAME.assign(code=PLACES % 3 - 1), label="code")
    assert loaded.labels == ("0", "1")
    assert label_of(loaded) == (PLACES % 3 - 1).tolist()
    new = data.load_new(
        FRAME.assign(code=np.nan), scaling=loaded.scaling, shape=loaded.shape,
        options=ReadOptions(label="code", may_lack=frozenset({"index"})), schema=loaded.schema,
    )  # fmt: skip
    assert (new.take(torch.arange(ROWS))["y"] == -1).all()
