"""The processes that a launcher has started: how many there are, and which of them this one is.

``torchrun`` says so in the environment of each, and so do ``srun`` and whoever sets its variables
by hand. A process that was told nothing launches others itself, or is alone.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from ppvae.errors import InputError

LAUNCHER = "PPVAE_LAUNCHER"
"""The environment variable that tells a rank the number of the process that launched it."""

_VARIABLES = "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"
"""What torch's processes know each other by."""


@dataclass(frozen=True)
class World:
    """The processes that a launcher has started.

    Attributes:
        by: what started them: ``"torchrun"``, ``"srun"``, or ``"the environment"``.
        size: how many there are on all machines.
        rank: the number of this one, from 0.
        local_size: how many there are on this machine.
        local_rank: the number of this one among them, from 0.
        restarts: how often the launcher has started them again.
        may_restart: whether it starts them again when one of them fails.
    """

    by: Literal["torchrun", "srun", "the environment"]
    size: int
    rank: int
    local_size: int
    local_rank: int
    restarts: int = 0
    may_restart: bool = False

    @classmethod
    def told(cls, environment: Mapping[str, str] = os.environ) -> "Self | None":
        """The world that the environment tells of; ``None`` where it tells of none.

        Raises:
            InputError: if it tells half of it, or what cannot be.
        """
        if LAUNCHER in environment:  # the variables are those of a fit that launched the others
            return None
        number = _Numbers(environment)
        if "TORCHELASTIC_RUN_ID" in environment:
            size, rank = number.of("WORLD_SIZE", "RANK")
            local_size, local_rank = number.of("LOCAL_WORLD_SIZE", "LOCAL_RANK")
            restarts = number("TORCHELASTIC_RESTART_COUNT", 0)
            may_restart = number("TORCHELASTIC_MAX_RESTARTS", 0) > 0
            return cls("torchrun", size, rank, local_size, local_rank, restarts, may_restart)
        if number("SLURM_STEP_NUM_TASKS", 1) > 1:  # within srun; a batch script alone has none
            size, nodes = number.of("SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES")
            rank, local_rank = number.of("SLURM_PROCID", "SLURM_LOCALID")
            return cls("srun", size, rank, _even(size, nodes), local_rank)
        _check_known(environment, number)
        if not {"RANK", "WORLD_SIZE"} & environment.keys() or number("WORLD_SIZE", 2) == 1:
            return None
        missing = [name for name in _VARIABLES if name not in environment]
        if missing:
            there = ", ".join(f"{n}={environment[n]}" for n in _VARIABLES if n in environment)
            raise InputError(
                f"the environment has {there}, and not {', '.join(missing)}: start the processes "
                "by torchrun, which sets all of these, or unset them for a process alone"
            )
        size, rank, local_rank = number.of("WORLD_SIZE", "RANK", "LOCAL_RANK")
        if not 0 <= rank < size:
            raise InputError(
                f"the environment has RANK={rank} and WORLD_SIZE={size}: ranks are numbers from 0 "
                f"to {size - 1}; start the processes by torchrun, which counts them"
            )
        return cls("the environment", size, rank, number("LOCAL_WORLD_SIZE", size), local_rank)

    @property
    def nodes(self) -> int:
        """The number of machines."""
        return self.size // self.local_size


def is_first_here() -> bool:
    """Whether this is the first process of its machine, or alone: what all say, it says."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "SLURM_LOCALID"))


class _Numbers:
    """Whole numbers of the environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def __call__(self, name: str, default: int) -> int:
        text = self._environment.get(name, str(default))
        try:
            return int(text)
        except ValueError:
            raise InputError(
                f"the environment has {name}={text}, which is no whole number; start the processes "
                f"by torchrun, or unset {name}"
            ) from None

    def of(self, *names: str) -> list[int]:
        """Several of them, which have to be there."""
        for name in names:
            if name not in self._environment:
                raise InputError(
                    f"{name} is missing in the environment, beside others of a launcher: start the "
                    "processes by torchrun or srun, which set it"
                )
        return [self(name, 0) for name in names]


def _even(size: int, nodes: int) -> int:
    """Processes of each machine."""
    if size % nodes:
        raise InputError(
            f"srun started {size} processes on {nodes} machines, and each machine has to have as "
            "many as the others: ask for so many tasks per node"
        )
    return size // nodes


def _check_known(environment: Mapping[str, str], number: _Numbers) -> None:
    """Refuse processes that know of each other by what is not read here."""
    size = number("OMPI_COMM_WORLD_SIZE", 1)
    if size > 1 and "RANK" not in environment:
        raise InputError(
            f"mpirun started this process as one of {size}, and only torchrun, srun and the "
            f"variables {', '.join(_VARIABLES)} are read; take one of these"
        )
