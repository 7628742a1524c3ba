"""Random streams on every device: reproducible, and without effects on other generators."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor

from ppvae.bounds.objective import Bound
from ppvae.data import Batch, Split
from ppvae.diagnostics import embed
from ppvae.diagnostics.bound.terms import decompose
from ppvae.programs.streams import Stream, forked, restored, seeded, set_state, state
from ppvae.training.evaluation import evaluate
from tests.support.pca import PCA, pca

ROOT = Path(__file__).parents[2]
METAL = torch.device("mps")

GENERATOR_CALLS = {
    "fork_rng", "manual_seed", "manual_seed_all", "seed_all", "get_rng_state", "set_rng_state",
    "get_rng_state_all", "set_rng_state_all", "set_rng_seed", "seed_everything", "initial_seed",
}  # fmt: skip


class FakeMetal:
    """A stand-in for Metal's generator: a seed, and the number of draws."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state, self.seeds = torch.tensor([99, 5]), list[int]()
        monkeypatch.setattr(torch.mps, "manual_seed", self.manual_seed)
        monkeypatch.setattr(torch.mps, "get_rng_state", lambda device="mps": self.state.clone())
        monkeypatch.setattr(torch.mps, "set_rng_state", self.set_rng_state)

    def manual_seed(self, seed: int) -> None:
        self.state = torch.tensor([seed, 0])
        self.seeds.append(seed)

    def set_rng_state(self, state: Tensor, device: object = "mps") -> None:
        self.state = state.clone()

    def draw(self) -> tuple[int, int]:
        """The next number, which determines the state."""
        self.state = self.state + torch.tensor([0, 1])
        seed, count = self.state.tolist()
        return seed, count


@pytest.fixture
def metal(monkeypatch: pytest.MonkeyPatch) -> FakeMetal:
    return FakeMetal(monkeypatch)


def test_a_stream_restores_the_generators_of_cpu_and_device(metal: FakeMetal) -> None:
    before, of_cpu = metal.state, torch.get_rng_state()
    with Stream.EVIDENCE.drawn(0, METAL) as noise:
        noise.at(1)
        assert not torch.equal(metal.state, before)
        metal.draw()
        torch.rand(3)
    assert torch.equal(metal.state, before)
    assert torch.equal(torch.get_rng_state(), of_cpu)


def test_a_stream_repeats_itself_on_the_device_whatever_was_drawn(metal: FakeMetal) -> None:
    drawn = []
    for before in range(2):
        for _ in range(before):
            metal.draw(), torch.rand(1)
        with Stream.GAPS.drawn(3, METAL) as noise:
            first = metal.draw(), float(torch.rand(()))
            noise.at(7)
            drawn.append((first, metal.draw(), float(torch.rand(()))))
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[0][1:]


def test_the_caller_draws_on_after_a_stream_as_if_there_were_none(metal: FakeMetal) -> None:
    """If Metal's generator is not restored, each epoch of a fit has the same noise."""
    epochs = []
    for _ in range(3):
        epochs.append(metal.draw())
        with Stream.EVALUATION.drawn(0, METAL) as noise:
            noise.at(0)
            metal.draw()
    assert len(set(epochs)) == 3


@pytest.mark.parametrize("context", [forked, lambda d: seeded(0, d)], ids=["forked", "seeded"])
def test_an_error_inside_of_a_block_restores_them_too(metal: FakeMetal, context: Any) -> None:
    before, of_cpu = metal.state, torch.get_rng_state()

    def fail() -> None:
        metal.draw(), torch.rand(1)
        raise KeyError

    with pytest.raises(KeyError), context(METAL):
        fail()
    assert torch.equal(metal.state, before)
    assert torch.equal(torch.get_rng_state(), of_cpu)


def test_state_and_set_state_go_on_on_the_device(metal: FakeMetal) -> None:
    kept = state(METAL)
    drawn = [metal.draw(), float(torch.rand(()))]
    set_state(METAL, kept)
    assert [metal.draw(), float(torch.rand(()))] == drawn


def test_everything_restored_is_python_numpy_and_torch() -> None:
    import random

    def draw() -> list[float]:
        return [random.random(), np.random.rand(), float(torch.rand(()))]  # noqa: NPY002  # the global one

    with restored():
        first = draw()
    assert draw() == first


def test_streams_differ_and_so_do_their_parts() -> None:
    names = Stream.__members__.values()  # aliases too
    seeds = {stream.seed(0, part) for stream in names for part in range(3)}
    assert len(seeds) == 3 * len(names)
    with Stream.GAPS.drawn(0) as noise:
        same = [noise.within(1) for _ in range(2)]
        drawn = []
        for each in same:
            each.at(2)
            drawn.append(float(torch.rand(())))
    assert drawn[0] == drawn[1]


def test_seeds_mean_what_they_always_meant() -> None:
    """Published figures name their seed: names and values of streams must not change."""
    folded = np.random.SeedSequence((5, 3, 2)).generate_state(1, np.uint64)[0] >> np.uint64(1)
    assert Stream.EVIDENCE.seed(5, 2) == int(folded)
    with torch.random.fork_rng():
        torch.manual_seed(int(folded))
        expected = torch.rand(4)
    with Stream.EVIDENCE.drawn(5) as noise:
        noise.at(2)
        assert torch.equal(torch.rand(4), expected)


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> PCA:
    """A pair and data that stay on the CPU when they are moved to a device."""
    known = pca(rows=12)
    kind = type(known.rows)
    read = kind.batches

    def batches(self: Split, order: Sequence[Tensor], *, device: object = "cpu") -> Iterator[Batch]:
        return read(self, order, device="cpu")

    monkeypatch.setattr(kind, "batches", batches)
    return known


@pytest.mark.parametrize("device", ["cpu", "mps"])
@pytest.mark.parametrize("question", [evaluate, embed, decompose])
def test_a_question_leaves_the_generator_of_an_accelerator_alone(
    metal: FakeMetal, on_cpu: PCA, device: str, question: Any
) -> None:
    """On that device and the CPU: ``torch.manual_seed`` seeds all devices."""
    pair, facts = on_cpu.pair, on_cpu.facts
    of = [Bound(pair, TraceMeanField_ELBO, facts)] if question is evaluate else [pair, facts]
    before = metal.state
    question(*of, on_cpu.rows, device=device)
    assert torch.equal(metal.state, before)
    assert bool(metal.seeds) == (device == "mps")


def test_one_file_of_the_package_seeds_forks_and_reads_generators() -> None:
    """Separate generators, such as those that split data, are not counted."""
    files = [
        *(ROOT / "ppvae").rglob("*.py"),
        *ROOT.glob("models/**/*.py"),
        *ROOT.glob("guides/**/*.py"),
    ]
    elsewhere = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in files
        if path != ROOT / "ppvae" / "programs" / "streams.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in _names(node)
        if name in GENERATOR_CALLS and (path.parent.name, name) != ("data", "manual_seed")
    }
    assert elsewhere == set()


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, ast.ImportFrom):
        return [alias.name for alias in node.names]
    return [node.id] if isinstance(node, ast.Name) else []
