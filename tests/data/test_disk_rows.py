"""Laws of rows that stay on disk: their batches equal those in memory."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from ppvae import data
from ppvae.data import blocks, stored, streamed
from ppvae.data.in_memory import InMemorySplit
from ppvae.data.pools import Blocks
from ppvae.data.streamed import StreamedSplit
from ppvae.data.survey import Survey
from ppvae.errors import InputError
from ppvae.fit import fit, resume
from tests.support.fits import SMALL, quick

__all__ = ["quick"]  # a fixture: fits without pictures

NOISE = np.random.default_rng(0)
TABLE = NOISE.normal(size=(600, 5)).astype(np.float32)
BYTES = NOISE.integers(0, 256, (300, 6, 4, 3), dtype=np.uint8)

ARRAYS: dict[str, NDArray[Any]] = {
    "float32": TABLE,
    "float64": TABLE.astype(np.float64),
    "float16": TABLE.astype(np.float16),
    "big-endian": TABLE.astype(">f4"),
    "Fortran order": np.asfortranarray(TABLE),
    "big-endian counts": NOISE.integers(0, 9, (300, 4)).astype(">i2"),
    "truth values": TABLE > 0,
    "one number a row": TABLE[:, 0],
    "grey images": BYTES[..., 0],
    "colours last": BYTES,
}


def check_same(path: Path, **how: Any) -> data.Data:
    """Batches of data on disk equal those of data in memory."""
    inside, outside = data.load(path, **how), data.load(path, data_memory=0, **how)
    assert outside.scaling == inside.scaling
    assert outside.schema == inside.schema
    for part, own in inside.splits.items():
        other = outside.splits[part]
        assert isinstance(own, InMemorySplit)
        assert isinstance(other, StreamedSplit)
        order = torch.randperm(len(own), generator=torch.Generator().manual_seed(0)).split(32)
        for split in (other, other.frozen(0)):
            fixed = own if split is other else own.frozen(0)
            torch.manual_seed(0)
            wanted = list(fixed.batches(order))
            torch.manual_seed(0)
            for batch, one in zip(split.batches(order), wanted, strict=True):
                assert list(batch) == list(one)
                torch.testing.assert_close(batch, one, rtol=0, atol=0)
        assert torch.equal(other.annotations.numbers, own.annotations.numbers)
        for name, values in own.beside.items():
            assert torch.equal(other.beside[name], values)
    assert inside.source is not None
    assert outside.source is not None
    for part, rows in inside.source.published().items():
        assert outside.source.published()[part].digest() == rows.digest()
    return outside


@pytest.mark.parametrize("name", ARRAYS)
def test_rows_of_an_array_on_disk_are_those_in_memory(name: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ARRAYS[name])
    (tmp_path / "x.npy").chmod(0o444)
    is_grey = name in ("grey images", "colours last")
    for binarize in ("none", "static", "dynamic") if is_grey else ("none",):
        check_same(tmp_path / "x.npy", binarize=binarize)


def frame() -> pd.DataFrame:
    table = pd.DataFrame(TABLE, columns=list("abcde"))
    table["n"] = NOISE.poisson(3, len(table))
    table["word"] = NOISE.choice(["u", "v", "w"], len(table))
    table["kind"] = NOISE.choice(["x", "y"], len(table))
    table["batch"] = NOISE.choice(["p", "q"], len(table))
    table["depth"] = NOISE.uniform(0.5, 2, len(table))
    table["id"] = [f"row-{number}" for number in range(len(table))]
    table["part"] = NOISE.choice(["train", "valid", "test"], len(table))
    table.loc[::37, "b"], table.loc[::41, "word"] = np.nan, None
    return table


@pytest.mark.parametrize("group", [50, 1000])
def test_a_table_on_disk_has_all_that_one_in_memory_has(tmp_path: Path, group: int) -> None:
    file = tmp_path / "x.parquet"
    frame().to_parquet(file, row_group_size=group)
    check_same(file, label="kind", covariates=["batch"], index="id", split_column="part")
    found = check_same(file, label="kind", index="id", size_factor="depth", drop=["part", "batch"])
    assert set(found.train.extra_names) == {"y", "mask", "size_factor"}
    assert "rows stay on disk" in found.describe()


@pytest.mark.parametrize("is_sparse", [False, True])
def test_cells_on_disk_are_those_in_memory(tmp_path: Path, *, is_sparse: bool) -> None:
    from scipy.sparse import csc_matrix, csr_matrix

    counts = NOISE.poisson(1.0, (200, 8)).astype(np.float32)
    counts[:, 0] += 1
    obs = pd.DataFrame({"kind": NOISE.choice(["x", "y"], 200)}, index=[f"c{i}" for i in range(200)])
    file = tmp_path / "x.h5ad"
    anndata.AnnData(csr_matrix(counts) if is_sparse else counts, obs=obs).write_h5ad(file)
    check_same(file, label="kind")
    check_same(file, covariates=["kind"], size_factor="total")
    if is_sparse:
        anndata.AnnData(csc_matrix(counts), obs=obs).write_h5ad(file)
        with pytest.raises(InputError, match=r"sparse by columns.*tocsr"):
            data.load(file, data_memory=0)


def test_a_pass_finds_the_moments_of_all_rows() -> None:
    x = torch.randn(1000, 3, dtype=torch.float64) * 5 + 1e3
    x[:, 2] = 0.1
    mask = torch.rand(1000, 3) < 0.7
    for seen in (None, mask):
        survey = Survey()
        for rows in torch.arange(1000).split(70):
            chunk = {"x": x[rows]} | ({} if seen is None else {"mask": seen[rows]})
            survey.add(chunk, rows)
        own = x if seen is None else x.masked_fill(~seen, torch.nan)
        mean, deviation = survey.moments
        torch.testing.assert_close(mean, own.nanmean(0), rtol=1e-12, atol=0)
        wanted = (own - own.nanmean(0)).square().nanmean(0).sqrt()
        torch.testing.assert_close(deviation[:2], wanted[:2], rtol=1e-9, atol=0)
        assert (float(mean[2]), float(deviation[2])) == (0.1, 0.0)


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as large, and is read in pieces."""
    monkeypatch.setattr(stored, "SMALL", 1000)
    monkeypatch.setattr(stored, "CHUNK", 3000)
    monkeypatch.setattr("ppvae.data.numpy_files._MAPPED", 1000)
    np.save(tmp_path / "x.npy", TABLE)
    return tmp_path / "x.npy"


