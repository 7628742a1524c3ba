"""Several fits of the same settings, one per seed."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ppvae.data import Data
from ppvae.errors import InputError
from ppvae.run.folder import check_unoccupied, free_folder
from ppvae.settings import Settings, check_seed
from ppvae.training.processes import Processes
from ppvae.training.restarts import begun_before


def per_seed[R](function: Callable[[Settings], R]) -> Callable[[Settings], R]:
    """Decorator: fit once per seed of the settings, and return a list.

    For type checkers it returns the type of a single fit: an overload would hide which keyword is
    wrong.
    """

    @functools.wraps(function)
    def wrapped(settings: Settings) -> Any:
        if settings.seeds is None:
            return function(settings)
        return [function(each) for each in settings_by_seed(settings)]

    return wrapped


def settings_by_seed(settings: Settings) -> list[Settings]:
    """The settings of each fit: its seed, and its folder ``seed-N`` in ``out``.

    Raises:
        InputError: if one of the folders exists, or a seed is invalid.
    """
    count = settings.seeds or 1
    check_seed(settings.seed + count - 1, "the last of the seeds")
    seeds = range(settings.seed, settings.seed + count)
    if settings.in_memory:
        return [replace(settings, seed=seed, seeds=None) for seed in seeds]
    parent = _parent(settings)
    folders = {seed: parent / f"seed-{seed}" for seed in seeds}
    fits = [
        replace(settings, seed=seed, seeds=None, out=folder) for seed, folder in folders.items()
    ]
    for each, folder in zip(fits, folders.values(), strict=True):
        if begun_before(each) is None:
            check_unoccupied(folder, overwrite=settings.overwrite)
    return fits


def _parent(settings: Settings) -> Path:
    if settings.out is None:
        count = Processes.of(settings.devices, settings.nodes).size
        if count > 1:
            raise InputError(
                f"`seeds={settings.seeds}` in {count} processes needs a common folder; give `out`"
            )
        return free_folder(Path("runs"), _name(settings.data))
    parent = Path(settings.out)
    if (parent / "config.yaml").is_file():
        raise InputError(
            f"{parent} holds a run, but `seeds={settings.seeds}` makes folders of runs in it; give "
            "another `out`"
        )
    return parent


def _name(data: object) -> str:
    """Name of the data for a folder name."""
    if isinstance(data, Data):
        return data.name
    return Path(data).stem if isinstance(data, (str, Path)) else "data"
