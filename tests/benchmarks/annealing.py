"""Table of annealed importance sampling, compiled and eager."""

import time
from statistics import median
from typing import Any

from .bars import Bar
from .data import origin
from .evidence import images, programs
from .machine import versions
from .plan import Plan
from .table import figure, publish, show, under_way

__all__ = ["annealing"]

MOST = 0.7
"""Bar: compiled seconds over eager seconds."""

_DATA, _CHAINS = 40, 8


def annealing(plan: Plan, temperatures: int = 60) -> None:
    """Anneal 40 images with 8 chains each, as `ppvae.diagnose` does, compiled and eager in turn.

    A path of two temperatures takes one pass and compiles the same code. Its time is the set-up,
    which is subtracted. The time and the moves of the pilot are included.
    """
    from ppvae.diagnostics import subject
    from ppvae.diagnostics.evidence.annealing import (
        PILOT_CHAINS,
        PILOT_TEMPERATURES,
        PILOT_WARM_UP,
        anneal,
    )

    programs_and_data = subject(*programs(), images(_DATA))

    def seconds(count: int, compile: bool) -> float:
        started = time.perf_counter()
        anneal(
            *programs_and_data, temperatures=count, chains=_CHAINS, start="guide", compile=compile
        )
        return time.perf_counter() - started

    taken: dict[str, list[float]] = {"compiled": [], "eager": []}
    first: dict[str, float] = {}
    with under_way() as say_what:
        for i in range(plan.rounds):
            say_what(f"round {i + 1} of {plan.rounds}")
            for name, times in taken.items():
                set_up = seconds(2, name == "compiled")
                first.setdefault(name, set_up)
                times.append(seconds(temperatures, name == "compiled") - set_up)
    pilot = PILOT_CHAINS * (PILOT_WARM_UP + PILOT_TEMPERATURES)
    moves = _DATA * (pilot + _CHAINS * (temperatures - 2))
    table: list[dict[str, Any]] = [
        {
            "what": name,
            "seconds": median(times),
            "moves_per_second": moves / median(times),
            "set_up_seconds": first[name],
        }
        for name, times in taken.items()
    ]
    keys = ("seconds", "moves_per_second", "set_up_seconds")
    show(
        f"annealing, {_DATA} images, {_CHAINS} chains, {temperatures} temperatures ({origin()})",
        ("", "seconds", "moves of a chain per second", "set-up, s"),
        [(row["what"], *(figure(row[key]) for key in keys)) for row in table],
    )
    ratio = median(a / b for a, b in zip(taken["compiled"], taken["eager"], strict=True))
    bars = [Bar("annealing, compiled / eager", MOST, ratio)]
    publish(plan, table, bars, versions=versions("torch", "pyro"))
