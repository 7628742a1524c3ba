"""The process of a fit: one thread at a time, restored state, and interruption."""

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ppvae
from ppvae import compare, diagnose, encode, fit, sample
from ppvae.cli.answering import answer
from ppvae.cli.epoch_bar import EpochBar
from ppvae.errors import InputError
from ppvae.programs.isolation import alone
from tests.support.fits import quick, rewrite_config, small, small_flags, table_file
from tests.support.refusals import refusal
from tests.support.snapshots import changes, snapshot

__all__ = ["quick"]  # a fixture, used by every test here


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """SIGINT as from a terminal, even if the tests were started to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
import lightning_fabric, matplotlib, ppvae.fit
from tests.support.snapshots import changes, snapshot
small = {"class_path": "MLP", "init_args": {"hidden": [8]}}
settings = dict(
    data=sys.argv[2], likelihood="Gaussian", decoder=small, encoder=small, latent_dim=2,
    batch_size=32, epochs=2, device="cpu", schedule=None, out=sys.argv[3], compile=sys.argv[4],
)
before = snapshot()
ppvae.fit.fit(**settings)
assert not changes(before), changes(before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("compiled", ["off", "on"])
def test_a_process_with_one_fit_in_it_is_as_before(compiled: str, tmp_path: Path) -> None:
    """Including all imports, pictures and the page."""
    words = [Path(__file__).parents[2], table_file(tmp_path), tmp_path / "run", compiled]
    command = [sys.executable, "-W", "ignore", "-c", ALONE, *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stderr


def test_a_fit_leaves_the_process_as_it_found_it(tmp_path: Path) -> None:
    """Also if the fit fails."""
    before = snapshot()
    small(tmp_path)
    assert not changes(before)
    with pytest.raises(InputError, match="no longer finite"):
        small(tmp_path, "failed", optimizer="SGD", lr=1e10, epochs=9)
    assert (tmp_path / "failed" / "metrics.csv").is_file()
    assert not changes(before)


def test_what_libraries_set_for_the_whole_process_is_put_back() -> None:
    @alone
    def meddle() -> None:
        os.environ["PPVAE_TEST"] = "1"
        del os.environ["PATH"]
        warnings.simplefilter("ignore")
        logging.getLogger().setLevel(logging.DEBUG)
        logging.getLogger("torch").addHandler(logging.NullHandler())
        torch.backends.cudnn.deterministic = not torch.backends.cudnn.deterministic
        sys.path.append("nowhere")
        sys.setrecursionlimit(sys.getrecursionlimit() + 1)
        torch.rand(()), random.random(), np.random.rand()  # noqa: NPY002  # it is the global one
        raise KeyError

    before = snapshot()
    with pytest.raises(KeyError):
        meddle()
    assert not changes(before)


def test_a_fit_in_a_thread_of_its_own(tmp_path: Path) -> None:
    runs: list[Any] = []
    thread = threading.Thread(target=lambda: runs.append(small(tmp_path, epochs=1)))
    thread.start()
    thread.join()
    (run,) = runs
    assert run.summary is not None


def test_two_fits_in_two_threads_are_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one thread fits, another cannot fit, resume or open a run; afterwards it can."""
    done = small(tmp_path, "done", epochs=1).path
    others: dict[str, Callable[[], Any]] = {
        "fit": lambda: small(tmp_path, "other"),
        "resume": lambda: fit.resume(done, epochs=2),
        "load": lambda: ppvae.load(done),
        "encode": lambda: encode.encode(done),
        "sample": lambda: sample.sample(done),
        "diagnose": lambda: diagnose.diagnose(done),
        "compare": lambda: compare.compare(run=done),
    }
    sentences: dict[str, str] = {}
    before = EpochBar.step

    def meanwhile() -> None:
        for name, call in others.items():
            try:
                call()
            except InputError as error:
                sentences[name] = str(error)

    def step(self: EpochBar) -> None:
        before(self)
        if not sentences:
            thread = threading.Thread(target=meanwhile)
            thread.start()
            thread.join()

    with monkeypatch.context() as patch:
        patch.setattr(EpochBar, "step", step)
        small(tmp_path, epochs=1)
    assert sentences.keys() == others.keys()
    for name, sentence in sentences.items():
        assert name in sentence
        assert "another thread of this process is in fit" in sentence
    assert not (tmp_path / "other").exists()
    ppvae.load(done)


def test_a_turn_is_given_back_after_a_failure() -> None:
    @alone
    def fail() -> None:
        raise KeyError

    @alone
    def nested() -> int:
        return inner()

    @alone
    def inner() -> int:
        return 3

    with pytest.raises(KeyError):
        fail()
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(nested()))
    thread.start()
    thread.join()
    assert found == [3]


@pytest.mark.parametrize("command", ["fit", "compare", "diagnose", "encode", "sample"])
def test_an_interrupt_in_the_first_seconds(command: str, tmp_path: Path) -> None:
    """The signal arrives during the imports of the command."""
    words = [] if command in ("fit", "compare") else ["nowhere"]
    module = tmp_path / "torch"  # what every command imports first of what takes long
    module.mkdir()
    code = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
    (module / "__init__.py").write_text(code)
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r});"
         f"runpy.run_module('ppvae.{command}', run_name='__main__', alter_sys=True)", *words],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (130, "")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 1, 2, 3, 4, 6, 9])
def test_an_interrupt_at_any_moment(seconds: float, tmp_path: Path) -> None:
    """In the first tenths of a second only the interpreter runs."""
    flags = [*small_flags(tmp_path), "--epochs", "100000"]
    fitting = subprocess.Popen(
        [sys.executable, "-m", "ppvae.fit", *flags], stderr=subprocess.PIPE, text=True
    )
    time.sleep(seconds)
    fitting.send_signal(signal.SIGINT)
    _, said = fitting.communicate(timeout=200)
    assert fitting.returncode == 130, said
    assert "Traceback" not in said
    assert not list(tmp_path.glob(".*"))


def test_an_interrupted_import_is_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    """Even if a library converts the KeyboardInterrupt."""

    def command(_: Sequence[str]) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    with pytest.raises(SystemExit) as left:
        answer(command, [])
    assert left.value.code == 130
    assert capsys.readouterr().err == ""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


SEEDS = [-1, 2**32, 10**30]


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_have_a_range(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = small(tmp_path, epochs=1).path
    here = sorted(tmp_path.rglob("*"))
    flags: list[str | Path] = ["--data", table_file(tmp_path), "--out", tmp_path / "new"]
    cases: list[tuple[Callable[[Sequence[str]], None], Sequence[str | Path]]] = [
        (fit.main, flags), (compare.main, flags), (encode.main, [run]), (sample.main, [run]),
        (diagnose.main, [run, "--overwrite"]),
    ]  # fmt: skip
    capsys.readouterr()
    for main, words in cases:
        sentence = refusal(main, capsys, *words, "--seed", str(seed))
        assert f"seed is {seed}" in sentence
        assert str(2**32 - 1) in sentence
    rewrite_config(run, lambda c: c.update(seed=seed))
    assert f"seed is {seed}" in refusal(fit.main, capsys, "--resume", run)
    assert sorted(tmp_path.rglob("*")) == here


def test_the_last_of_several_seeds_has_the_range_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--data", str(table_file(tmp_path)), "--seed", str(2**32 - 2), "--seeds", "3"]
    assert str(2**32) in refusal(compare.main, capsys, *flags)
