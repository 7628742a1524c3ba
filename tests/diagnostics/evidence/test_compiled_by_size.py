"""A graph is compiled for large computations, unless the caller decides."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from torch import Tensor, nn

from ppvae.data import Batch
from ppvae.diagnostics.evidence import annealing, importance_sampling
from ppvae.diagnostics.evidence.annealing import anneal
from ppvae.diagnostics.evidence.hmc import PathDensity
from ppvae.diagnostics.evidence.importance_sampling import log_evidence
from ppvae.diagnostics.evidence.log_weights import importance_weights
from ppvae.diagnostics.evidence.sandwich import sandwich
from tests.support.annealed import short_pilot
from tests.support.pca import PCA, pca

__all__ = ["short_pilot"]  # a fixture


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Records the modules to compile, which run uncompiled."""
    asked: list[nn.Module] = []

    def captured(module: nn.Module, **_: Any) -> nn.Module:
        asked.append(module)
        return module

    monkeypatch.setattr("ppvae.compilation.captured.Captured", captured)
    return asked


@pytest.fixture(scope="module")
def known() -> PCA:
    return pca(rows=4, columns=3)


@pytest.mark.parametrize("estimate", [log_evidence, importance_weights])
def test_importance_weights(
    estimate: Callable[..., object],
    known: PCA,
    graphs: list[nn.Module],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers, asked = 4 * 3 * 10, []
    for least, compile in (
        (numbers, None), (numbers + 1, None), (numbers, False), (numbers + 1, True)
    ):  # fmt: skip
        monkeypatch.setattr(importance_sampling, "PAYS", least)
        graphs.clear()
        estimate(known.pair, known.facts, known.rows, samples=10, compile=compile)
        asked.append(len(graphs))
    assert asked == [1, 0, 0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("temperatures", [2, 12])
@pytest.mark.parametrize(("walk", "walks"), [(anneal, 1), (partial(sandwich, count=4), 2)])
def test_annealing(
    walk: Callable[..., object],
    walks: int,
    temperatures: int,
    known: PCA,
    graphs: list[nn.Module],
    short_pilot: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the number of scored values of x, except at the start of chains."""
    scored: list[int] = []
    density = PathDensity.__call__

    def counted(self: PathDensity, space: Any, batch: Batch, position: Tensor) -> Any:
        scored.append(position.shape[:2].numel() * 3)
        return density(self, space, batch, position)

    def asked(least: float, compile: bool | None = None) -> int:
        monkeypatch.setattr(annealing, "PAYS", least)
        graphs.clear()
        walk(
            known.pair, known.facts, known.rows,
            temperatures=temperatures, chains=2, leapfrog=5, compile=compile,
        )  # fmt: skip
        return len(graphs)

    with monkeypatch.context() as patch:
        patch.setattr(PathDensity, "__call__", counted)
        assert asked(1, compile=False) == 0
    pilot, *_, chains = scored
    walked = sum(scored) - pilot - walks * chains
    assert asked(walked) == 1
    assert asked(walked + 1) == 0
    assert asked(walked + 1, compile=True) == 1
