"""Sizes beyond the memory are refused before anything is allocated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ppvae
from ppvae import sample
from ppvae.components import memory
from ppvae.components.memory import sizes_checked
from ppvae.data.free_memory import free_memory
from ppvae.errors import InputError
from ppvae.fit import main, resume
from ppvae.programs.isolation import alone
from tests.support.fits import quick, rewrite_config, small, small_flags
from tests.support.refusals import refusal
from tests.support.slow import few

__all__ = ["quick"]  # a fixture, used by every test here

HUGE = 10**9
BEYOND = 10**30

BAD = {
    "latent": ("--latent-dim {}", "--latent-dim is {}"),
    "decoder": ("--decoder.hidden {}", "--decoder.hidden is {}"),
    "encoder": ("--encoder.hidden 10,{}", "--encoder.hidden is {}"),
    "vamp": ("--prior VampPrior --prior.components {}", "--prior.components is {}"),
    "mixture": ("--prior MixtureOfNormals --prior.components {}", "--prior.components is {}"),
    "flow": ("--guide Flow --guide.transforms {}", "--guide.transforms is {}"),
    "particles": ("--particles {}", "--particles {} on"),
}


@pytest.fixture(autouse=True)
def few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower limits, for fast tests, and a machine with 1 GB."""
    monkeypatch.setattr(memory, "TENSORS", 200)
    monkeypatch.setattr(memory, "CALLS", 2_000)
    monkeypatch.setattr(memory, "free_memory", lambda *_: 10**9)


@pytest.mark.parametrize("size", [HUGE, BEYOND])
@pytest.mark.parametrize("case", BAD)
def test_what_there_is_no_memory_for(
    case: str, size: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, words = BAD[case]
    sentence = refusal(main, capsys, *small_flags(tmp_path), *flags.format(size).split())
    assert words.format(size) in sentence
    counted = "tensors" in sentence or "2**63" in sentence
    assert counted or ("1.0 GB are free" in sentence and "of memory" in sentence)
    assert [file.name for file in tmp_path.iterdir()] == ["x.npy"]


CONFIGS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "latent": (lambda c: c.update(latent_dim=HUGE), "`latent_dim` is"),
    "hidden": (lambda c: c["decoder"]["init_args"].update(hidden=[HUGE]), "`decoder.hidden` is"),
    "layers": (lambda c: c["decoder"]["init_args"].update(hidden=[3] * 999), "tensors"),
    "datum": (lambda c: c["run"]["data"].update(shape=[HUGE]), "holds no rows of the run's data"),
}


@pytest.mark.parametrize("case", few(CONFIGS, 2))
def test_a_strangers_run_takes_no_memory(case: str, tmp_path: Path) -> None:
    run = small(tmp_path, epochs=1).path
    change, words = CONFIGS[case]
    rewrite_config(run, change)
    with pytest.raises(InputError, match=words):
        ppvae.load(run)


@pytest.mark.parametrize("particles", [10**11, BEYOND])
def test_nor_does_one_that_goes_on(particles: int, tmp_path: Path) -> None:
    run = small(tmp_path, epochs=1).path
    rewrite_config(run, lambda c: c.update(particles=particles))
    with pytest.raises(InputError, match=f"`particles={particles}`"):
        resume(run, epochs=2)


@pytest.mark.parametrize(
    ("flags", "words"),
    [("--count {}", "count = {}"), ("--steps {}", "{}"), ("--components {}", "components = {}")],
)
def test_draws_without_end(
    flags: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small(tmp_path, epochs=1).path
    capsys.readouterr()
    sentence = refusal(sample.main, capsys, run, *flags.format(10**10).split())
    assert words.format("") in sentence
    assert "1.0 GB are free" in sentence
    assert not (run / "samples").exists()


class Wide(nn.Module):
    """A user-defined part: all kinds of tensors are counted."""

    def __init__(self, make: Callable[[], torch.Tensor]) -> None:
        super().__init__()
        self.buffer = make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.empty(HUGE, 5), lambda: torch.zeros(HUGE, 5), lambda: torch.ones(HUGE, 5),
        lambda: torch.full((HUGE, 5), 1.0), lambda: torch.rand(HUGE, 5),
        lambda: torch.randn(HUGE, 5), lambda: torch.arange(5 * HUGE), lambda: torch.eye(HUGE),
        lambda: torch.zeros(1).new_empty(HUGE, 5), lambda: torch.randint(9, (HUGE, 5)),
        lambda: torch.empty_strided((HUGE, 5), (5, 1)), lambda: torch.empty(10**18, 10**18),
    ],
)  # fmt: skip
def test_every_maker_of_tensors_is_seen(make: Callable[[], torch.Tensor]) -> None:
    with pytest.raises(InputError, match=r"width is 3.*are free"), sizes_checked({"width": 3}):
        Wide(make)


def test_weights_are_added_up_and_views_are_free() -> None:
    with sizes_checked({"width": 3}, copies=4):
        torch.zeros(1).expand(10**12)
        nn.Linear(10, 10)
    with pytest.raises(InputError, match="tensors"), sizes_checked({"width": 3}):
        _ = [nn.Linear(1, 1) for _ in range(101)]


def test_memory_that_runs_out_all_the_same() -> None:
    @alone
    def take() -> None:
        torch.empty(10**18)

    with pytest.raises(InputError, match="memory ran out"):
        take()


def test_memory_is_that_of_the_machine() -> None:
    assert 2**20 < free_memory() < 2**60
