"""Processes started by a launcher: their number, and the rank of this one.

``torchrun`` and ``srun`` set environment variables for them, which can also be set by hand. A
process without them launches others itself, or is alone.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from ppvae.errors import InputError

LAUNCHER = "PPVAE_LAUNCHER"
"""The environment variable with the process id of the launcher of a rank."""

_VARIABLES = "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"
"""Environment variables of torch's processes."""


@dataclass(frozen=True)
class World:
    """The processes started by a launcher.

    Attributes:
        by: the launcher: ``"torchrun"``, ``"srun"``, or ``"the environment"``.
        size: number of processes on all machines.
        rank: the number of this one, from 0.
        local_size: number of processes on this machine.
        local_rank: the number of this one among them, from 0.
        restarts: number of restarts so far.
        may_restart: whether the launcher restarts them when one fails.
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
        """The world described by the environment, or ``None``.

        Raises:
            InputError: if the description is incomplete or impossible.
        """
        if LAUNCHER in environment:  # the variables were set by a fit that launched the others
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
                f"the environment has {there}, but not {', '.join(missing)}: start the processes "
                "by torchrun, which sets all of these, or unset them for a single process"
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
    """Whether this is the first process of its machine, which prints common messages."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "SLURM_LOCALID"))


class _Numbers:
    """Integers in the environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def __call__(self, name: str, default: int) -> int:
        text = self._environment.get(name, str(default))
        try:
            return int(text)
        except ValueError:
            raise InputError(
                f"the environment has {name}={text}, which is not an integer; start the processes "
                f"by torchrun, or unset {name}"
            ) from None

    def of(self, *names: str) -> list[int]:
        """Several required integers."""
        for name in names:
            if name not in self._environment:
                raise InputError(
                    f"{name} is missing in the environment, which has others of a launcher: start "
                    "the processes by torchrun or srun, which set it"
                )
        return [self(name, 0) for name in names]


def _even(size: int, nodes: int) -> int:
    """Processes per machine."""
    if size % nodes:
        raise InputError(
            f"srun started {size} processes on {nodes} machines, but all machines need equal "
            "numbers: set the tasks per node"
        )
    return size // nodes


def _check_known(environment: Mapping[str, str], number: _Numbers) -> None:
    """Refuse processes of an unsupported launcher."""
    size = number("OMPI_COMM_WORLD_SIZE", 1)
    if size > 1 and "RANK" not in environment:
        raise InputError(
            f"mpirun started this process as one of {size}, but only torchrun, srun and the "
            f"variables {', '.join(_VARIABLES)} are supported; use one of these"
        )
