"""Steps of a fit: schedules, clipping, optimizers, precision, particles."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from ppvae.run import Run
from tests.support.fits import (
    checkpoint,
    differences,
    figures,
    leaves,
    quick,
    small,
    weights,
)

__all__ = ["quick"]  # a fixture, used by every test here


def rates(run: Run) -> list[float]:
    return [row["lr"] for row in run.history() if row["split"] == "valid"]


def test_a_cosine_falls_over_the_epochs_of_the_fit(tmp_path: Path) -> None:
    run = small(tmp_path, schedule="CosineAnnealingLR", epochs=4, lr=0.01)
    expected = [0.005 * (1 + math.cos(math.pi * t / 4)) for t in range(4)]
    assert rates(run) == pytest.approx(expected)


@pytest.mark.slow
def test_a_plateau_lowers_the_rate_where_the_objective_no_longer_rises(tmp_path: Path) -> None:
    plateau: dict[str, Any] = {
        "class_path": "ReduceLROnPlateau",
        "init_args": {"patience": 0, "factor": 0.5},
    }
    # Weights that cannot change: no epoch is better, and the rate falls after each.
    plateau["init_args"] |= {"eps": 0.0}
    still = small(tmp_path, schedule=plateau, epochs=4, lr=1e-30, optimizer="SGD")
    assert rates(still) == pytest.approx([1e-30, 1e-30, 5e-31, 2.5e-31], rel=1e-9, abs=0)
    rising = small(tmp_path, "rising", schedule=plateau, epochs=4, lr=1e-3)
    assert rates(rising) == [1e-3] * 4


def test_clip_bounds_the_step(tmp_path: Path) -> None:
    """Plain gradient descent moves by at most lr times the clip, per step."""
    one = {"optimizer": "SGD", "lr": 1.0, "batch_size": 72, "epochs": 1}
    before = small(tmp_path, "before", **(one | {"lr": 1e-30}))
    free = small(tmp_path, "free", **one)
    clipped = small(tmp_path, "clipped", **one, clip=0.01)

    def moved(run: Run) -> float:
        start, end = weights(before.path), weights(run.path)
        return math.sqrt(sum(float((end[k] - start[k]).square().sum()) for k in start))

    assert moved(clipped) == pytest.approx(0.01, rel=1e-3)
    assert moved(free) > 0.02


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("SGD", {"momentum": 0.9, "nesterov": True}),
        ("AdamW", {"weight_decay": 0.1, "betas": [0.8, 0.9]}),
        ("Adagrad", {}),
    ],
)
def test_optimizers_by_name(name: str, args: dict[str, Any], tmp_path: Path) -> None:
    run = small(tmp_path, optimizer={"class_path": name, "init_args": args}, epochs=1)
    assert run.config["optimizer"]["class_path"] == name
    assert run.config["optimizer"]["init_args"].items() >= args.items()
    (group,) = checkpoint(run.path)["optimizer"]["param_groups"]
    for key, value in args.items():
        assert group[key] == value


def test_double_precision(tmp_path: Path) -> None:
    run = small(tmp_path, precision="64", epochs=1)
    held = {v.dtype for _, v in leaves(weights(run.path)) if v.is_floating_point()}
    assert held == {torch.float64}
    x = run.data().test.take(torch.arange(2))["x"].double()
    assert run.guide(x).dtype == torch.float64


@pytest.mark.slow
def test_mixed_precision_keeps_the_weights_and_figures(tmp_path: Path) -> None:
    mixed = small(tmp_path, "mixed", precision="bf16-mixed")
    plain = small(tmp_path, "plain")
    assert {v.dtype for v in weights(mixed.path).values()} == {torch.float32}
    assert differences(weights(mixed.path), weights(plain.path))
    for a, b in zip(figures(mixed), figures(plain), strict=True):
        assert a["elbo"] == pytest.approx(b["elbo"], abs=0.1)
        assert a["elbo"] != b["elbo"]


@pytest.mark.slow
def test_particles_lower_the_noise_and_not_the_mean(tmp_path: Path) -> None:
    run = small(tmp_path, particles=3)
    one = small(tmp_path, "one")
    assert run.config["particles"] == 3
    assert figures(run) != figures(one)
    assert run.summary is not None
    assert one.summary is not None
    assert run.summary["elbo"] == pytest.approx(one.summary["elbo"], abs=0.2)
