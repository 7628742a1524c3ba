"""Restarts by a launcher after a failure: the fit resumes from its last checkpoint.

``torchrun --max-restarts`` repeats the same command. An existing run belongs to the fit if it has
the same settings.
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
"""Minimum length of a sequence that counts as data, not a setting."""


def digest_of(settings: Settings) -> str:
    """Digest of the given settings of a fit.

    For an object only its type counts, since the same script makes it again.
    """
    told = {name: _plain(value) for name, value in settings.recorded().items()}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def begun_before(settings: Settings) -> Resume | None:
    """How to resume this fit after a restart; ``None``: it starts.

    Raises:
        InputError: if the launcher may restart it, and it could not find its run then.
    """
    world = World.told()
    if world is None or not (world.may_restart or world.restarts):
        return None
    if settings.out is None:
        if settings.in_memory:
            return None
        raise InputError(
            f"{world.by} may restart this fit when a process dies, and without `out` it would "
            "start from the first epoch: give `out`, the folder to resume from, or no restarts"
        )
    if settings.overwrite:
        raise InputError(
            f"{world.by} may restart this fit when a process dies, and with `overwrite` it could "
            "not distinguish its run from an earlier one: take another `out`, or "
            "remove the folder and leave out `overwrite`"
        )
    path = Path(settings.out)
    if not world.restarts or not (path / "config.yaml").is_file():
        return None
    config = Run(path).config
    if config["run"].get("asked") != digest_of(settings):
        return None  # another fit, which is refused or replaced as usual

    def own(name: str) -> Any:
        """The setting, if it is an object, which no file names."""
        recorded = config.get(name)
        is_object = isinstance(recorded, Mapping) and "python_object" in recorded
        return getattr(settings, name) if is_object else None

    return Resume(
        path, data=own("data"), model=own("model"), guide=own("guide"), trust=settings.trust,
        data_dir=settings.data_dir, data_memory=settings.data_memory, tracker=settings.tracker,
        oversubscribe=settings.oversubscribe,
    )  # fmt: skip


def _plain(value: Any) -> Any:
    """A value for JSON, or the name of its type."""
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
