"""Table of the seconds of ``ppvae.diagnose``, by question and in all."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .bars import Bar
from .data import ROOT
from .data import folder as data_folder
from .machine import versions
from .plan import Plan
from .table import figure, publish, show, under_way

__all__ = ["diagnose"]

MOST = {"full": 600.0, "quick": 60.0}
"""Bar: seconds of a diagnosis of MNIST's 10,000 test images."""

_WHOLE, _REST = "the whole command", "start, draws for ArviZ, figures and report"


def diagnose(plan: Plan, data: str = "mnist", **settings: Any) -> None:
    """Fit the default network for two epochs, and diagnose it in full and quick."""
    from ppvae.fit import fit

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, under_way() as say_what:
        run = Path(folder) / "run"
        say_what("fitting")
        fit(
            data=data, data_dir=data_folder(), binarize="dynamic", epochs=2, device="cpu", out=run,
            **settings,
        )  # fmt: skip
        for effort in ("quick", "full"):
            say_what(effort)
            started = time.perf_counter()
            seconds = _child(run, effort)
            whole = time.perf_counter() - started
            seconds |= {_REST: whole - sum(seconds.values()), _WHOLE: whole}
            rows += [{"effort": effort, "what": w, "seconds": s} for w, s in seconds.items()]
    shown = [(row["effort"], row["what"], figure(row["seconds"], 1)) for row in rows]
    show(f"diagnosis of {data}", ("effort", "", "seconds"), shown)
    reached = {row["effort"]: row["seconds"] for row in rows if row["what"] == _WHOLE}
    bars = [
        Bar(f"seconds of a diagnosis, {effort}", most, reached[effort])
        for effort, most in MOST.items()
    ]
    publish(plan, rows, bars, versions=versions("torch", "pyro"))


def _child(run: Path, effort: str) -> dict[str, float]:
    """Seconds of each question, in a fresh process like that of the command."""
    command = [sys.executable, "-m", "tests.benchmarks.diagnose", str(run), effort]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def timed(run: Path, effort: str) -> dict[str, float]:
    """Diagnose, and return the seconds of each question."""
    from ppvae.diagnose import diagnose as ask_all
    from ppvae.diagnostics import questions

    seconds: dict[str, float] = {}

    def clocked(name: str, ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def asked(context: Any) -> Any:
            started = time.perf_counter()
            answer = ask(context)
            seconds[name] = time.perf_counter() - started
            return answer

        return asked

    before: Mapping[str, Callable[[Any], Any]] = dict(questions.QUESTIONS)
    questions.QUESTIONS.update({name: clocked(name, ask) for name, ask in before.items()})
    try:
        ask_all(run, quick=effort == "quick", overwrite=True, data_dir=data_folder())
    finally:
        questions.QUESTIONS.update(before)
    return seconds


if __name__ == "__main__":
    print(json.dumps(timed(Path(sys.argv[1]), sys.argv[2])))
