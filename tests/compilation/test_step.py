"""Laws of the captured training step, and of fits that climb by it."""

import copy
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor
from torch.optim import Optimizer

from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.cli.terminal import EpochBar
from ppvae.compilation import captured
from ppvae.compilation import step as one_graph
from ppvae.compilation.graphs import NotStatic
from ppvae.compilation.step import CapturedStep, pays
from ppvae.errors import InputError
from ppvae.fit import main, resume
from ppvae.guides import MeanField
from ppvae.models import VAE, Bernoulli, StandardNormal
from ppvae.networks import MLP
from ppvae.programs import Pair
from ppvae.run import Run
from tests.support.fits import (
    checkpoint,
    differences,
    figures,
    future,
    quick,
    rewrite_config,
    small,
    small_flags,
    weights,
)

__all__ = ["quick"]  # a fixture, used by every test here

ROWS = 16
GREY = torch.rand(ROWS, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    pyro.clear_param_store()


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph itself, in place of the minute's wait for native code."""
    monkeypatch.setattr("ppvae.compilation.step.compiled", lambda graph: graph)
    monkeypatch.setattr("ppvae.compilation.captured.compiled", lambda graph: graph)


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each trace: of a step, or of a bound."""
    seen: list[str] = []
    for module in (one_graph, captured):
        name = module.__name__.rpartition(".")[2]

        def counted(function: Any, tensors: Any, name: str = name, real: Any = module.trace) -> Any:
            seen.append(name)
            return real(function, tensors)

        monkeypatch.setattr(module, "trace", counted)
    return seen


def bound_of() -> Bound:
    pyro.set_rng_seed(0)
    network = partial(MLP, hidden=(8,))
    batch = {"x": GREY.round()}
    model = VAE(StandardNormal(2), Bernoulli((5,)), network)
    pair = Pair(model, MeanField(2, (5,), network), batch)
    return Bound(pair, TraceMeanField_ELBO, audit(pair, TraceMeanField_ELBO, batch))


def binarized(grey: Tensor) -> dict[str, Tensor]:
    return {"x": (torch.rand_like(grey) < grey).to(grey.dtype)}


def step_of(bound: Bound, optimizer: Optimizer, clip: float | None = None) -> CapturedStep:
    return CapturedStep(
        bound, optimizer, binarized, per=1 / ROWS, clip=clip, context=nullcontext, compile=False
    )


def plain_step(bound: Bound, optimizer: Optimizer, beta: float, clip: float | None = None) -> None:
    """The law's other side, as one would write it."""
    optimizer.zero_grad()
    (-bound(binarized(GREY), beta).objective / ROWS).backward()
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(bound.parameters(), clip)
    optimizer.step()


def sums() -> Tensor:
    return torch.zeros(5, dtype=torch.float64)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
    "Adamax": torch.optim.Adamax,
    "Adagrad": torch.optim.Adagrad,
    "Adadelta": torch.optim.Adadelta,
    "ASGD": torch.optim.ASGD,
    "NAdam": torch.optim.NAdam,
    "RAdam": torch.optim.RAdam,
    "RMSprop": torch.optim.RMSprop,
    "Rprop": torch.optim.Rprop,
    "SGD": torch.optim.SGD,
    "SGD with momentum": lambda params, lr: torch.optim.SGD(params, lr, momentum=0.9),
    "AMSGrad": lambda params, lr: torch.optim.Adam(params, lr, amsgrad=True, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_captured_step_is_the_step(name: str) -> None:
    one, other = bound_of().double(), bound_of().double()
    optimizers = [OPTIMIZERS[name](b.parameters(), lr=1e-2) for b in (one, other)]
    pyro.set_rng_seed(1)
    for beta in (0.3, 0.6, 1.0, 1.0):
        plain_step(one, optimizers[0], beta, clip=2.0)
    pyro.set_rng_seed(1)
    plain_step(other, optimizers[1], 0.3, clip=2.0)
    step = step_of(other, optimizers[1], clip=2.0)
    for beta in (0.6, 1.0, 1.0):
        step(GREY, beta, sums())
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        # Torch keeps the number of steps, and so the bias corrections, in single precision.
        torch.testing.assert_close(q, p, rtol=1e-4, atol=1e-5)
    # The optimizer's state too is where an ordinary step would have left it.
    for optimizer, bound in zip(optimizers, (one, other), strict=True):
        pyro.set_rng_seed(2)
        plain_step(bound, optimizer, 1.0)
    states = [optimizer.state_dict()["state"] for optimizer in optimizers]
    assert states[0].keys() == states[1].keys()
    for number, slot in states[0].items():
        for key, value in slot.items():
            torch.testing.assert_close(states[1][number][key], value, rtol=1e-4, atol=1e-5)


def test_each_step_sees_noise_of_its_own() -> None:
    bound = bound_of()
    optimizer = torch.optim.SGD(bound.parameters(), lr=0.0)
    step, seen = step_of(bound, optimizer), []
    for _ in range(6):
        total = sums()
        step(GREY, 1.0, total)
        seen.append(float(total[0]))
    assert len(set(seen)) == 6


def test_the_learning_rate_is_an_input() -> None:
    bound = bound_of()
    optimizer = torch.optim.SGD(bound.parameters(), lr=0.1)
    step = step_of(bound, optimizer)
    moved = []
    for lr in (0.1, 0.2, 0.0):
        optimizer.param_groups[0]["lr"] = lr
        before = [p.detach().clone() for p in bound.parameters()]
        pyro.set_rng_seed(0)
        start = copy.deepcopy(bound.state_dict())
        step(GREY, 1.0, sums())
        moved.append(
            sum(
                float((p - b).detach().norm())
                for p, b in zip(bound.parameters(), before, strict=True)
            )
        )
        bound.load_state_dict(start)
    assert moved[1] == pytest.approx(2 * moved[0], rel=1e-3)
    assert moved[2] == 0


def test_frozen_weights_stay_and_the_others_move() -> None:
    bound = bound_of()
    bound.pair.model.requires_grad_(False)
    moving = [p for p in bound.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(moving, lr=0.1)
    kept = copy.deepcopy(bound.pair.model.state_dict())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*was not registered in the param store")  # Pyro's
        plain_step(bound, optimizer, 1.0)
        before = [p.detach().clone() for p in moving]
        step_of(bound, optimizer)(GREY, 1.0, sums())
    assert all(torch.equal(v, kept[k]) for k, v in bound.pair.model.state_dict().items())
    assert all(bool(p.ne(b).any()) for p, b in zip(moving, before, strict=True))


class Counting(torch.optim.SGD):
    """An optimizer that counts in Python, which a graph would freeze."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["count"] = self.state[p].get("count", 0) + 1
                p.data.add_(p.grad, alpha=-group["lr"] / self.state[p]["count"])


def test_an_optimizer_that_counts_in_python_is_refused() -> None:
    bound = bound_of()
    optimizer = Counting(bound.parameters(), lr=0.1)
    plain_step(bound, optimizer, 1.0)
    before = copy.deepcopy(bound.state_dict())
    with pytest.raises(NotStatic, match="counts 'count' outside of tensors"):
        step_of(bound, optimizer)(GREY, 1.0, sums())
    assert all(torch.equal(v, before[k]) for k, v in bound.state_dict().items())
    assert optimizer.state[next(bound.parameters())]["count"] == 1


class Clocked(torch.optim.SGD):
    """An optimizer that keeps a count of its own."""

    clock = 0

    def step(self, closure: Any = None) -> Any:
        self.clock = self.clock + 1
        return super().step(closure)


class Remembering(torch.optim.SGD):
    """An optimizer with a list in its state."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p].setdefault("past", []).append(p.grad.clone())
        return super().step(closure)


def test_what_a_graph_would_pass_over_is_refused_and_nothing_is_harmed() -> None:
    bound = bound_of()
    clocked = Clocked(bound.parameters(), lr=0.1)
    plain_step(bound, clocked, 1.0)
    with pytest.raises(NotStatic, match="counts in its attributes"):
        step_of(bound, clocked)(GREY, 1.0, sums())
    assert clocked.clock == 1

    remembering = Remembering(bound.parameters(), lr=0.1)
    plain_step(bound, remembering, 1.0)
    with pytest.raises(NotStatic, match="more than tensors and numbers"):
        step_of(bound, remembering)(GREY, 1.0, sums())
    assert all(len(slot["past"]) == 1 for slot in remembering.state.values())

    hooked = torch.optim.SGD(bound.parameters(), lr=0.1)
    handle = hooked.register_step_post_hook(lambda *_: None)
    with pytest.raises(NotStatic, match="step has hooks"):
        step_of(bound, hooked)(GREY, 1.0, sums())
    handle.remove()
    weight = next(bound.parameters())
    handle = weight.register_hook(lambda gradient: gradient * 0)
    with pytest.raises(NotStatic, match="hooks on its gradient"):
        step_of(bound, hooked)(GREY, 1.0, sums())
    handle.remove()
    step_of(bound, hooked)(GREY, 1.0, sums())


def test_a_weight_that_is_frozen_later_stays(traces: list[str]) -> None:
    bound = bound_of()
    optimizer = torch.optim.SGD(bound.parameters(), lr=0.1)
    step, weight = step_of(bound, optimizer), next(bound.parameters())
    step(GREY, 1.0, sums())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*was not registered in the param store")  # Pyro's
        weight.requires_grad_(False)
        before = weight.clone()
        step(GREY, 1.0, sums())
        assert torch.equal(weight, before)
    weight.requires_grad_(True)
    step(GREY, 1.0, sums())
    assert not torch.equal(weight, before)
    assert traces == ["step"] * 2  # that of the weight as it first was is still there


def test_a_state_that_is_not_there_yet_is_refused() -> None:
    bound = bound_of()
    with pytest.raises(NotStatic, match="makes new state"):
        step_of(bound, torch.optim.Adam(bound.parameters()))(GREY, 1.0, sums())


def test_settings_that_change_are_refused() -> None:
    bound = bound_of()
    optimizer = torch.optim.SGD(bound.parameters(), lr=0.1, momentum=0.9)
    plain_step(bound, optimizer, 1.0)
    step = step_of(bound, optimizer)
    step(GREY, 1.0, sums())
    optimizer.param_groups[0]["momentum"] = 0.8
    with pytest.raises(NotStatic, match="more of the optimizer than the learning rate"):
        step(GREY, 1.0, sums())


# Whole fits.


def interrupt(patch: pytest.MonkeyPatch, after: int) -> None:
    """Have SIGTERM arrive after so many steps."""
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


def test_a_fit_by_graphs_is_the_fit(tmp_path: Path, uncompiled: None, traces: list[str]) -> None:
    """Ragged batches, a warm-up, a schedule and clipping among them, from a single trace."""
    more: dict[str, Any] = {
        "epochs": 4, "warm_up": 2, "schedule": "CosineAnnealingLR", "clip": 5.0, "particles": 2,
    }  # fmt: skip
    small(tmp_path, "eager", compile="off", **more)
    assert traces == []
    small(tmp_path, "graphs", **ON, **more)
    assert traces == ["step"]
    pairs = zip(figures(tmp_path / "eager"), figures(tmp_path / "graphs"), strict=True)
    for one, other in pairs:
        numbers = {k: v for k, v in one.items() if isinstance(v, float)}
        assert {k: other[k] for k in numbers} == pytest.approx(numbers, rel=1e-4)
    one, other = weights(tmp_path / "eager"), weights(tmp_path / "graphs")
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("settings", [{"precision": "64"}, {"precision": "bf16-mixed"}, {}])
@pytest.mark.parametrize("data", ["rows", "folder"])
def test_graphs_serve_each_precision_and_kind_of_data(
    settings: dict[str, Any], data: str, tmp_path: Path, uncompiled: None, traces: list[str]
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
    small(tmp_path, "eager", compile="off", **settings)
    small(tmp_path, "graphs", **ON, **settings)
    assert traces == ["step"]
    last = [figures(tmp_path / name)[-1]["objective"] for name in ("eager", "graphs")]
    assert last[1] == pytest.approx(last[0], rel=2e-3)


def test_a_fit_by_graphs_goes_on_bit_by_bit(
    tmp_path: Path, uncompiled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(tmp_path, "whole", **ON, epochs=4)
    with monkeypatch.context() as patch:
        interrupt(patch, after=5)
        with pytest.raises(SystemExit):
            small(tmp_path, "cut", **ON, epochs=4)
    assert checkpoint(tmp_path / "cut")["progress"]["step"] == 5
    resume(tmp_path / "cut")
    assert not differences(future(tmp_path / "cut"), future(tmp_path / "whole"))
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")


def test_a_retreat_is_remembered(tmp_path: Path, uncompiled: None, traces: list[str]) -> None:
    """A step that was found to be no graph is none after a resume either: bit by bit the same."""
    cycle = {"class_path": "OneCycleLR", "init_args": {"max_lr": 0.01}}
    small(tmp_path, "whole", **ON, schedule=cycle, epochs=4)
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, after=8)
        with pytest.raises(SystemExit):
            small(tmp_path, "cut", **ON, schedule=cycle, epochs=4)
    resume(tmp_path / "cut")
    assert not differences(future(tmp_path / "cut"), future(tmp_path / "whole"))
    assert traces == ["step", "captured", "step", "captured", "captured"]


def test_what_auto_chose_is_recorded_and_kept(
    tmp_path: Path, uncompiled: None, monkeypatch: pytest.MonkeyPatch, traces: list[str]
) -> None:
    run = small(tmp_path, "short")
    assert (run.config["compile"], run.config["run"]["compiled"]) == ("auto", False)
    assert traces == []
    monkeypatch.setattr("ppvae.compilation.step.pays", lambda **_: True)
    run = small(tmp_path, "long")
    assert (run.config["compile"], run.config["run"]["compiled"]) == ("auto", True)
    assert traces == ["step"]
    monkeypatch.setattr("ppvae.compilation.step.pays", lambda **_: False)
    resume(run.path, epochs=3)
    assert traces == ["step", "step"]
    assert Run(run.path).config["run"]["compiled"] is True


def test_auto_compiles_what_is_long_enough() -> None:
    digits = {"parameters": 74_000, "numbers": 64 * 64}
    mnist = {"parameters": 820_000, "numbers": 64 * 784}
    assert not pays(steps=100 * 18, **digits)
    assert pays(steps=100_000, **digits)
    assert not pays(steps=1_000, **mnist)
    assert pays(steps=20 * 781, **mnist)
    assert pays(steps=5_000, **mnist | {"numbers": 100 * mnist["numbers"]})


def test_compile_on_the_command_line_and_in_a_file(
    tmp_path: Path, uncompiled: None, traces: list[str], capsys: pytest.CaptureFixture[str]
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
        assert traces == ["step"] * steps
        assert Run(tmp_path / word).config["compile"] == word
    with pytest.raises(InputError, match="--compile: 'perhaps' is not one of auto, on, off"):
        main([*small_flags(tmp_path, "wrong"), "--compile", "perhaps"])


def test_a_config_that_says_something_else_is_refused(tmp_path: Path, uncompiled: None) -> None:
    run = small(tmp_path, **ON)
    rewrite_config(run.path, lambda config: config.update(compile=True))
    with pytest.raises(InputError, match="compile is True, not one of auto, on, off"):
        resume(run.path, epochs=3)
    with pytest.raises(InputError, match="compile is True, not one of auto, on, off"):
        small(tmp_path, "other", compile=True)


def test_it_says_that_it_compiles_and_what_it_cannot(
    tmp_path: Path, uncompiled: None, traces: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    small(tmp_path, "whole", **ON)
    assert "compiling the training step" in capsys.readouterr().err
    # An optimizer that reads its state back, and a bound that is captured all the same.
    small(tmp_path, "half", **ON, optimizer="Adafactor", schedule=None)
    out = capsys.readouterr().out
    assert "note: the training step is not one graph: " in out
    assert "its bound is tried alone" in out
    assert traces == ["step", "step", "captured"]
    # A schedule that turns the momentum too.
    cycle = {"class_path": "OneCycleLR", "init_args": {"max_lr": 0.01}}
    small(tmp_path, "cycle", **ON, schedule=cycle)
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
    assert sum("depends on numbers in the tensors (test_step.py" in note for note in notes) == 2
    assert len(run.metrics()) == 4


@pytest.mark.slow
def test_a_compiled_fit_is_the_fit(tmp_path: Path) -> None:
    """Native code, to the same held-out bound; and the same again when it is asked for again."""
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
