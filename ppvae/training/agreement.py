"""Checks that all processes of a fit, on all machines, agree on settings, data and versions.

They run before the first step: processes that differ would wait for each other forever, or train
different bounds as if they were one.
"""

from collections.abc import Mapping
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Any

import torch

from ppvae.data import Data
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.run.config import versions
from ppvae.run.store import is_there

if TYPE_CHECKING:  # it takes seconds to import
    from lightning_fabric import Fabric

_WAYS_OUT = {
    "settings": "start all processes with the same command",
    "data": "give all machines the same files",
    "precision": "set `precision`, since `auto` depends on the processor",
    "programs": "give all machines the same code and settings",
}


def check_alike(fabric: "Fabric", asked: str, data: Data, pair: Pair) -> None:
    """Refuse processes with different settings, versions or data.

    Args:
        fabric: the processes.
        asked: digest of the settings.
        data: the data, as read in this process.
        pair: the programs, as built in this process.

    Raises:
        InputError: in all processes, naming the first one that differs from rank 0, and how.
    """
    if fabric.world_size == 1:
        return
    found = data.fingerprint() or {}
    told = {name: found.get(name) for name in ("sha256", "size")}
    sizes = {name: len(split) for name, split in data.splits.items()}
    facts: dict[str, Any] = {
        **{name: number for name, number in versions().items() if name != "python"},
        "settings": asked,
        "precision": fabric.strategy.precision.precision,
        "data": [data.shape, sizes, told],
        "programs": [(name, value.shape) for name, value in pair.state_dict().items()],
    }
    first, *others = _gathered(fabric, facts | {"host": gethostname()})
    for rank, other in enumerate(others, 1):
        for name in facts:
            if other[name] != first[name]:
                raise InputError(_differs(name, rank, other, first))


def check_seen(fabric: "Fabric", folder: Path) -> None:
    """Refuse a run directory of the first process that another does not see.

    Raises:
        InputError: in all processes, naming the machine.
    """
    if fabric.world_size == 1:
        return
    seen = {"sees": is_there(folder / "config.yaml"), "host": gethostname()}
    for rank, other in enumerate(_gathered(fabric, seen)):
        if not other["sees"]:
            raise InputError(
                f"rank {rank} (on {other['host']}) does not see {folder}, which rank 0 created: "
                "give `out`, a folder on a file system that all machines share"
            )


def all_agree(fabric: "Fabric", value: bool) -> bool:
    """Whether a value is true in all processes."""
    return all(_gathered(fabric, value))


def _differs(name: str, rank: int, other: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    who, zero = f"rank {rank} (on {other['host']})", f"rank 0 (on {first['host']})"
    if name in _WAYS_OUT:
        return f"{who} has different {name} than {zero}: {_WAYS_OUT[name]}"
    return (
        f"{who} has {name} {other[name]}, but {zero} has {first[name]}: install the same version "
        "on "
        "each machine"
    )


def _gathered[T](fabric: "Fabric", value: T) -> list[T]:
    """The value of each process."""
    if fabric.world_size == 1:
        return [value]
    values: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(values, value)
    return values
