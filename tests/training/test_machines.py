"""Fits in two processes of ``torchrun``: equal to a fit in one process."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ppvae.fit import resume
from ppvae.run import Run
from tests.support.fits import checkpoint, figures, quick, small, small_flags, table_file, weights
from tests.support.machines import ROOT, Launched, environment, wait_for

__all__ = ["quick"]  # a fixture

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

LEAVES = 30.0
"""Maximum seconds until all processes end after one was killed."""

SCRIPT = """
import json, os, sys
import ppvae.fit, ppvae.report.figures
from pathlib import Path
ppvae.report.figures.leave_pictures = lambda *_: ([], None)
small = {"class_path": "MLP", "init_args": {"hidden": [16]}}
run = ppvae.fit.fit(
    sys.argv[1], likelihood="Gaussian", decoder=small, encoder=small, latent_dim=2, batch_size=8,
    accumulate=4, epochs=2, device="cpu", schedule=None, guide="Delta", evaluate_every=1,
    clip=0.5, out=sys.argv[2],
)
rank = os.environ["RANK"]
Path(f"rank{rank}.json").write_text(json.dumps([str(run.path), run.summary["epochs"]]))
"""


@pytest.mark.slow
def test_two_processes_climb_as_one_does(tmp_path: Path) -> None:
    """A point mass draws nothing: weights and figures are equal up to rounding in each step.

    A script that ``torchrun`` starts calls ``fit``, with four batches per step.
    """
    (tmp_path / "script.py").write_text(SCRIPT)
    words = ("script.py", str(table_file(tmp_path)), "two")
    ended_well(*words, cwd=tmp_path)
    one = small(tmp_path, "one", guide="Delta", clip=0.5, evaluate_every=1).path
    two = tmp_path / "two"
    for name, value in weights(one).items():
        assert (value - weights(two)[name]).abs().max() < 1e-5, name
    for a, b in zip(figures(one), figures(two), strict=True):
        assert a["step"] == b["step"]
        assert a["objective"] == pytest.approx(b["objective"], rel=1e-5)
    told = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert told == [["two", 2]] * 2
    config = Run(two).config
    assert (config["devices"], config["nodes"]) == (2, 1)
    one_state, two_state = checkpoint(one), checkpoint(two)
    assert one_state.keys() == two_state.keys()
    assert len(two_state["random"]) == 2


def ended_well(*words: str, cwd: Path) -> None:
    with Launched(*words, cwd=cwd) as launched:
        assert launched.ended(within=400) == (0, [])


def flags(folder: Path, *more: str) -> list[str]:
    """A fit without end, evaluated after each epoch."""
    return [
        "-m", "ppvae.fit", *small_flags(folder), "--epochs", "100000", "--compile", "off", *more
    ]  # fmt: skip


def is_training(run: Path, rows: int = 4) -> bool:
    metrics = run / "metrics.csv"
    return metrics.is_file() and metrics.read_text().count("\n") > rows


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("moment", ["start-up", "training", "evaluation", "writing", "report"])
def test_a_killed_rank_ends_all_with_one_sentence(moment: str, victim: int, tmp_path: Path) -> None:
    more = {
        "evaluation": ["--evaluate-every", "1", "--batch-size", "200"],
        "writing": ["--evaluate-every", "1", "--batch-size", "200", "--decoder.hidden", "900,900"],
        "report": ["--epochs", "2"],
    }.get(moment, ["--evaluate-every", "1000"])
    run = tmp_path / "run"
    with Launched(*flags(tmp_path, *more), cwd=tmp_path) as launched:
        if moment == "start-up":
            wait_for(lambda: len(launched.ranks()) == 2)
        elif moment == "writing":
            wait_for(lambda: is_training(run) and (run / ".partial").is_dir())
        else:
            wait_for(lambda: is_training(run, 3 if moment == "report" else 4))
        pids = launched.ranks()
        pid = launched.kill(victim)
        code, errors = launched.ended(within=LEAVES)
    assert code
    if moment != "start-up":  # before they connect, only torchrun detects it
        (said,) = errors
        assert said.startswith(f"error: rank {victim} of 2 processes (pid {pid} on ")
        assert said.endswith(f"was killed; continue with --resume {run}")
        state = Run(run).state("last")
        assert state["progress"]["step"] >= 0
    assert not any(Path(f"/proc/{each}").exists() for each in pids.values())


@pytest.mark.slow
@on_linux
def test_a_fit_that_is_started_again_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["-m", "ppvae.fit", *small_flags(tmp_path), "--epochs", "60", "--compile", "off"]
    with Launched(*words, cwd=tmp_path, restarts=2) as launched:
        wait_for(lambda: is_training(run, 6))
        launched.kill(1)
        out, said = launched.agent.communicate(timeout=400)
    assert launched.agent.returncode == 0, said
    assert f"resuming {run} after " in out.replace("\n", " ")
    assert "after 0 steps" not in out
    rows = figures(run)
    assert [row["epoch"] for row in rows if row["split"] == "train"] == list(range(1, 61))
    whole = small(tmp_path, "whole", epochs=60, compile="off").path
    assert figures(whole)[-1]["objective"] == pytest.approx(rows[-1]["objective"], abs=0.5)


AGAIN = """
import os, sys, time
import torch
from ppvae.training.processes import Processes, launch
from ppvae.training.world import World
rank, start = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
if start == 1 and rank == int(sys.argv[1]):
    time.sleep(3)  # the other finds what the dead one left
