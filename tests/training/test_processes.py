"""Several processes: their maximum number, and their common end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ppvae.cli.given import given_settings
from ppvae.errors import InputError
from ppvae.fit import main, resume
from ppvae.run import Run
from ppvae.training.processes import Processes, launch
from tests.support.fits import quick, rewrite_config, small, small_flags, table_file, weights
from tests.support.refusals import refusal

__all__ = ["quick"]  # a fixture, used by every test here

CHILDREN = (
    "lightning_fabric.strategies.launchers.subprocess_script."
    "_SubprocessScriptLauncher._call_children_scripts"
)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)


@pytest.fixture(autouse=True)
def no_launch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def launched(*_: object) -> None:
        pytest.fail("processes were launched")

    monkeypatch.setattr(CHILDREN, launched)


@pytest.mark.parametrize("devices", [3, 200, 10_000, 10**30])
def test_no_more_processes_than_cores(
    devices: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = refusal(main, capsys, *small_flags(tmp_path), "--devices", str(devices))
    for word in (f"devices is {devices}", "2 cores", "--oversubscribe"):
        assert word in sentence
    assert not (tmp_path / "run").exists()


def test_a_strangers_config_starts_no_processes(tmp_path: Path) -> None:
    run = small(tmp_path, epochs=1).path
    rewrite_config(run, lambda c: c.update(devices=10_000))
    with pytest.raises(InputError, match="`devices` is 10000"):
        resume(run, epochs=2)
    argv = ["--config", str(run / "config.yaml"), "--out", str(tmp_path / "new")]
    with pytest.raises(InputError, match="`devices` is 10000"):
        main(argv)
    rewrite_config(run, lambda c: c.update(oversubscribe=True))
    with pytest.raises(InputError, match="sets oversubscribe"):
        main(argv)
    assert given_settings("fit", ["--oversubscribe"])["oversubscribe"] is True


def test_more_than_the_cores_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def launched(*_: object) -> None:
        raise InputError("launched")

    monkeypatch.setattr(CHILDREN, launched)
    monkeypatch.setattr("ppvae.training.processes._check_script", lambda _: None)
    with pytest.raises(InputError, match="launched"):
        small(tmp_path, devices=3, oversubscribe=True)


def test_no_more_processes_than_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.accelerator.device_count", lambda: 1)
    with pytest.raises(InputError, match=r"`devices` is 2, but this process sees 1.*gpus-per-task"):
        launch("cuda", "32", Processes(2, 1, None), oversubscribe=True)


# A launcher and its ranks without a fit: each rank prints its process id, and sleeps.

LAUNCH = """
import os, subprocess, sys, time
import ppvae.training.ranks
from ppvae.errors import InputError
from ppvae.training.ranks import ranks
ppvae.training.ranks.GRACE = 0.5
if len(sys.argv) > 2:
    ranks.tie()
    time.sleep(100)
os.environ[ppvae.training.ranks.LAUNCHER] = str(os.getpid())
here = [sys.executable, "-c", open(sys.argv[1]).read(), sys.argv[1], "rank"]
processes = [subprocess.Popen(here) for _ in range(2)]
print(*(process.pid for process in processes), flush=True)
ranks.watch(processes)
ranks.way_out = "go on with --resume runs/x"
"""
WAITS = "with ranks.together(): time.sleep(100)\n"
NOTICES = """
try:
    with ranks.together():
        while all(process.poll() is None for process in processes): time.sleep(0.01)
        raise RuntimeError("connection closed by peer")
except InputError as error:
    sys.exit(f"error: {error}")
