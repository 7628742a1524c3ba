"""Tables: kinds of columns, and all faults in one error."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ppvae import data
from ppvae.data import Data
from ppvae.data.columns import Column, ColumnKind
from ppvae.data.options import ReadOptions
from ppvae.errors import InputError
from tests.support.frames import FRAME, PLACES, ROWS


def x_of(loaded: Data) -> pd.DataFrame:
    """Scaled x of all rows, in the order of the file, with the mask as NaN."""
    blocks = []
    for split in loaded.splits.values():
        batch = split.take(torch.arange(len(split)))
        x = batch["x"].masked_fill(~batch["mask"], torch.nan) if "mask" in batch else batch["x"]
        blocks.append(pd.DataFrame(x.numpy(), index=split.annotations.numbers.numpy()))
    return pd.concat(blocks).sort_index()


def test_a_column_is_what_its_values_are() -> None:
    loaded = data.load(FRAME)
    assert loaded.columns == (
        Column("bill", "real"),
        Column("year", "real"),
        Column("eggs", "count"),
        Column("ringed", "category", ("False", "True")),
        Column("species", "category", ("Adelie", "Chinstrap", "Gentoo")),
        Column("code", "category", ("0", "1")),
    )


def test_reals_are_standardized_and_all_else_is_as_it_is() -> None:
    x = x_of(data.load(FRAME))
    train = FRAME["bill"]
    np.testing.assert_allclose(np.corrcoef(x[0], train)[0, 1], 1, atol=1e-6)
    np.testing.assert_array_equal(x[2], FRAME["eggs"])
    np.testing.assert_array_equal(x[3], FRAME["ringed"])
    np.testing.assert_array_equal(x[4], [["Adelie", "Chinstrap", "Gentoo"].index(s)
                                         for s in FRAME["species"]])  # fmt: skip


def test_what_a_column_is_can_be_said() -> None:
    kinds: dict[str, ColumnKind] = {"year": "category", "eggs": "real", "code": "count"}
    columns = {c.name: c for c in data.load(FRAME, kinds=kinds).columns or ()}
    assert columns["year"] == Column("year", "category", ("2007", "2008", "2009"))
    assert columns["eggs"].kind == "real"
    assert columns["code"].kind == "count"


@pytest.mark.parametrize("mark", ["", "NA", "?", "nan", "-", "N/A"])
def test_empty_cells_become_a_mask(mark: str, tmp_path: Path) -> None:
    table = FRAME.astype(object)
    table.loc[5, "bill"] = table.loc[7, "species"] = table.loc[9, "eggs"] = mark
    table.to_csv(tmp_path / "t.csv", index=False)
    loaded = data.load(tmp_path / "t.csv")
    empty = np.argwhere(x_of(loaded).isna().to_numpy()).tolist()
    assert empty == [[5, 0], [7, 4], [9, 2]]
    assert "3 empty cells are left out by a mask" in loaded.describe()
    assert loaded.columns == data.load(FRAME).columns


def test_covariates_are_numbers_with_names() -> None:
    loaded = data.load(FRAME, covariates=["species", "bill"], label="code")
    assert loaded.covariate_names == (
        "species=Adelie",
        "species=Chinstrap",
        "species=Gentoo",
        "bill",
    )
    assert [c.name for c in loaded.columns or ()] == ["year", "eggs", "ringed"]
    y = loaded.train.take(torch.arange(len(loaded.train)))["y"]
    assert (y[:, :3].sum(1) == 1).all()
    whole = torch.cat([s.take(torch.arange(len(s)))["y"][:, 3] for s in loaded.splits.values()])
    np.testing.assert_allclose([whole.mean(), whole.std(correction=0)], [0, 1], atol=1e-6)
    # The label is then an annotation, and not given to the programs.
    assert loaded.classes == 0
    label = loaded.test.annotations.label
    assert label is not None
    np.testing.assert_array_equal(label, FRAME["code"][loaded.test.annotations.numbers.numpy()])


def test_rows_keep_their_names() -> None:
    table = FRAME.assign(ring=[f"b{i}" for i in PLACES])
    for loaded in (data.load(table, index="ring"), data.load(table.set_index("ring"))):
        known = loaded.valid.annotations
        assert known.index is not None
        assert known.index.tolist() == [f"b{i}" for i in known.numbers.tolist()]
        assert "ring" not in [c.name for c in loaded.columns or ()]


def test_a_column_divides_the_rows() -> None:
    part = np.array(["train", "Validation ", "test"])[np.minimum(PLACES % 5, 2)]
    loaded = data.load(FRAME.assign(part=part), split_column="part")
    for place, split in enumerate(loaded.splits.values()):
        assert split.annotations.numbers.tolist() == [
            i for i in range(ROWS) if min(i % 5, 2) == place
        ]


def test_files_of_their_own_are_valid_and_test(tmp_path: Path) -> None:
    for part, rows in (("train", 30), ("valid", 4), ("test", 6)):
        FRAME.iloc[:rows].to_csv(tmp_path / f"{part}.csv", index=False)
    loaded = data.load(
        tmp_path / "train.csv", valid=tmp_path / "valid.csv", test=tmp_path / "test.csv"
    )
    assert [len(split) for split in loaded.splits.values()] == [30, 4, 6]
    assert len(data.load(tmp_path / "train.csv", test=tmp_path / "test.csv").valid) == 5
    with pytest.raises(InputError, match="is not a file or folder"):
        data.load(tmp_path / "train.csv", valid="digits")
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="it has no column bill, year"):
        data.load(tmp_path / "train.csv", valid=tmp_path / "odd.csv")


def test_without_valid_all_but_the_test_rows_train() -> None:
    loaded = data.load(FRAME, valid="none")
    train, valid, test = (set(s.annotations.numbers.tolist()) for s in loaded.splits.values())
    assert train | test == set(range(ROWS))
    assert not train & test
    assert valid < train
    with pytest.raises(InputError, match="has its own valid part"):
        data.load((FRAME, FRAME, FRAME), valid="none")


def test_size_factors_are_over_their_mean() -> None:
    counts = pd.DataFrame({"a": PLACES, "b": 2 * PLACES + 1, "depth": PLACES + 1.5})
    loaded = data.load(counts, size_factor="depth")
    factors = torch.cat(
        [s.take(torch.arange(len(s)))["size_factor"] for s in loaded.splits.values()]
    )
    np.testing.assert_allclose(factors.mean(), 1, rtol=1e-5)
    assert [c.name for c in loaded.columns or ()] == ["a", "b"]
    total = data.load(counts.drop(columns="depth"), size_factor="total")
    batch = total.test.take(torch.arange(len(total.test)))
    sums = batch["x"].sum(1)
    np.testing.assert_allclose(
        batch["size_factor"] / batch["size_factor"][0], sums / sums[0], rtol=1e-5
    )
    with pytest.raises(InputError, match=r"row 0.*not above 0 in 1 rows"):
        data.load(counts.assign(depth=PLACES), size_factor="depth", kinds={"a": "real"})


def test_kinds_are_those_of_covariates_and_labels_too() -> None:
    loaded = data.load(
        FRAME, covariates=["year"], label="eggs", kinds={"year": "category", "eggs": "category"}
    )
    assert loaded.covariate_names == ("year=2007", "year=2008", "year=2009")
    assert "covariates year (3 levels)" in loaded.describe()
    real = data.load(FRAME, label="code", kinds={"code": "real"})
    assert real.classes == 0
    assert real.covariates == 1


def test_names_of_rows_are_kept_as_they_are(tmp_path: Path) -> None:
    for index in (range(100, 140), PLACES[::-1], pd.date_range("2024", periods=ROWS)):
        known = data.load(FRAME.set_axis(pd.Index(index))).train.annotations
        assert known.index is not None
        assert known.index.tolist() == [list(pd.Index(index))[i] for i in known.numbers.tolist()]
    FRAME.assign(id=[f"{i:05}" for i in PLACES]).to_csv(tmp_path / "t.csv", index=False)
    known = data.load(tmp_path / "t.csv", index="id").test.annotations
    assert known.index is not None
    assert known.index.tolist() == [f"{i:05}" for i in known.numbers.tolist()]
    pairs = pd.MultiIndex.from_product([["a", "b"], range(20)])
    known = data.load(FRAME.set_axis(pairs)).test.annotations
    assert known.index is not None
    assert known.index[0] == "{}, {}".format(*pairs[int(known.numbers[0])])


def test_columns_of_several_names_are_joined() -> None:
    columns = pd.MultiIndex.from_tuples([("bill", "length"), ("bill", "depth")])
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(ROWS, 2)), columns=columns)
    assert [c.name for c in data.load(table).columns or ()] == ["bill_length", "bill_depth"]


def test_many_columns_are_read_in_a_time_that_grows_with_them() -> None:
    wide = pd.DataFrame(np.ones((12, 3000))).add_prefix("g")
    calls = []

    class Counting(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            calls.append(key)
            return super().get(key, default)

    data.load(wide, kinds=Counting.fromkeys(list(map(str, wide)), "real"))
    assert len(calls) <= 2 * wide.shape[1]


WRONG: dict[str, tuple[pd.DataFrame, dict[str, Any], tuple[str, ...]]] = {
    "several": (
        FRAME.assign(bill=FRAME["bill"].astype(str) + " mm", eggs=FRAME["eggs"] / 0.0),
        {"label": "specis"},
        ("has 3 faults: (1) `label='specis'` is not one of its columns (did you mean species?)",
         "(2) column bill holds '40.0 mm' in row 0 (such cells: 40)",
         "(3) column eggs holds 'inf' in row 1"),
    ),
    "wrong names": (
        FRAME,
        {"label": "specis", "kinds": {"bil": "real"}},
        ("(did you mean species?), which are ",
         "(2) 'bil' in `kinds` is not one of its columns (did you mean bill?)."),
    ),
    "names of rows": (
        FRAME.assign(ring=[f"ring-{i}" for i in PLACES]),
        {},
        ("column ring holds 40 different texts (ring-0, ring-1, ...)", "give `index='ring'`"),
    ),
    "dates": (
        FRAME.assign(day=pd.date_range("2024", periods=ROWS)),
        {},
        ("column day holds dates or times", "give `drop=['day']`"),
    ),
    "an empty column": (FRAME.assign(gone=np.nan), {}, ("column gone has no value",)),
    "a large identifier": (
        FRAME.assign(ident=10**9 + PLACES), {}, ("column ident holds an integer beyond 16777216",)
    ),
    "a mixture": (
        FRAME.assign(bill=FRAME["bill"].astype(object).where(PLACES != 3, "broken")),
        {},
        ("column bill holds 'broken' in row 3 (such cells: 1)",),
    ),
    "two parts": (FRAME, {"label": "code", "drop": ["code"]}, ("as label and as drop",)),
    "a covariate that is empty": (
        FRAME.assign(bill=FRAME["bill"].where(PLACES != 3)),
        {"covariates": ["bill"]},
        ("the covariate bill is empty in 1 rows, first in row 3",),
    ),
    "a part of another name": (
        FRAME.assign(part="holdout"),
        {"split_column": "part"},
        ("says 'holdout' in row 0; it must be train, valid or test",),
    ),
    "counts that are none": (
        FRAME, {"kinds": {"bill": "count"}}, ("column bill holds counts, and it holds 40.1",)
    ),
    "words as numbers": (FRAME, {"kinds": {"species": "real"}}, ("is real, and it holds words",)),
    "equal names": (
        FRAME.set_axis([*FRAME.columns[:-1], "bill"], axis=1), {}, ("two columns are named bill",)
    ),
    "no rows": (FRAME[:0], {}, ("it has no rows",)),
    "a size factor of words": (
        FRAME, {"size_factor": "species"}, ("the size factor species holds words",)
    ),
    "a total of numbers": (
        FRAME, {"size_factor": "total"}, ("sums counts, and column bill, year",)
    ),
    "a kind of what is dropped": (
        FRAME, {"drop": ["year"], "kinds": {"year": "real"}}, ("it is given as drop",)
    ),
    "a label that is told": (FRAME, {"label": "bill", "covariates": ["bill"]}, ("as label and",)),
    "no column left": (FRAME[["code"]], {"label": "code"}, ("no column is left for x",)),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_table_has_one_answer(kind: str) -> None:
    table, options, says = WRONG[kind]
    with pytest.raises(InputError) as refusal:
        data.load(table, name="penguins", **options)
    sentence = str(refusal.value)
    assert sentence.startswith("penguins")
    assert "\n" not in sentence
    for words in says:
        assert words in sentence


def test_new_tables_are_read_by_the_names_of_their_columns() -> None:
    fitted = data.load(FRAME, label="code", covariates=["species"])
    options = ReadOptions(label="code", covariates=("species",), may_lack=frozenset({"label"}))
    other = FRAME[["species", "eggs", "year", "ringed", "bill"]].assign(more=1).iloc[:3]
    new = data.load_new(
        other, scaling=fitted.scaling, shape=fitted.shape, options=options, schema=fitted.schema
    ).take(torch.arange(3))
    whole = data.load_new(
        FRAME, scaling=fitted.scaling, shape=fitted.shape, options=options, schema=fitted.schema
    ).take(torch.arange(3))
    assert torch.equal(new["x"], whole["x"])
    assert torch.equal(new["y"], whole["y"])
    odd = other.assign(species="Macaroni").drop(columns="eggs")
    with pytest.raises(InputError) as refusal:
        data.load_new(
            odd, scaling=fitted.scaling, shape=fitted.shape, options=options, schema=fitted.schema
        )
    assert "it has no column eggs, which the model was fitted on" in str(refusal.value)
    assert "'Macaroni' in row 0, which is not one of its levels" in str(refusal.value)


def test_categories_are_no_numbers() -> None:
    loaded = data.load(FRAME)
    with pytest.raises(InputError, match="column ringed, species holds categories"):
        data.suited(loaded, "real")


def test_a_scale_that_is_asked_for_leaves_codes_alone() -> None:
    x = x_of(data.load(FRAME, scale="standardize"))
    np.testing.assert_allclose(x[0].corr(FRAME["bill"]), 1, atol=1e-6)
    assert abs(x[0].mean()) < 0.2
    np.testing.assert_array_equal(x[[2, 3, 5]], FRAME[["eggs", "ringed", "code"]])
    with pytest.raises(InputError, match=r"`scale='unit'` divides all values .* categories"):
        data.load(FRAME, scale="unit")
    with pytest.raises(InputError, match="column ringed, species holds categories"):
        data.suited(data.load(FRAME), "real", "none")


def test_whole_real_numbers_are_no_counts() -> None:
    whole = FRAME.assign(bill=FRAME["bill"].round())
    left = data.load(whole, kinds={"bill": "real"}, scale="none")
    assert left.scaling.kind == "as-is"
    new = data.load_new(FRAME, scaling=left.scaling, shape=left.shape, schema=left.schema)
    np.testing.assert_allclose(new.take(torch.arange(ROWS))["x"][:, 0], FRAME["bill"], rtol=1e-6)
    assert data.load(FRAME[["eggs"]] + 1, scale="none").scaling.kind == "counts"


def test_a_column_may_be_called_by_a_number() -> None:
    table = FRAME.set_axis(range(6), axis=1)
    loaded = data.load(table, label=5, drop=[4])  # type: ignore[arg-type, list-item]  # as pandas has it
    assert loaded.labels == ("0", "1")
    assert [c.name for c in loaded.columns or ()] == ["0", "1", "2", "3"]
    with pytest.raises(InputError, match="`label='9'` is not one of its columns"):
        data.load(table, label=9)  # type: ignore[arg-type]  # likewise


def test_a_schema_survives_a_file() -> None:
    schema = data.load(FRAME, label="code", covariates=["species", "bill"]).schema
    assert type(schema).from_dict(schema.to_dict()) == schema
    assert data.load(FRAME[["bill"]]).schema.to_dict()["columns"] == {
        "kind": "real", "names": ["bill"],
    }  # fmt: skip
    for wrong in ({"columns": 3}, {"columns": [{"name": "a"}]}, {"covariate_columns": [{"a": 1}]}):
        with pytest.raises(InputError):
            type(schema).from_dict(wrong)