def test_parts_of_large_data_keep_the_order_of_the_file(large: Path) -> None:
    held, on_disk = data.load(large), data.load(large, data_memory=0)
    for part, split in held.splits.items():
        numbers = split.annotations.numbers
        assert bool((numbers[1:] > numbers[:-1]).all())
        inside = split.to("cpu")
        assert isinstance(inside, InMemorySplit)  # what is held lies in memory once it is moved
        assert isinstance(on_disk.splits[part].to("cpu"), StreamedSplit)
        rows = torch.arange(len(split)).flip(0)
        assert torch.equal(inside.take(rows)["x"], on_disk.splits[part].take(rows)["x"])
        raw = torch.from_numpy(TABLE)[numbers]
        torch.testing.assert_close(inside.take(rows.flip(0))["x"], held.scaling.apply(raw))
    assert "rows are held in memory" in held.describe()
    mean = TABLE[held.train.annotations.numbers].mean(0, dtype=np.float64)
    np.testing.assert_allclose(held.scaling.loc or (), mean, rtol=1e-9)


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, r"NaN or an infinity in 1 of 600 rows, first in row 7 "),
                        (1e30, r"holds 1e\+30 in row 7 ")],
)  # fmt: skip
def test_a_number_that_cannot_be_used_is_named_by_its_row(
    large: Path, value: float, said: str
) -> None:
    array = np.load(large)
    array[7, 2] = value
    np.save(large, array)
    with pytest.raises(InputError, match=said):
        data.load(large, scale="none", data_memory=0)


def test_a_file_that_is_cut_off_is_refused(large: Path) -> None:
    os.truncate(large, 5000)
    with pytest.raises(InputError, match=r"cannot be read as a \.npy file"):
        data.load(large)


def test_a_file_that_is_written_while_it_is_read_is_refused(large: Path) -> None:
    train = data.load(large, data_memory=0).train
    train.take(torch.arange(3))
    np.save(large, TABLE[:300])
    with pytest.raises(InputError, match="was written while it was read"):
        next(iter(train.chunks(8)))


