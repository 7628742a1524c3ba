"""What a run answers about tables: rows, columns and covariates go by their names."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ppvae.errors import InputError
from ppvae.fitted import Run
from tests.support.fits import leave_out_slow_parts, small


def plain(rows: int = 60) -> pd.DataFrame:
    """A table of numbers, whose rows have names."""
    values = np.random.default_rng(3).normal(size=(rows, 2))
    return pd.DataFrame(values, index=[f"r{i}" for i in range(rows)], columns=["a", "b"])


def batches(rows: int = 60) -> pd.DataFrame:
    """The same beside a batch, a site and a label."""
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
