"""Compiled fits equal eager ones, whatever state the programs read and change in Python."""

from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from ppvae.cli.epoch_bar import EpochBar
from ppvae.compilation.graphs import trace
from ppvae.fit import resume
from ppvae.run import Run
from tests.support.captures import by_graph, clean
from tests.support.counters_in_python import COUNTERS
from tests.support.fits import checkpoint, differences, quick, small, weights
from tests.support.python_state import Guide
from tests.support.slow import few

__all__ = ["by_graph", "clean", "quick"]  # fixtures


def fitted(folder: Path, name: str, compile: str) -> Run:
    options: dict[str, Any] = {"likelihood": ..., "decoder": ..., "encoder": ...}
    counter = COUNTERS[name]
    run: Run = small(
        folder, compile, compile=compile, model=counter.make(), guide=Guide(), **options
    )
    return run


def uncompiled(run: Run) -> Any:
    """Why a run was not compiled to its end, from its summary."""
    assert run.summary is not None
    return run.summary["uncompiled"]


def assert_same_fit(folder: Path, name: str) -> None:
    off, on = (fitted(folder, name, compile) for compile in ("off", "on"))
    note = uncompiled(on)
    path = COUNTERS[name].path
    if path:
        assert f"running it changes {path}, which a graph would freeze" in note
        assert checkpoint(on.path)["progress"]["uncompiled"] == note
        assert not differences(weights(on.path), weights(off.path))
    else:
        assert note is None
        for key, value in weights(off.path).items():
            torch.testing.assert_close(weights(on.path)[key], value, rtol=1e-4, atol=1e-5)
        assert weights(on.path)["model.count"] == weights(off.path)["model.count"] > 0
    assert uncompiled(off) is None


@pytest.mark.parametrize("name", few(["list", "count", "buffer put anew"], 3))
def test_a_fit_by_graphs_is_the_fit_of_a_program_that_counts(
    name: str, tmp_path: Path, by_graph: None
) -> None:
    assert_same_fit(tmp_path, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTERS)
def test_a_compiled_fit_is_the_fit_of_a_program_that_counts(name: str, tmp_path: Path) -> None:
    assert_same_fit(tmp_path, name)


SETTING = {"scale": 1.0}


def looked_up(x: Tensor) -> None:
    """A model whose scale cannot be found in its code."""
    scale = globals()["SETTING"]["scale"]
    weight = pyro.param("weight", torch.ones(2, 3))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z @ weight * scale, 1.0).to_event(1), obs=x)


@pytest.mark.slow
def test_a_graph_that_is_found_to_be_wrong_ends_and_the_run_says_so(
    tmp_path: Path, by_graph: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"likelihood": ..., "decoder": ..., "encoder": ...}
    traced: list[int] = []

    def counted(*given: Any) -> Any:
        traced.append(1)
        return trace(*given)

    monkeypatch.setattr("ppvae.compilation.step.trace", counted)
    before, taken = EpochBar.step, [0]

    def step(self: EpochBar) -> None:
        before(self)
        taken[0] += 1
        monkeypatch.setitem(SETTING, "scale", 1.0 if taken[0] < 2 else 0.1)

    monkeypatch.setattr(EpochBar, "step", step)
    runs = []
    for compile in ("off", "on"):
        taken[0] = 0
        monkeypatch.setitem(SETTING, "scale", 1.0)
        runs.append(
            small(tmp_path, compile, compile=compile, model=looked_up, guide=Guide(), **options)
        )
    note = uncompiled(runs[1])
    assert "computes something else than the program: the gradient of guide.loc" in note
    assert traced == [1]
    for key, value in weights(runs[0].path).items():
        torch.testing.assert_close(weights(runs[1].path)[key], value, rtol=1e-4, atol=1e-5)
    resume(runs[1].path, epochs=3, model=looked_up, guide=Guide())
    assert traced == [1]  # it is not compiled again
    assert uncompiled(Run(runs[1].path, model=looked_up, guide=Guide())) == note