fabric = launch("cpu", "32", Processes(2, 1, World.told()))
told = int(fabric.all_reduce(torch.tensor(10.0 ** rank), reduce_op="sum"))
if start == 0:
    os.kill(os.getpid(), 9)
os.write(1, f"{told}\\n".encode())
os._exit(0)  # at once: the other would take an exit of one that works on for a death
"""


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("late", ["0", "1"])
def test_processes_that_are_started_again_do_not_wait_for_dead_ones(
    late: str, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(AGAIN)
    with Launched("script.py", late, cwd=tmp_path, restarts=1) as launched:
        out, said = launched.agent.communicate(timeout=400)
    assert launched.agent.returncode == 0, said
    assert out.split() == ["11", "11"]


@pytest.mark.slow
@on_linux
def test_the_run_of_another_fit_is_not_gone_on_with(tmp_path: Path) -> None:
    """A restarted fit finds a run with other settings in its folder."""
    small(tmp_path, epochs=1)
    words = ["-m", "ppvae.fit", *small_flags(tmp_path), "--lr", "0.123"]
    with Launched(*words, cwd=tmp_path, restarts=1) as launched:
        code, errors = launched.ended(within=400)
    assert code
    assert len(errors) == 2  # one each time
    assert all("holds a run already" in said for said in errors)


@pytest.mark.slow
def test_a_fit_goes_on_in_another_number_of_processes(tmp_path: Path) -> None:
    """From two to one, and from one to two, in the middle of an epoch: one deterministic fit."""
    fixed: dict[str, Any] = {"guide": "Delta", "epochs": 4, "batch_size": 16}
    words = [*small_flags(tmp_path, "two"), "--guide", "Delta", "--batch-size", "16"]
    ended_well("-m", "ppvae.fit", *words, cwd=tmp_path)
    resume(tmp_path / "two", epochs=4, devices=1)
    assert Run(tmp_path / "two").config["devices"] == 1
    small(tmp_path, "one", **fixed | {"epochs": 2})
    words = ["-m", "ppvae.fit", "--resume", str(tmp_path / "one"), "--epochs", "4"]
    ended_well(*words, cwd=tmp_path)
    whole = weights(small(tmp_path, "whole", **fixed).path)
    for name in ("one", "two"):
        for key, value in weights(tmp_path / name).items():
            assert (value - whole[key]).abs().max() < 1e-4, (name, key)


@pytest.fixture
def two_machines() -> Iterator[tuple[str, ...]]:
    """Two connected network namespaces with different addresses."""
    names = f"ppvae-{os.getpid()}-a", f"ppvae-{os.getpid()}-b"  # tests may run at the same time
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip`, by which network namespaces are made")
    try:
        for words in (
            f"netns add {names[0]}",
            f"netns add {names[1]}",
            f"link add veth-a netns {names[0]} type veth peer name veth-b netns {names[1]}",
            *(
                line
                for number, (name, end) in enumerate(zip(names, "ab", strict=True), 1)
                for line in (
                    f"-n {name} addr add 10.77.0.{number}/24 dev veth-{end}",
                    f"-n {name} link set veth-{end} up",
                    f"-n {name} link set lo up",
                )
            ),
        ):
            made = subprocess.run(
                ["ip", *words.split()], capture_output=True, text=True, check=False
            )
            if made.returncode:
                pytest.skip(f"no network of two machines can be made here: {made.stderr.strip()}")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def on_machine(name: str, words: list[str], **variables: str) -> "subprocess.Popen[str]":
    end = name[-1]
    return subprocess.Popen(
        ["ip", "netns", "exec", name, *words],
        env=environment(GLOO_SOCKET_IFNAME=f"veth-{end}", TP_SOCKET_IFNAME=f"veth-{end}")
        | variables,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("by", ["torchrun", "hand"])
def test_two_machines_fit_as_one_process(
    by: str, two_machines: tuple[str, ...], tmp_path: Path
) -> None:
    words = ["-m", "ppvae.fit", *small_flags(tmp_path), "--guide", "Delta"]
    machines = []
    for number, name in enumerate(two_machines):
        if by == "torchrun":
            torchrun = [
                "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1",
                f"--node-rank={number}", "--master-addr=10.77.0.1", "--master-port=29517",
            ]  # fmt: skip
            machines.append(on_machine(name, [sys.executable, *torchrun, *words]))
        else:
            told = {"MASTER_ADDR": "10.77.0.1", "MASTER_PORT": "29518", "NODE_RANK": str(number)}
            machines.append(on_machine(name, [sys.executable, *words, "--nodes", "2"], **told))
    said = [machine.communicate(timeout=400) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    assert not said[1][0]  # only the first prints
    assert Run(tmp_path / "run").config["nodes"] == 2
    one = small(tmp_path, "one", guide="Delta").path
    for name, value in weights(one).items():
        assert (value - weights(tmp_path / "run")[name]).abs().max() < 1e-5, name


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_killed_on_one_machine_ends_the_other(
    victim: int, two_machines: tuple[str, ...], tmp_path: Path
) -> None:
    """Without a launcher: each machine detects it over the network."""
    machines = []
    for number, name in enumerate(two_machines):
        told = {"MASTER_ADDR": "10.77.0.1", "MASTER_PORT": "29519", "NODE_RANK": str(number)}
        words = [sys.executable, *flags(tmp_path), "--nodes", "2"]
        machines.append(on_machine(name, words, **told))
    wait_for(lambda: is_training(tmp_path / "run"))
    machines[victim].kill()  # `ip netns exec` has become the process itself
    other = machines[1 - victim]
    _, said = other.communicate(timeout=LEAVES)
    machines[victim].communicate()
    assert other.returncode == 2
    (sentence,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert f"rank {victim} of 2 processes (pid {machines[victim].pid} on " in sentence


DIFFERS = """
import os, sys
import numpy as np
from ppvae import fit as command
rank = int(os.environ["RANK"])
settings = {"likelihood": "Gaussian", "epochs": 1, "device": "cpu", "out": "run"}
x = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
if sys.argv[1] == "data":
    x = x + rank
