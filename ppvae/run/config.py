"""``config.yaml``: read with distrust, as a stranger may have written it."""

import difflib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeGuard

import yaml

from ppvae.documents import read_yaml
from ppvae.errors import InputError

__all__ = ["FORMAT", "demand", "is_shape", "read_config", "versions"]


FORMAT = 1
"""Version of the run directory. A change that older code cannot read raises it."""


def versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    found = {"python": platform.python_version()}
    for name in ("ppvae", "torch", "pyro-ppl", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def read_config(path: Path) -> dict[str, Any]:
    """The config of the run at ``path``.

    Raises:
        InputError: if there is none, with the nearest run that is; if it is broken, or newer.
    """
    file = path / "config.yaml"
    if not file.is_file():
        nearby = sorted(str(f.parent) for f in Path(path).parent.glob("*/config.yaml"))
        near = difflib.get_close_matches(str(path), nearby, n=1, cutoff=0.5)
        nearby = [*near, *(name for name in nearby if name not in near)]
        more = ", ..." if len(nearby) > 5 else ""
        hint = f"; there are {', '.join(nearby[:5])}{more}" if nearby else ""
        raise InputError(f"{path} is no run of ppvae: it has no config.yaml{hint}")
    try:
        config = read_yaml(file.read_text())
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{file} cannot be read: {' '.join(str(error).split())[:200]}") from error
    record = config.get("run") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(record, dict):
        raise InputError(f"{file} is no config of a run: it lacks the part 'run'")
    number = record.get("format")
    if not isinstance(number, int):
        raise InputError(f"{file} does not say of which format the run is")
    if number > FORMAT:
        raise InputError(
            f"{path} is of format {number}, and this ppvae reads up to {FORMAT}; "
            "a newer ppvae wrote it: upgrade"
        )
    return config


def demand(mapping: Mapping[str, Any], key: str, kind: type, path: Path) -> Any:
    """The entry ``key`` of a part of the config of ``path``, if it is of this kind."""
    value = mapping.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{path / 'config.yaml'}: {key} is {value!r}, not a {kind.__name__}")
    return value


def is_shape(value: Any) -> TypeGuard[list[int]]:
    """Whether it is a list of whole numbers above 0."""
    return isinstance(value, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in value
    )
