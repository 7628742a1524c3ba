"""Settings of a table, and the declaration of tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from .contenders import CONTENDERS
from .job import Job

__all__ = ["Plan", "Table"]


@dataclass(frozen=True)
class Plan:
    """Settings of a table; each table reads those that it needs.

    Attributes:
        out: the CSV to write.
        rounds: how often each thing is timed.
        steps: training steps per round.
        rows: rows, if a table takes one pass over data.
        jobs: networks to train.
        only: contenders that take part, all of which support the device.
        limit: seconds of training after which a contender is stopped.
        load: cores kept busy by other work at the start.
    """

    out: Path
    rounds: int
    steps: int = 60
    rows: int = 10_000
    jobs: Sequence[Job] = (Job("mlp"), Job("conv"))
    only: Sequence[str] = field(default_factory=lambda: tuple(CONTENDERS))
    limit: float = 300.0
    load: float = 0.0

    @property
    def device(self) -> str:
        """Device of all jobs."""
        return self.jobs[0].device


@dataclass(frozen=True)
class Table:
    """A module of this folder whose function of the same name makes a table from a `Plan`.

    Attributes:
        name: name of the module and of its function.
        help: what it measures.
        rounds: default number of rounds.
        briefly: flags that shorten it under ``--all``; None: ``--all`` leaves it out.
    """

    name: str
    help: str
    rounds: int = 15
    briefly: Sequence[str] | None = ()

    @property
    def flag(self) -> str:
        """Its flag on the command line."""
        return f"--{self.name.replace('_', '-')}"

    def maker(self) -> Callable[[Plan], None]:
        """Import the module, no earlier, so that a process without torch starts small children."""
        make: Callable[[Plan], None] = getattr(
            import_module(f"{__package__}.{self.name}"), self.name
        )
        return make
