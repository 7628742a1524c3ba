"""Laws of fits with compiled steps."""

import signal
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
import torch._inductor.config as inductor
from torch import Tensor

from ppvae.cli.epoch_bar import EpochBar
from ppvae.compilation.step import pays
from ppvae.compilation.stopwatch import Stopwatch
from ppvae.errors import InputError
from ppvae.fit import main, resume
from ppvae.run import Run
from tests.support.captures import by_graph, clean, kinds_of_traces
from tests.support.fits import (
    checkpoint,
    differences,
    figures,
    future,
    quick,
    rewrite_config,
    small,
    small_copy,
    small_flags,
    weights,
)
from tests.support.slow import few

__all__ = ["by_graph", "clean", "kinds_of_traces", "quick"]  # fixtures


FLAT: dict[str, Any] = {"class_path": "MLP", "init_args": {"hidden": []}}


def flat(folder: Path, out: str = "run", **settings: Any) -> Run:
    """A fit of few weights, for each has operations of its own in a trace."""
    return small(folder, out, **({"decoder": FLAT, "encoder": FLAT} | settings))


def interrupt(patch: pytest.MonkeyPatch, after: int) -> None:
    """Send SIGTERM after a number of steps."""
    taken, before = 0, EpochBar.step

    def step(self: EpochBar) -> None:
        nonlocal taken
        before(self)
        taken += 1
        if taken == after:
            signal.raise_signal(signal.SIGTERM)

    patch.setattr(EpochBar, "step", step)


Compile = dict[str, Any]
ON: Compile = {"compile": "on"}


