"""One thread for small steps; the threads of the process are restored."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from ppvae.diagnose import diagnose
from ppvae.encode import encode
from ppvae.errors import InputError
from ppvae.fit import resume
from ppvae.run import Run
from ppvae.sample import sample
from ppvae.training.sizes import Sizes
from ppvae.training.threads import take_threads, threads_for
from tests.support.fits import quick, rewrite_config, small

__all__ = ["quick"]  # a fixture

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def three(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process with three threads by default."""
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def sizes(batch: int, work: int) -> Sizes:
    return Sizes(train=1000, valid=100, batch=batch, numbers=64, parameters=1000, work=work)


def test_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    digits, mnist = sizes(64, 470_000), sizes(128, 1_300_000)
    assert [threads_for(each, CPU) for each in (digits, mnist)] == [1, 3]
    assert threads_for(digits, CUDA) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_for(digits, CPU) == 3


@pytest.mark.slow
def test_a_fit_takes_them_records_them_and_puts_them_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(
        "ppvae.cli.epoch_bar.EpochBar.step", lambda _: seen.append(torch.get_num_threads())
    )
    alone, asked = small(tmp_path, "alone"), small(tmp_path, "asked", threads=2)
    assert [run.resolved["threads"] for run in (alone, asked)] == [1, 2]
    assert (alone.config["threads"], asked.config["threads"]) == (None, 2)
    assert seen == [1] * 6 + [2] * 6
    seen.clear()
    rewrite_config(alone.path, lambda config: config["run"].update(threads=2))
    resume(alone.path, epochs=3)  # as it was recorded
    resume(asked.path, epochs=3, threads=1)
    assert seen == [2] * 3 + [1] * 3
    assert torch.get_num_threads() == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        encode,
        partial(sample, count=1, pairs=1, steps=2),
        partial(diagnose, quick=True, only=["training"]),
    ],
    ids=["encode", "sample", "diagnose"],
)
def test_a_command_on_a_run_takes_those_of_its_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., object]
) -> None:
    path, forward, seen = small(tmp_path).path, torch.nn.Linear.forward, set[int]()

    def linear(self: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
        seen.add(torch.get_num_threads())
        return forward(self, x)

    def threads(recorded: int) -> set[int]:
        rewrite_config(path, lambda config: config["run"].update(threads=recorded))
        run = Run(path)  # what opening computes is not of the command
        seen.clear()
        command(run, overwrite=True)
        assert torch.get_num_threads() == 3
        return set(seen)

    monkeypatch.setattr("ppvae.sample._write", lambda *_: None)
    monkeypatch.setattr(torch.nn.Linear, "forward", linear)
    assert threads(2) == {2}
    assert threads(64) == {3}  # not more than a process has
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads(2) == {3}


def test_a_fit_that_fails_puts_them_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppvae.cli.epoch_bar.EpochBar.step", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        small(tmp_path)
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("count", [0, -1, 10**6, "2", None, True])
def test_what_is_no_number_of_threads_is_refused(count: object) -> None:
    with pytest.raises(InputError, match="`threads` is"):
        take_threads(count)