"""


def launched(tmp_path: Path, ending: str) -> tuple[subprocess.Popen[str], list[int]]:
    (tmp_path / "launch.py").write_text(LAUNCH + ending)
    launcher = subprocess.Popen(
        [sys.executable, str(tmp_path / "launch.py"), str(tmp_path / "launch.py")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert launcher.stdout is not None
    return launcher, [int(word) for word in launcher.stdout.readline().split()]


def ended(pid: int, within: float = 20.0) -> bool:
    """Whether a process ends soon; a zombie has ended."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().split(") ")[1].startswith("Z"):
                return True
            os.kill(pid, 0)
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@on_linux
@pytest.mark.parametrize("moment", [0.0, 1.0])
def test_ranks_end_with_their_launcher(moment: float, tmp_path: Path) -> None:
    """During imports, or during the work."""
    launcher, pids = launched(tmp_path, WAITS)
    time.sleep(moment)
    launcher.kill()
    launcher.communicate()
    assert all(ended(pid) for pid in pids)


@on_linux
@pytest.mark.parametrize("ending", [WAITS, NOTICES], ids=["waits", "notices"])
def test_the_launcher_says_which_rank_died(ending: str, tmp_path: Path) -> None:
    """In a blocked call, or after an error of a connection."""
    launcher, pids = launched(tmp_path, ending)
    os.kill(pids[1], signal.SIGKILL)
    _, said = launcher.communicate(timeout=60)
    assert launcher.returncode in (1, 2)
    assert said == (
        f"error: rank 2 of 3 processes (pid {pids[1]}) was killed by SIGKILL; go on with "
        "--resume runs/x\n"
    )
    assert all(ended(pid) for pid in pids)


# Fits in two processes.

SCRIPT = """
import json, os, sys
from pathlib import Path
from ppvae.fit import fit
small = {"class_path": "MLP", "init_args": {"hidden": [8]}}
run = fit(
    sys.argv[1], likelihood="Gaussian", decoder=small, encoder=small, latent_dim=2, batch_size=32,
    epochs=2, device="cpu", schedule=None, devices=2, oversubscribe=True,
)
rank = os.environ["LOCAL_RANK"]
Path(f"rank{rank}.json").write_text(json.dumps([str(run.path), run.summary["epochs"]]))
"""


@pytest.mark.slow
def test_a_script_that_fits_in_two_processes(tmp_path: Path) -> None:
    """Every process runs the whole script and has the same run, in a folder named by the clock."""
    (tmp_path / "script.py").write_text(SCRIPT)
    subprocess.run(
        [sys.executable, "script.py", str(table_file(tmp_path))], check=True, timeout=500,
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    one, other = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert one == other
    assert one[1] == 2
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [Path(one[0]).name]


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("victim", ["rank", "launcher"])
def test_a_fit_whose_process_is_killed(victim: str, tmp_path: Path) -> None:
    flags = [*small_flags(tmp_path), "--devices", "2", "--oversubscribe", "--compile", "off"]
    launcher = subprocess.Popen(
        [sys.executable, "-m", "ppvae.fit", *flags, "--epochs", "100000"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    metrics = tmp_path / "run" / "metrics.csv"
    until = time.monotonic() + 200
    while not (metrics.is_file() and metrics.read_text().count("\n") > 4):
        assert launcher.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    os.kill(int(children[0]) if victim == "rank" else launcher.pid, signal.SIGKILL)
    _, said = launcher.communicate(timeout=60)
    assert all(ended(int(pid)) for pid in children)
    if victim == "rank":
        assert launcher.returncode == 2
        assert "Traceback" not in said
        assert f"(pid {children[0]}) was killed by SIGKILL; continue with --resume" in said
    step = Run(tmp_path / "run").state("last")["progress"]["step"]
    assert step > 0
    assert all(bool(value.isfinite().all()) for value in weights(tmp_path / "run").values())


def test_an_interactive_session_has_no_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import __main__

    monkeypatch.setattr(__main__, "__spec__", None)
    monkeypatch.delattr(__main__, "__file__", raising=False)
    with pytest.raises(InputError, match=r"`devices` is 2.*script"):
        small(tmp_path, devices=2)
    assert "LOCAL_RANK" not in os.environ
