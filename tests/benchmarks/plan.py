"""What a table is asked for, and what there is to ask."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from .contenders import CONTENDERS
from .job import Job

__all__ = ["Plan", "Table"]


@dataclass(frozen=True)
class Plan:
    """How much a table is to measure; a table reads what concerns it.

    Attributes:
        out: the CSV to write.
        rounds: how often each thing is timed.
        steps: of training in a round.
        rows: images, where they are passed once.
        jobs: networks to train.
        only: contenders that take part, of those that there are for the device.
        limit: seconds of training after which a contender has not reached what it was to reach.
        load: cores that other work kept busy at the start.
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
        """Where all jobs are done."""
        return self.jobs[0].device


@dataclass(frozen=True)
class Table:
    """A module of this folder whose function of the same name makes a table from a `Plan`.

    Attributes:
        name: of both.
        help: what it measures.
        rounds: how often it times each thing, if nothing else is asked for.
        briefly: flags that keep it short among all tables; None: it is not one of them.
    """

    name: str
    help: str
    rounds: int = 15
    briefly: Sequence[str] | None = ()

    @property
    def flag(self) -> str:
        """What asks for it on the command line."""
        return f"--{self.name.replace('_', '-')}"

    def maker(self) -> Callable[[Plan], None]:
        """Import the module: a parent that holds no torch starts small children."""
        make: Callable[[Plan], None] = getattr(
            import_module(f"{__package__}.{self.name}"), self.name
        )
        return make