@pytest.mark.slow
def test_a_fit_by_graphs_is_the_fit(
    tmp_path: Path, by_graph: None, kinds_of_traces: list[str]
) -> None:
    """Also with incomplete batches, warm-up, schedule and clipping, from a single trace."""
    more: dict[str, Any] = {
        "epochs": 4, "warm_up": 2, "schedule": "CosineAnnealingLR", "clip": 5.0, "particles": 2,
    }  # fmt: skip
    flat(tmp_path, "eager", compile="off", **more)
    assert kinds_of_traces == []
    flat(tmp_path, "graphs", **ON, **more)
    assert kinds_of_traces == ["step"]
    pairs = zip(figures(tmp_path / "eager"), figures(tmp_path / "graphs"), strict=True)
    for one, other in pairs:
        numbers = {k: v for k, v in one.items() if isinstance(v, float)}
        assert {k: other[k] for k in numbers} == pytest.approx(numbers, rel=1e-4)
    one, other = weights(tmp_path / "eager"), weights(tmp_path / "graphs")
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("settings", few([{"precision": "bf16-mixed"}, {"precision": "64"}, {}], 3))
@pytest.mark.parametrize("data", few(["folder", "rows"], 0))
def test_graphs_serve_each_precision_and_kind_of_data(
    settings: dict[str, Any], data: str, tmp_path: Path, by_graph: None, kinds_of_traces: list[str]
) -> None:
    if data == "folder":
        from PIL import Image

        generator = torch.Generator().manual_seed(0)
        for i in range(60):
            folder = tmp_path / "images" / "ab"[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = torch.randint(0, 256, (4, 4), generator=generator, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(folder / f"{i}.png")
        settings = settings | {
            "data": tmp_path / "images", "binarize": "dynamic", "likelihood": "Bernoulli",
            "batch_size": 8,
        }  # fmt: skip
    flat(tmp_path, "eager", compile="off", **settings)
    flat(tmp_path, "graphs", **ON, **settings)
    assert kinds_of_traces == ["step"]
    last = [figures(tmp_path / name)[-1]["objective"] for name in ("eager", "graphs")]
    assert last[1] == pytest.approx(last[0], rel=2e-3)


@pytest.mark.slow
def test_a_fit_by_graphs_goes_on_bit_by_bit(
    tmp_path: Path, by_graph: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat(tmp_path, "whole", **ON, epochs=4)
    with monkeypatch.context() as patch:
        interrupt(patch, after=5)
        with pytest.raises(SystemExit):
            flat(tmp_path, "cut", **ON, epochs=4)
    assert checkpoint(tmp_path / "cut")["progress"]["step"] == 5
    resume(tmp_path / "cut")
    assert not differences(future(tmp_path / "cut"), future(tmp_path / "whole"))
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")


@pytest.mark.slow
def test_a_retreat_is_remembered(
    tmp_path: Path, by_graph: None, kinds_of_traces: list[str]
) -> None:
    """A step that cannot be compiled is not compiled after a resume either, with equal results."""
    cycle = {"class_path": "OneCycleLR", "init_args": {"max_lr": 0.01}}
    flat(tmp_path, "whole", **ON, schedule=cycle, epochs=4)
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, after=8)
        with pytest.raises(SystemExit):
            flat(tmp_path, "cut", **ON, schedule=cycle, epochs=4)
    resume(tmp_path / "cut")
    assert not differences(future(tmp_path / "cut"), future(tmp_path / "whole"))
    assert kinds_of_traces == ["step", "captured", "step", "captured", "captured"]


@pytest.mark.slow
def test_what_compiling_takes_is_said_over_all_sittings(
    tmp_path: Path, by_graph: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def add(self: Stopwatch, *_: object) -> None:
        self.seconds += 1.5

    monkeypatch.setattr(Stopwatch, "__exit__", add)

    def taken(run: Run) -> Any:
        assert run.summary is not None
        return run.summary["compile_seconds"]

    assert taken(flat(tmp_path, "off", compile="off")) == 0.0
    assert "compiled in" not in capsys.readouterr().err
    run = flat(tmp_path, "on", **ON)
    assert taken(run) == 1.5
    assert "; compiled in 1.5 s" in capsys.readouterr().err
    assert taken(resume(run.path, epochs=run.config["epochs"] + 1)) == 3.0
    assert "; compiled in 3.0 s" in capsys.readouterr().err


@pytest.mark.slow
def test_what_auto_chose_is_recorded_and_kept(
    tmp_path: Path, by_graph: None, monkeypatch: pytest.MonkeyPatch, kinds_of_traces: list[str]
) -> None:
    run = flat(tmp_path, "short")
    assert (run.config["compile"], run.config["run"]["compiled"]) == ("auto", False)
    assert kinds_of_traces == []
    monkeypatch.setattr("ppvae.compilation.step.pays", lambda **_: True)
    run = flat(tmp_path, "long")
    assert (run.config["compile"], run.config["run"]["compiled"]) == ("auto", True)
    assert kinds_of_traces == ["step"]
    monkeypatch.setattr("ppvae.compilation.step.pays", lambda **_: False)
    resume(run.path, epochs=3)
    assert kinds_of_traces == ["step", "step"]
    assert Run(run.path).config["run"]["compiled"] is True


def test_auto_compiles_what_is_long_enough() -> None:
    digits = {"parameters": 236_504, "numbers": 64 * 64}
    mnist = {"parameters": 820_000, "numbers": 64 * 784}
    assert not pays(steps=50 * 22, **digits)
    assert pays(steps=100 * 22, **digits)
    assert not pays(steps=390, **mnist)
    assert pays(steps=5 * 390, **mnist)
    assert pays(steps=5_000, **mnist | {"numbers": 100 * mnist["numbers"]})


def test_auto_compiles_nothing_without_a_compiler(
    tmp_path: Path, kinds_of_traces: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.compilation.step.pays", lambda **_: True)
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        run = flat(tmp_path, "without")
    assert run.config["run"]["compiled"] is False
    assert kinds_of_traces == []


@pytest.mark.slow
def test_compile_on_the_command_line_and_in_a_file(
    tmp_path: Path, by_graph: None, kinds_of_traces: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*small_flags(tmp_path, "flag"), "--compile", "on"])
    assert "compiled; writing to" in capsys.readouterr().out
    assert "compile: 'on'" in (tmp_path / "flag" / "config.yaml").read_text()
    main(["--config", str(tmp_path / "flag" / "config.yaml"), "--out", str(tmp_path / "again")])
    assert not differences(weights(tmp_path / "flag"), weights(tmp_path / "again"))
    # Bare words, which YAML takes for truth values.
    for word, steps in (("off", 2), ("on", 3)):
        (tmp_path / "bare.yaml").write_text(f"compile: {word}\n")
        flags = [*small_flags(tmp_path, word), "--config", str(tmp_path / "bare.yaml")]
        main(flags)
        assert kinds_of_traces == ["step"] * steps
        assert Run(tmp_path / word).config["compile"] == word
    with pytest.raises(InputError, match=r"compile` is 'perhaps'; it must be one of auto, on, off"):
        main([*small_flags(tmp_path, "wrong"), "--compile", "perhaps"])


def test_a_config_that_says_something_else_is_refused(tmp_path: Path) -> None:
    run = small_copy(tmp_path)
    rewrite_config(run, lambda config: config.update(compile="fast"))
    with pytest.raises(InputError, match=r"compile`? is 'fast'; it must be one of auto, on, off"):
        resume(run, epochs=3)
    with pytest.raises(InputError, match=r"compile`? is 'fast'; it must be one of auto, on, off"):
        flat(tmp_path, "other", compile="fast")


@pytest.mark.slow
def test_it_says_that_it_compiles_and_what_it_cannot(
    tmp_path: Path, by_graph: None, kinds_of_traces: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    flat(tmp_path, "whole", **ON)
    assert "compiling the training step" in capsys.readouterr().err
    # An optimizer that reads its state back, and a bound that is captured all the same.
    flat(tmp_path, "half", **ON, optimizer="Adafactor", schedule=None)
    out = capsys.readouterr().out
    assert "note: the training step is not one graph: " in out
    assert "only its bound is tried" in out
    assert kinds_of_traces == ["step", "step", "captured"]
    # A schedule that turns the momentum too.
    cycle = {"class_path": "OneCycleLR", "init_args": {"max_lr": 0.01}}
    flat(tmp_path, "cycle", **ON, schedule=cycle)
    assert "more of the optimizer than the learning rate" in capsys.readouterr().out


def branching(x: Tensor) -> None:
    """A model whose structure depends on the data."""
    import pyro.distributions as dist

    scale = pyro.param("scale", torch.ones(()))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0 + float(x.sum() > 0)).to_event(1))
        pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True) * scale, 1.0).to_event(1), obs=x)


