"""Methods of a run on tables: rows, columns and covariates are matched by name."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ppvae.data import from_arrays, load
from ppvae.data.annotations import Annotations
from ppvae.data.columns import Column
from ppvae.data.options import Schema
from ppvae.data.scaling import AS_IS
from ppvae.errors import InputError
from ppvae.fitted import Run
from ppvae.run.pictured import table_of
from tests.support.fits import leave_out_slow_parts, small


def plain(rows: int = 60) -> pd.DataFrame:
    """A table of numbers, whose rows have names."""
    values = np.random.default_rng(3).normal(size=(rows, 2))
    return pd.DataFrame(values, index=[f"r{i}" for i in range(rows)], columns=["a", "b"])


def batches(rows: int = 60) -> pd.DataFrame:
    """The same with a batch, a site and a label."""
    names = {"batch": ["u", "v", "w"], "site": ["n", "s"], "kind": ["p", "q"]}
    return plain(rows).assign(**{key: np.resize(each, rows) for key, each in names.items()})


def briefly(factory: pytest.TempPathFactory, **settings: Any) -> Run:
    """A fit of one epoch, in memory."""
    with pytest.MonkeyPatch.context() as patch:
        leave_out_slow_parts(patch)
        return small(factory.getbasetemp(), epochs=1, in_memory=True, **settings)


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A fit that is conditional on the batch."""
    more: dict[str, Any] = {"covariates": ["batch"], "label": "kind", "drop": ["site"]}
    return briefly(tmp_path_factory, data=batches(), model="ConditionalVAE", **more)


def test_covariates_go_with_the_rows_of_their_names(batched: Run) -> None:
    frame = batches()
    codes = batched.encode(frame, samples=0)
    decoded = batched.decode(codes, frame[["batch"]])
    pd.testing.assert_frame_equal(batched.decode(codes, frame), decoded)  # the others are left out
    pd.testing.assert_frame_equal(batched.decode(codes, frame["batch"]), decoded)
    turned = codes[::-1]
    for wrong in (frame, frame["batch"], {"batch": frame["batch"]}):
        with pytest.raises(InputError, match=r"give covariates\.loc\[z\.index\]"):
            batched.decode(turned, wrong)
    pd.testing.assert_frame_equal(batched.decode(turned, frame.loc[turned.index]), decoded[::-1])
    with pytest.raises(InputError, match="give a value of each of batch"):
        batched.decode(codes, frame[["site"]])


def test_the_one_covariate_needs_no_name(batched: Run) -> None:
    frame = batches()
    x, batch = frame[["a", "b"]], frame["batch"]
    expected = batched.encode(frame, samples=0).drop(columns="label")
    named: list[Any] = [batch, frame[["batch"]], {"batch": batch}, frame]
    for y in named:
        pd.testing.assert_frame_equal(batched.encode(x, y, samples=0), expected)
    for values in (batch, list(batch), batch.to_numpy()):
        found = batched.encode(x.to_numpy(), values, samples=0)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(InputError, match=r"y\.loc\[x\.index\]"):
        batched.encode(x, batch[::-1])
    with pytest.raises(InputError, match="the covariate batch is 'p'"):
        batched.encode(x, frame["kind"])
    with pytest.raises(InputError, match=r"2 values of batch.* 60 rows"):
        batched.encode(x, ["u", "v"])