def test_a_row_group_that_is_too_large_to_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.data.parquet_file.POOL", 2000)
    pd.DataFrame(TABLE, columns=list("abcde")).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"row group has 600 rows.*row_group_size=12"):
        data.load(tmp_path / "x.parquet", data_memory=0)


def test_threads_that_read_compute_alone_and_the_others_as_before() -> None:
    """OpenMP would give each thread a team, whose members spin while they wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with ThreadPoolExecutor(1, initializer=streamed.compute_alone) as pool:
            assert pool.submit(torch.get_num_threads).result() == 1
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_shuffle_of_blocks_passes_each_row_once_and_each_block_in_one_pool() -> None:
    of = torch.arange(1000) // 50
    pooled = Blocks(of, together=4)
    rows = pooled.shuffled(torch.arange(1000), torch.Generator().manual_seed(0))
    assert torch.equal(rows.sort().values, torch.arange(1000))
    pools = [set(of[part].tolist()) for part in rows.split(200)]
    assert all(len(pool) == 4 for pool in pools)
    assert len(set().union(*pools)) == 20
    again = pooled.shuffled(torch.arange(1000), torch.Generator().manual_seed(1))
    assert {frozenset(of[part].tolist()) for part in again.split(200)} != set(map(frozenset, pools))
    within = rows[:200]
    assert not torch.equal(of[within], of[within].sort().values)
    # Of one pool it is the order of rows that are read one by one.
    exact = torch.arange(1000)[torch.randperm(1000, generator=torch.Generator().manual_seed(0))]
    one = Blocks(of, together=20).shuffled(torch.arange(1000), torch.Generator().manual_seed(0))
    assert torch.equal(one, exact)


def test_a_pass_over_a_pool_reads_each_block_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "POOL", 4000)
    pd.DataFrame(TABLE, columns=list("abcde")).to_parquet(tmp_path / "x.parquet", row_group_size=30)
    train = data.load(tmp_path / "x.parquet", data_memory=0).train
    assert isinstance(train, StreamedSplit)
    source: Any = train.rows
    block, read = type(source.stored).block, []

    def counted(self: Any, number: int, *ends: int) -> Any:
        read.append(number)
        return block(self, number, *ends)

    monkeypatch.setattr(type(source.stored), "block", counted)
    assert train.blocks is not None
    order = train.blocks.shuffled(torch.arange(len(train)), torch.Generator().manual_seed(0))
    for _ in train.batches(order.split(16)):
        pass
    assert len(read) <= 20 + 3  # those of the pass before may be kept


@pytest.mark.slow
def test_a_fit_on_disk_is_the_fit_in_memory_and_goes_on_alike(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", TABLE)
    how: dict[str, Any] = {
        "data": tmp_path / "x.npy", "likelihood": "Gaussian", "latent_dim": 2, "batch_size": 64,
        "encoder": SMALL, "decoder": SMALL, "compile": "off", "schedule": "none",
    }  # fmt: skip
    runs = [
        fit(**how, epochs=2, out=tmp_path / "memory"),
        fit(**how, epochs=2, out=tmp_path / "disk", data_memory=0),
        fit(**how, epochs=1, out=tmp_path / "both", data_memory=0),
    ]
    runs[2] = resume(runs[2].path, epochs=2)
    wanted, *others = (run.state("last")["weights"] for run in runs)
    for weights in others:
        torch.testing.assert_close(weights, wanted, rtol=0, atol=0)
    np.save(tmp_path / "x.npy", TABLE * 2)
    with pytest.raises(InputError, match="is not the data that"):
        resume(runs[1].path, epochs=3, data_memory=0)


@pytest.mark.parametrize(
    ("dtype", "value"), [("u8", 2**64 - 1), ("u8", 2**63), ("i8", -(2**63)), ("i4", 2**24 + 1)]
)
@pytest.mark.parametrize("memory", [0, None])
def test_integers_that_float32_would_round_are_refused_wherever_they_lie(
    dtype: str, value: int, memory: float | None, tmp_path: Path
) -> None:
    x = np.zeros((300, 2), dtype=dtype)
    x[150, 1] = value
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(InputError, match=r"an integer beyond 16777216.*row 150"):
        data.load(tmp_path / "x.npy", data_memory=memory)
