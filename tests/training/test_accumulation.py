"""Accumulation: a step of several batches is a step of one batch of all their rows."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from ppvae.data import as_split
from ppvae.errors import InputError
from ppvae.fit import fit, resume
from ppvae.training.order import Order
from tests.support.fits import (
    differences,
    figures,
    future,
    interrupt,
    quick,
    rewrite_config,
    small,
    weights,
)  # fmt: skip

__all__ = ["quick"]  # a fixture, used by every test here

CPU = torch.device("cpu")


def largest_difference(one: Path, other: Path) -> float:
    """The largest difference of a weight between the last checkpoints of two runs."""
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.parametrize(
    "more",
    [
        {},
        pytest.param({"clip": 0.1, "warm_up": 1}, marks=pytest.mark.slow),
        pytest.param({"batch_size": 12, "compile": "on"}, marks=pytest.mark.slow),
    ],
    ids=["plain", "clipped-warming", "compiled"],
)
def test_a_deterministic_fit_is_that_of_one_large_batch(
    more: dict[str, Any], tmp_path: Path
) -> None:
    """A point mass draws nothing, so only rounding differs, also in the incomplete step."""
    settings: dict[str, Any] = {"guide": "Delta", "batch_size": 8, "epochs": 3} | more
    rows = settings["batch_size"] * 4
    parts = small(tmp_path, "parts", accumulate=4, **settings).path
    whole = small(tmp_path, "whole", **settings | {"batch_size": rows, "compile": "off"}).path
    other = small(tmp_path, "other", **settings | {"batch_size": rows // 2, "compile": "off"}).path
    assert largest_difference(parts, whole) < 2e-5
    assert largest_difference(other, whole) > 1e-3  # other fits differ by more
    for one, two in zip(figures(parts), figures(whole), strict=True):
        assert one["step"] == two["step"]
        assert one["beta"] == two["beta"]
        assert one["objective"] == pytest.approx(two["objective"], rel=1e-5)


@pytest.mark.slow
def test_a_fit_of_several_batches_a_step_goes_on_in_the_middle_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more: dict[str, Any] = {"accumulate": 3, "batch_size": 8}
    whole = small(tmp_path, "whole", **more).path
    with monkeypatch.context() as patch:
        interrupt(patch, signal.SIGINT, after=2)
        with pytest.raises(KeyboardInterrupt):
            small(tmp_path, "parts", **more)
    assert future(tmp_path / "parts")["progress"]["cursor"] == 2
    resume(tmp_path / "parts")
    assert not differences(future(tmp_path / "parts"), future(whole))


def test_each_batch_has_its_share_of_labels_and_of_each_process() -> None:
    labels = torch.where(torch.arange(60) % 4 == 1, torch.arange(60) % 3, -1)
    order = Order.of(as_split(torch.zeros(60, 2), labels), 10, 2, 2, 3)
    known = set(order.again.tolist())
    first, *_, last = order.batches(0, 0, CPU)
    assert len(first) == 30
    for rank in range(2):
        parts = order.parts(first, rank)
        assert [len(rows) for rows in parts] == [5, 5, 5]
        assert [len(known & set(rows.tolist())) for rows in parts] == [1, 1, 1]
    both = [rows for rank in range(2) for rows in order.parts(last, rank)]
    assert torch.cat(both).sort().values.tolist() == last.sort().values.tolist()


def test_importance_weights_and_a_ragged_row(tmp_path: Path) -> None:
    """A step with fewer rows than batches has one batch per row."""
    x = torch.randn(21, 3, generator=torch.Generator().manual_seed(0)).numpy()
    run = fit(
        x, likelihood="Gaussian", elbo="ImportanceWeightedELBO", particles=3, latent_dim=2,
        batch_size=2, accumulate=10, valid="none", epochs=2, device="cpu", out=tmp_path / "run",
        decoder={"class_path": "MLP", "init_args": {"hidden": [8]}},
    )  # fmt: skip
    rows = run.resolved["data"]["rows"]["train"]
    assert run.history()[-1]["step"] == 2 * -(-rows // 20)


def test_a_bound_that_is_no_number_moves_no_weight(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no longer finite in epoch"):
        small(tmp_path, accumulate=2, batch_size=8, lr=1e20, epochs=3)


@pytest.mark.slow
def test_a_run_from_before_goes_on_with_one_batch_a_step(tmp_path: Path) -> None:
    run = small(tmp_path, epochs=1).path
    rewrite_config(run, lambda config: config.pop("accumulate"))
    resume(run, epochs=2)
    assert not differences(future(run), future(small(tmp_path, "whole", epochs=2).path))
    rewrite_config(run, lambda config: config.pop("batch_size"))
    with pytest.raises(InputError, match="lacks batch_size"):
        resume(run, epochs=3)