if sys.argv[1] == "settings":
    settings["lr"] = 1e-3 * (1 + rank)
if sys.argv[1] == "torch" and rank:
    import ppvae.training.agreement as agreement
    versions = agreement.versions
    agreement.versions = lambda: versions() | {"torch": "1.0"}
if sys.argv[1] == "folder" and rank:
    import ppvae.training.agreement as agreement
    agreement.is_there = lambda path: False
if sys.argv[1] == "defect" and rank:
    import ppvae.training.trainer as trainer
    def broken(*_): raise KeyError("a defect")
    trainer.Trainer._epoch = broken
from ppvae.cli.answering import answer
answer(lambda _: command.fit(x, **settings), [])
"""


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("data", ("different data than rank 0", "same files")),
        ("settings", ("different settings than rank 0", "same command")),
        ("torch", ("has torch 1.0", "same version")),
        ("folder", ("does not see run", "--out", "share")),
        ("defect", ("rank 1 ended by KeyError: 'a defect'",)),
    ],
)
def test_processes_that_differ_are_refused_in_one_sentence(
    what: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(DIFFERS)
    with Launched("script.py", what, cwd=tmp_path) as launched:
        _, said = launched.agent.communicate(timeout=400)
    assert launched.agent.returncode
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, said
    for word in words:
        assert word in errors[0]
    assert (tmp_path / "run").exists() == (what == "defect")
