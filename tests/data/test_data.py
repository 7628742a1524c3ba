"""Laws of splits: when noise is drawn, what is reproducible, what depends on training rows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ppvae import data
from ppvae.data import image_rows
from ppvae.data.binarization import uniforms
from ppvae.data.in_memory import InMemorySplit
from ppvae.data.streamed import StreamedSplit


def everything(split: data.Split, size: int = 7) -> data.Batch:
    batches = list(split.chunks(size))
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def intensities(rows: int = 200) -> Tensor:
    return torch.rand(rows, 1, 5, 5, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0)
    for label in ("cat", "dog", "eel"):
        (tmp_path / label).mkdir()
        for place in range(14):
            pixels = noise.integers(0, 256, (6, 4), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{place}.png")
    return tmp_path


def test_training_noise_has_the_intensities_as_mean_and_is_fresh() -> None:
    train = data.from_arrays(intensities(20), binarize="dynamic").train
    bare = data.from_arrays(intensities(20)).train
    torch.manual_seed(0)
    draws = torch.stack([everything(train)["x"] for _ in range(2000)])
    assert set(draws.flatten().tolist()) == {0.0, 1.0}
    mean = everything(bare)["x"]
    errors = (draws.mean(0) - mean) / (mean * (1 - mean) / 2000).sqrt()
    assert errors.abs().max() < 5
    assert errors.square().mean() == pytest.approx(1, abs=5 * (2 / errors.numel()) ** 0.5)
    assert not torch.equal(draws[0], draws[1])


def test_the_global_generator_alone_decides_the_training_noise(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = data.load(folder, binarize="dynamic").train
    monkeypatch.setattr(image_rows, "RESIDENT_BYTES", 0)
    streamed = data.load(folder, binarize="dynamic").train
    assert isinstance(streamed, StreamedSplit)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = everything(resident)
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    again = everything(streamed)
    torch.testing.assert_close(again, first, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize("binarize", ["none", "threshold", "static", "dynamic"])
def test_held_out_rows_ignore_order_batch_size_memory_and_the_global_generator(
    folder: Path, binarize: data.Binarize, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = data.load(folder, binarize=binarize)
    monkeypatch.setattr(image_rows, "RESIDENT_BYTES", 0)
    streamed = data.load(folder, binarize=binarize)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    for part in ("valid", "test"):
        inside, outside = resident.splits[part], streamed.splits[part]
        assert isinstance(inside, InMemorySplit)
        assert isinstance(outside, StreamedSplit)
        whole = everything(inside, 100)
        assert whole["x"].dtype == torch.float32
        backwards = torch.arange(len(inside)).flip(0)
        for split in (inside, outside):
            for size in (1, 3):
                torch.testing.assert_close(everything(split, size), whole, rtol=0, atol=0)
            (batch,) = split.batches([backwards])
            torch.testing.assert_close(batch["x"].flip(0), whole["x"], rtol=0, atol=0)
            torch.testing.assert_close(batch["y"].flip(0), whole["y"], rtol=0, atol=0)
            assert split.shape == (1, 6, 4)
            assert split.extra_names == ("y",)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_frozen_or_taken_row_is_one_draw_that_leaves_the_global_generator_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = data.load(folder, binarize="dynamic").train
    monkeypatch.setattr(image_rows, "RESIDENT_BYTES", 0)
    streamed = data.load(folder, binarize="dynamic").train
    state = torch.get_rng_state()
    rows = torch.tensor([4, 0, 9])
    once = everything(resident.frozen(0))["x"]
    assert torch.equal(everything(streamed.frozen(0))["x"], once)
    assert torch.equal(resident.take(rows)["x"], once[rows])
    assert torch.equal(streamed.take(rows)["x"], once[rows])
    assert not torch.equal(everything(resident.frozen(1))["x"], once)
    assert torch.equal(torch.get_rng_state(), state)


def test_noise_of_a_row_is_a_function_of_seed_stream_and_row() -> None:
    for size in (1, 8, 13):
        whole = uniforms(0, 1, torch.arange(50), size)
        some = torch.tensor([7, 8, 9, 3, 49, 0])
        assert torch.equal(uniforms(0, 1, some, size), whole[some])
        assert not torch.equal(uniforms(1, 1, some, size), whole[some])
        assert not torch.equal(uniforms(0, 2, some, size), whole[some])


def test_noise_is_uniform_and_rows_are_uncorrelated() -> None:
    noise = uniforms(0, 0, torch.arange(400), 300).double()
    n = noise.numel()
    assert noise.min() >= 0
    assert noise.max() < 1
    assert noise.mean().item() == pytest.approx(0.5, abs=5 * (1 / 12 / n) ** 0.5)
    centred = (noise - 0.5) * 12**0.5
    assert (centred[1:] * centred[:-1]).mean().item() == pytest.approx(0, abs=5 / n**0.5)


def test_static_noise_is_drawn_once_for_training_too() -> None:
    train = data.from_arrays(intensities(), binarize="static").train
    assert torch.equal(everything(train)["x"], everything(train)["x"])
    assert set(everything(train)["x"].flatten().tolist()) == {0.0, 1.0}


def test_threshold_is_one_from_one_half_on() -> None:
    x = np.tile(np.array([0.0, 0.4999, 0.5, 1.0], np.float32), (12, 1))
    loaded = data.from_arrays(x, binarize="threshold").train
    assert everything(loaded)["x"][0].tolist() == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("rows", [10, 97, 100])
def test_splits_are_disjoint_exhaustive_and_decided_by_the_seed(rows: int) -> None:
    x = np.arange(rows)
    loaded = data.from_arrays(x, seed=4)
    parts = {part: everything(split)["x"].ravel() for part, split in loaded.splits.items()}
    assert len(parts["valid"]) == len(parts["test"]) == round(rows / 10)
    assert sorted(torch.cat(list(parts.values())).tolist()) == x.tolist()
    for seed, same in ((4, True), (5, False)):
        again = everything(data.from_arrays(x, seed=seed).train)["x"].ravel()
        assert torch.equal(again, parts["train"]) is same


def test_labels_masks_and_rows_stay_together() -> None:
    x = np.arange(60.0).reshape(30, 2) - 7.5
    mask = np.random.default_rng(0).random((30, 2)) < 0.7
    code = np.arange(30)
    loaded = data.from_arrays(np.where(mask, x, np.nan), code, mask)
    for split in loaded.splits.values():
        batch = everything(split)
        assert split.extra_names == ("y", "mask")
        assert batch["mask"].dtype == torch.bool
        rows = batch["y"].numpy()
        np.testing.assert_array_equal(batch["mask"].numpy(), mask[rows])
        expected = np.where(mask[rows], loaded.scaling.apply(torch.tensor(x[rows])), 0)
        np.testing.assert_array_equal(batch["x"].numpy(), expected)


def test_unobserved_entries_do_not_move_a_standardization() -> None:
    x = np.random.default_rng(0).normal(5, 2, (200, 3))
    mask = np.random.default_rng(1).random(x.shape) < 0.6
    mask[:, 2] = False
    loaded = data.from_arrays(np.where(mask, x, 1e9), np.arange(200), mask)
    rows = everything(loaded.train)["y"].numpy()
    seen = np.where(mask, x, np.nan)[rows][:, :2]
    assert loaded.scaling.loc == pytest.approx([*np.nanmean(seen, 0), 0])
    assert loaded.scaling.scale == pytest.approx([*np.nanstd(seen, 0), 1])


def test_a_table_is_standardized_by_its_training_rows(
    tmp_path: Path,
) -> None:
    noise = np.random.default_rng(0)
    x = np.column_stack([noise.normal(1e6, 2, 300), noise.normal(-3, 0.1, 300), np.full(300, 0.1)])
    loaded = data.from_arrays(x)
    train, test = everything(loaded.train)["x"], everything(loaded.test)["x"]
    torch.testing.assert_close(train.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0)[:2], torch.ones(2), atol=1e-5, rtol=0)
    assert torch.equal(train[:, 2], torch.zeros(len(train)))
    assert test.mean(0)[:2].abs().min() > 1e-3
    assert loaded.scaling.kind == "standardized"
    assert loaded.scaling.scale is not None
    assert loaded.scaling.scale[2] == 1

    moved = tmp_path / "moved.npy"
    np.save(moved, x + np.array([4.0, 0, 0]))
    split = data.load_new(moved, scaling=loaded.scaling, shape=loaded.shape)
    assert len(split) == 300
    shift = everything(split)["x"] - loaded.scaling.apply(torch.tensor(x))
    torch.testing.assert_close(
        shift[:, 0], torch.full((300,), 4 / loaded.scaling.scale[0]), atol=1e-4, rtol=0
    )


def test_moving_to_a_device_keeps_every_value() -> None:
    split = data.from_arrays(intensities(), np.arange(200), binarize="static").test
    for name, values in everything(split.to("cpu")).items():
        assert torch.equal(values, everything(split)[name])


@pytest.mark.gpu
def test_a_gpu_sees_the_same_held_out_rows_and_draws_by_its_own_generator() -> None:
    loaded = data.from_arrays(intensities(), binarize="dynamic")
    order = torch.split(torch.arange(20), 6)
    for split in (loaded.test, loaded.test.to("cuda")):
        moved = torch.cat([batch["x"] for batch in split.batches(order, device="cuda")])
        assert torch.equal(moved.cpu(), everything(loaded.test)["x"])
    on_gpu = loaded.train.to("cuda")
    cpu, gpu = torch.get_rng_state(), torch.cuda.get_rng_state()
    first = next(on_gpu.batches(order, device="cuda"))["x"]
    assert not torch.equal(torch.cuda.get_rng_state(), gpu)
    torch.cuda.set_rng_state(gpu)
    assert torch.equal(next(on_gpu.batches(order, device="cuda"))["x"], first)
    assert torch.equal(torch.get_rng_state(), cpu)