def test_a_dynamic_program_is_fitted_as_it_is_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small(tmp_path, **ON, model=branching, likelihood=..., decoder=...)
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert (
        sum("depends on numbers in the tensors (test_step_fits.py" in note for note in notes) == 2
    )
    assert len(run.history()) == 4


@pytest.mark.slow
def test_a_compiled_fit_is_the_fit(tmp_path: Path) -> None:
    """Native code reaches the same held-out bound, reproducibly."""
    more: dict[str, Any] = {"epochs": 6, "schedule": "CosineAnnealingLR", "clip": 5.0}
    small(tmp_path, "eager", compile="off", **more)
    small(tmp_path, "compiled", **ON, **more)
    small(tmp_path, "again", **ON, **more)
    one, other = (figures(tmp_path / name) for name in ("eager", "compiled"))
    for a, b in zip(one, other, strict=True):
        assert b["objective"] == pytest.approx(a["objective"], rel=1e-3)
    assert not differences(weights(tmp_path / "compiled"), weights(tmp_path / "again"))


@pytest.mark.slow
def test_two_processes_climb_one_captured_bound(tmp_path: Path) -> None:
    import subprocess
    import sys

    flags = ["--devices", "2", "--compile", "on"]
    for name, more in (("eager", ["--devices", "2"]), ("compiled", flags)):
        command = [sys.executable, "-m", "ppvae.fit", *small_flags(tmp_path, name), *more]
        subprocess.run(command, check=True, timeout=600)
    rows = [figures(tmp_path / name)[-1]["objective"] for name in ("eager", "compiled")]
    assert rows[1] == pytest.approx(rows[0], rel=1e-3)


@pytest.mark.gpu
def test_a_replayed_step_is_the_step_on_cuda(tmp_path: Path) -> None:
    more: dict[str, Any] = {"epochs": 6, "schedule": "CosineAnnealingLR", "device": "cuda"}
    small(tmp_path, "eager", compile="off", **more)
    small(tmp_path, "compiled", **ON, **more)
    rows = [figures(tmp_path / name)[-1]["objective"] for name in ("eager", "compiled")]
    assert rows[1] == pytest.approx(rows[0], rel=0.05)
