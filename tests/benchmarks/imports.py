"""The third table: what starting each command costs, beside importing torch and Pyro."""

import subprocess
import sys
import time

from .bars import Bar
from .data import ROOT
from .machine import versions
from .plan import Plan
from .race import Result, ratio
from .table import figure, publish, show, under_way

__all__ = ["imports"]

_TORCH = "import torch"
_PYRO = "import torch, pyro"
_COMMANDS = {
    **{code: ["-c", code] for code in (_TORCH, _PYRO, "import ppvae")},
    **{
        f"{command} --help": ["-m", f"ppvae.{command}", "--help"]
        for command in ("fit", "compare", "diagnose", "encode", "sample")
    },
}
_MOST = 1.5
"""``--help`` is to answer within this many times the import of torch."""


def imports(plan: Plan) -> None:
    """Start each of them once a round, in an order that rotates; print the table and write it."""
    rounds = plan.rounds
    results = {name: Result() for name in _COMMANDS}
    names = list(_COMMANDS)
    with under_way() as report:
        for number in range(rounds + 1):  # the first is not counted: it warms the file cache
            report(f"round {number} of {rounds}")
            turn = number % len(names)
            for name in (*names[turn:], *names[:turn]):
                ms = _ms(_COMMANDS[name])
                if number:
                    results[name].ms.append(ms)
    rows = [
        {
            "command": name,
            "ms": result.median,
            "ratio_to_torch": ratio(result, results[_TORCH]),
            "ratio_to_torch_and_pyro": ratio(result, results[_PYRO]),
            "rounds": rounds,
        }
        for name, result in results.items()
    ]
    shown = [
        (
            name,
            figure(result.median, 0),
            figure(ratio(result, results[_TORCH])),
            figure(ratio(result, results[_PYRO])),
        )
        for name, result in results.items()
    ]
    show(f"whole processes, {rounds} rounds", ("", "ms", "/ torch", "/ torch, pyro"), shown)
    bars = [
        Bar(f"{name} / {_TORCH}", _MOST, ratio(result, results[_TORCH]))
        for name, result in results.items()
        if name.endswith("--help")
    ]
    publish(plan, rows, bars, versions=versions("torch", "pyro"))


def _ms(arguments: list[str]) -> float:
    """Milliseconds that a fresh Python takes to do this and end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)
    return (time.perf_counter() - started) * 1e3