def test_several_covariates_need_names(tmp_path_factory: pytest.TempPathFactory) -> None:
    frame = batches()
    more: dict[str, Any] = {"covariates": ["batch", "site"], "drop": ["kind"]}
    run = briefly(tmp_path_factory, data=frame, model="ConditionalVAE", **more)
    x = frame[["a", "b"]].to_numpy()
    np.testing.assert_allclose(run.encode(x, frame, samples=0), run.encode(frame, samples=0), 1e-5)
    with pytest.raises(InputError, match="a mapping or a table of batch, site"):
        run.encode(x, frame["batch"])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A fit of a table with a column of each kind."""
    counts = np.random.default_rng(4).poisson(3, 60)
    frame = batches()[["a", "b", "batch"]].assign(n=counts, ok=np.arange(60) % 2 == 0)
    return briefly(tmp_path_factory, data=frame, likelihood=...)


def holed(name: str, column: Any) -> pd.DataFrame:
    """Six new rows, of which one column is another."""
    frame = pd.DataFrame({"a": 1.5, "b": 0.5, "batch": "u", "n": 2, "ok": True}, range(6))
    return frame.assign(**{name: column})


@pytest.mark.parametrize(
    ("name", "column", "dtype"),
    [
        ("a", ["1.25", "?", "-", "NA", "0.5", "1"], None),
        ("a", pd.array([1, None, 3, 4, 5, 6], "Int64"), "Float64"),
        ("a", pd.array([1, None, 3, 4, 5, 6], "Float32"), None),
        ("a", [None, 1, 2.5, 3, 4, 5], float),
        ("a", 6 * [np.nan], float),
        ("batch", ["u", "?", " v", "-", "w", "u"], None),
        ("batch", pd.Categorical(["u", None, "u", None, None, "u"]), None),
        ("batch", pd.Categorical(["w", "v", "u", None, None, "u"], ["w", "v", "u"], ordered=True),
         None),
        ("batch", 6 * [np.nan], "str"),
        ("n", pd.array([1, 2, 3, None, None, 4], "Int64"), "Float64"),
        ("ok", pd.array([True, None, True, None, None, True], "boolean"), None),
        ("ok", [True, None, True, None, None, True], None),
    ],
)  # fmt: skip
def test_cells_are_filled_that_were_read_as_empty(
    mixed: Run, name: str, column: Any, dtype: Any
) -> None:
    frame = holed(name, column)
    seen = next(mixed.new_rows(frame).chunks(9))["mask"].numpy()
    filled = mixed.impute(frame, samples=20)
    place = frame.columns.get_loc(name)
    pd.testing.assert_frame_equal(filled.drop(columns=name), frame.drop(columns=name))
    assert filled[name].dtype == (frame[name].dtype if dtype is None else dtype)
    assert not seen[:, place].all()
    for row, is_seen in enumerate(seen[:, place]):
        if is_seen:
            assert filled[name][row] == frame[name][row]
    levels: dict[str, set[Any]] = {"batch": {"u", "v", " v", "w"}, "ok": {True, False}}
    if name in levels:
        assert set(filled[name]) <= levels[name]
    else:
        assert np.isfinite(filled[name].astype(float)).all()
    # What was read of the filled table is what was read before, and the means.
    again = next(mixed.new_rows(filled).chunks(9))
    assert "mask" not in again


def test_tables_begin_with_the_names_of_their_rows(batched: Run) -> None:
    rows = batched.data().test
    table = table_of(batched, rows.take(torch.arange(2))["x"], rows.annotations.select(slice(2)))
    assert table is not None
    codes = batched.encode(samples=0)[:2]
    pd.testing.assert_index_equal(table.index, codes.index)
    assert codes.index.name == "name"


def test_the_names_of_rows_take_no_column_s_name() -> None:
    schema = Schema(columns=(Column("name", "real"), Column("name_", "real")))
    run: Any = SimpleNamespace(schema=schema, scaling=AS_IS)
    for names, first in ((np.array(["r0"], dtype=object), "name__"), (None, "row")):
        table = table_of(run, torch.ones(1, 2), Annotations(torch.tensor([7]), names))
        assert table is not None
        assert table.to_csv().splitlines()[0] == f"{first},name,name_"


def test_columns_are_filled_by_their_places(tmp_path_factory: pytest.TempPathFactory) -> None:
    frame = plain().set_axis([0, 1], axis=1)
    run = briefly(tmp_path_factory, data=frame)
    holes = frame.mask(np.eye(60, 2, dtype=bool))
    filled = run.impute(holes[[1, 0]], samples=20)
    pd.testing.assert_frame_equal(filled.where(holes.notna()), holes[[1, 0]])
    of_array = run.impute(holes.to_numpy(), samples=20)  # in the columns of the fit, 6 digits
    np.testing.assert_allclose(filled[[0, 1]], of_array, rtol=1e-5, atol=1e-5)


def test_columns_of_arrays_keep_their_names(tmp_path_factory: pytest.TempPathFactory) -> None:
    frame = plain()
    run = briefly(tmp_path_factory, data=from_arrays(frame))
    codes = run.encode(frame, samples=0)
    np.testing.assert_array_equal(codes, run.encode(frame.to_numpy(), samples=0))
    turned, others = frame[["b", "a"]], frame.rename(columns={"b": "c"})
    ways: list[Any] = [run.encode, run.new_data, lambda x: run.new_data({"x": x})]
    for ask in ways:
        ask(frame)
        with pytest.raises(InputError, match=r"column 0 .* 'b', and the model was fitted on 'a'"):
            ask(turned)
        with pytest.raises(InputError, match="order of the fit, a, b"):
            ask(others)


@pytest.mark.slow
def test_runs_are_compared_on_rows_whatever_stands_beside_them(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    frame = batches()
    one = briefly(tmp_path_factory, data=frame, label="kind", drop=["batch", "site"])
    two = briefly(tmp_path_factory, data=frame, label="site", drop=["batch", "kind"])
    bare = briefly(tmp_path_factory, data=frame[["a", "b"]])
    found = one.compare(two, bare, samples=5)
    likely = one.log_p(samples=5).mean()  # programs and seed are the same
    assert [row.log_p.mean for row in found.rows] == pytest.approx(3 * [likely], abs=1e-4)
    with pytest.raises(InputError, match="fitted to different data"):
        one.compare(briefly(tmp_path_factory, data=frame[["b", "a"]]), samples=5)
    counts = pd.DataFrame(np.random.default_rng(4).binomial(2, 0.9, (60, 3)), columns=list("abc"))
    sized, unsized = (
        briefly(tmp_path_factory, data=counts, likelihood="Poisson", size_factor=size)
        for size in ("total", "none")
    )
    with pytest.raises(InputError, match=r"log p\(x\) and log p\(x \| size factor\)"):
        unsized.compare(sized, samples=5)
    others = frame.assign(kind=frame["kind"].to_numpy()[::-1])
    with pytest.raises(InputError, match="is not the data"):  # of a fit the labels are a part
        one.check_fitted_to(load(others, label="kind", drop=["batch", "site"]))


def test_an_empty_table_is_refused(mixed: Run) -> None:
    for ask in (mixed.encode, mixed.impute, mixed.new_data):
        with pytest.raises(InputError, match="no rows"):
            ask(holed("a", 1.0)[:0])
