"""Table of the start-up of each command, against the import of torch and Pyro.

It also has their memory, and time and memory of the default fit.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .bars import Bar
from .data import ROOT
from .footprint import footprint
from .machine import versions
from .plan import Plan
from .race import Result, ratio
from .table import figure, publish, show, under_way

__all__ = ["imports"]

_TORCH = "import torch"
_PYRO = "import torch, pyro"
_NAMES = ("fit", "compare", "diagnose", "encode", "sample")
_COMMANDS = {
    **{code: ["-c", code] for code in ("pass", _TORCH, _PYRO, "import ppvae")},
    **{f"{name} --help": ["-m", f"ppvae.{name}", "--help"] for name in _NAMES},
    **{f"import ppvae.{name}": ["-c", f"import ppvae.{name}"] for name in _NAMES},
}
_FIT = ["-m", "ppvae.fit"]
MOST = 1.5
"""Bar: seconds of ``--help`` over those of the import of torch."""


def imports(plan: Plan, fit: Sequence[str] = ()) -> None:
    """Start each command once per round, in an order that rotates.

    Memory is measured in one more start of each, and in one fit, with the flags ``fit``.
    """
    rounds = plan.rounds
    results = {name: Result() for name in _COMMANDS}
    names = list(_COMMANDS)
    with under_way() as report, TemporaryDirectory() as folder:
        for number in range(rounds + 1):  # the first fills the file cache and is not counted
            report(f"round {number} of {rounds}")
            turn = number % len(names)
            for name in (*names[turn:], *names[:turn]):
                ms = _ms(_COMMANDS[name])
                if number:
                    results[name].ms.append(ms)
        report("memory")
        memory = {name: footprint(_COMMANDS[name]) for name in names}
        report("the default fit")
        started = time.perf_counter()
        memory["fit"] = footprint([*_FIT, *fit, "--out", str(Path(folder) / "run")])
        results["fit"] = Result(ms=[(time.perf_counter() - started) * 1e3])
    rows: list[dict[str, Any]] = [
        {
            "command": name,
            "ms": result.median,
            "ratio_to_torch": ratio(result, results[_TORCH]) if name in names else None,
            "ratio_to_torch_and_pyro": ratio(result, results[_PYRO]) if name in names else None,
            "rounds": len(result.ms),
            **memory[name],
        }
        for name, result in results.items()
    ]
    shown = [
        (
            row["command"],
            figure(row["ms"], 0),
            figure(row["ratio_to_torch"]),
            figure(row["ratio_to_torch_and_pyro"]),
            figure(row.get("peak_mib"), 0),
            figure(row.get("anonymous_mib"), 0),
            figure(row.get("modules"), 0),
        )
        for row in rows
    ]
    header = ("", "ms", "/ torch", "/ torch, pyro", "peak MiB", "anonymous MiB", "modules")
    show(f"whole processes, {rounds} rounds; the default fit once", header, shown)
    bars = [
        Bar(f"{name} / {_TORCH}", MOST, ratio(result, results[_TORCH]))
        for name, result in results.items()
        if name.endswith("--help")
    ]
    publish(plan, rows, bars, versions=versions("torch", "pyro"))


def _ms(arguments: list[str]) -> float:
    """Milliseconds of a fresh Python process with these arguments."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)
    return (time.perf_counter() - started) * 1e3
