"""``config.yaml``: read with distrust, as a stranger may have written it."""

import difflib
import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from ppvae.errors import InputError
from ppvae.run.documents import read_yaml
from ppvae.run.store import MissingError, finish_swap, read_text

FORMAT = 6
"""Version of the run directory: code of a version reads all runs of it, and no others."""

_DIGEST = "digest"


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
        InputError: if there is none, with the nearest run that is; if it is damaged, or of another
            format.
    """
    file = path / "config.yaml"
    finish_swap(path)
    try:
        config = read_yaml(read_text(file))
    except MissingError as error:
        nearby = sorted(str(f.parent) for f in Path(path).parent.glob("*/config.yaml"))
        near = difflib.get_close_matches(str(path), nearby, n=1, cutoff=0.5)
        nearby = [*near, *(name for name in nearby if name not in near)]
        more = ", ..." if len(nearby) > 5 else ""
        hint = f"; there are {', '.join(nearby[:5])}{more}" if nearby else ""
        raise InputError(f"{path} is no run of ppvae: it has no config.yaml{hint}") from error
    except (RecursionError, ValueError, yaml.YAMLError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} cannot be read: {' '.join(str(error).split())[:200]}") from error
    record = config.get("run") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(record, dict):
        raise InputError(f"{file} is no config of a run: it lacks the part 'run'")
    number = record.get("format")
    if type(number) is not int:
        raise InputError(f"{file} does not say of which format the run is")
    if number != FORMAT:
        which, remedy = ("a newer", "upgrade") if number > FORMAT else ("an older", "fit it anew")
        raise InputError(
            f"{path} is of format {number}, and this ppvae reads format {FORMAT}; {which} ppvae "
            f"wrote it: {remedy}"
        )
    if _DIGEST in record and record[_DIGEST] != _digest(config):
        raise InputError(
            f"{file} is not as it was written: it was damaged, or changed by hand; if you changed "
            f"it, take the line '{_DIGEST}' out of its part 'run'"
        )
    return config


def sealed(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with a digest of itself, under ``run``."""
    plain = yaml.safe_load(text_of(config))
    plain["run"].pop(_DIGEST, None)
    plain["run"][_DIGEST] = _digest(plain)
    return dict(plain)


def text_of(config: Mapping[str, Any]) -> str:
    """What is written as ``config.yaml``."""
    return yaml.safe_dump(dict(config), sort_keys=False)


def _digest(config: Mapping[str, Any]) -> str:
    """Of what a config says, whatever its layout."""
    record = {key: value for key, value in config["run"].items() if key != _DIGEST}
    try:
        text = yaml.safe_dump({**config, "run": record})
    except (RecursionError, ValueError, yaml.YAMLError):
        return ""
    return hashlib.sha256(text.encode()).hexdigest()


def entry(mapping: Mapping[str, Any], key: str, kind: type, path: Path) -> Any:
    """The entry ``key`` of a part of the config of ``path``, if it is of this kind."""
    value = mapping.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{path / 'config.yaml'}: {key} is {value!r}, not a {kind.__name__}")
    return value
