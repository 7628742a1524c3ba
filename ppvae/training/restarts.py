"""Fits that a launcher starts again after a failure: they go on from their last checkpoint.

``torchrun --max-restarts`` starts the command anew, word for word. A run that is there by then is
the fit's own if it was begun with the same settings.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppvae.errors import InputError
from ppvae.run import Run
from ppvae.settings import Resume, Settings
from ppvae.training.world import World

_MANY = 1_000
"""Values of a sequence from which on it is data, not a setting."""


def digest_of(settings: Settings) -> str:
    """What tells the settings of a fit from others, as they were given: a digest of their values.

    Of an object made in Python its type counts: the same script makes it again.
    """
    told = {name: _plain(value) for name, value in settings.recorded().items()}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def begun_before(settings: Settings) -> Resume | None:
    """How to go on with what this fit did before it was started again; ``None``: it begins.

    Raises:
        InputError: if the launcher may start it again, and it could not find its run then.
    """
    world = World.told()
    if world is None or not (world.may_restart or world.restarts):
        return None
    if settings.out is None:
        if settings.in_memory:
            return None
        raise InputError(
            f"{world.by} may start this fit again when a process dies, and without `out` it would "
            "begin anew: give the folder in which it goes on, or no restarts"
        )
    if settings.overwrite:
        raise InputError(
            f"{world.by} may start this fit again when a process dies, and with `overwrite` it "
            "could not tell its own run from one that was there before: take another `out`, or "
            "remove the folder and leave out `overwrite`"
        )
    path = Path(settings.out)
    if not world.restarts or not (path / "config.yaml").is_file():
        return None
    config = Run(path).config
    if config["run"].get("asked") != digest_of(settings):
        return None  # another fit, which is refused or replaced as at any time

    def own(name: str) -> Any:
        """What was handed in as an object, which no file names."""
        recorded = config.get(name)
        is_object = isinstance(recorded, Mapping) and "python_object" in recorded
        return getattr(settings, name) if is_object else None

    return Resume(
        path, data=own("data"), model=own("model"), guide=own("guide"), trust=settings.trust,
        data_dir=settings.data_dir, data_memory=settings.data_memory, tracker=settings.tracker,
        oversubscribe=settings.oversubscribe,
    )  # fmt: skip


def _plain(value: Any) -> Any:
    """A value as JSON has it, or the name of its type."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)) and len(value) < _MANY:
        return [_plain(each) for each in value]
    if isinstance(value, os.PathLike):
        return str(value)
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
