"""``config.yaml``, read as untrusted input."""

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
"""Version of the run directory: the code reads only runs of its version."""

_DIGEST = "digest"


def versions() -> dict[str, str]:
    """Versions of the packages that results depend on."""
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
        InputError: if there is none, with the runs nearby; if it is damaged, or of another format.
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
        if not path.exists():
            raise InputError(f"there is no run {path}{hint}") from error
        raise InputError(f"{path} is not a run of ppvae: it has no config.yaml{hint}") from error
    except (RecursionError, ValueError, yaml.YAMLError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} cannot be read: {' '.join(str(error).split())[:200]}") from error
    record = config.get("run") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(record, dict):
        raise InputError(f"{file} is not the config of a run: it lacks the section 'run'")
    number = record.get("format")
    if type(number) is not int:
        raise InputError(f"{file} does not state the format of the run")
    if number != FORMAT:
        which, remedy = ("a newer", "upgrade") if number > FORMAT else ("an older", "fit again")
        raise InputError(
            f"{path} has format {number}, but this ppvae reads format {FORMAT}; {which} ppvae "
            f"wrote it: {remedy}"
        )
    if _DIGEST in record and record[_DIGEST] != _digest(config):
        raise InputError(
            f"{file} was damaged, or changed by hand; if you changed it, remove the line "
            f"'{_DIGEST}' from its section 'run'"
        )
    return config


def sealed(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with its digest, under ``run``."""
    plain = yaml.safe_load(text_of(config))
    plain["run"].pop(_DIGEST, None)
    plain["run"][_DIGEST] = _digest(plain)
    return dict(plain)


def text_of(config: Mapping[str, Any]) -> str:
    """The text of ``config.yaml``."""
    return yaml.safe_dump(dict(config), sort_keys=False)


def _digest(config: Mapping[str, Any]) -> str:
    """Digest of the content of a config, whatever its layout."""
    record = {key: value for key, value in config["run"].items() if key != _DIGEST}
    try:
        text = yaml.safe_dump({**config, "run": record})
    except (RecursionError, ValueError, yaml.YAMLError):
        return ""
    return hashlib.sha256(text.encode()).hexdigest()


def entry(mapping: Mapping[str, Any], key: str, kind: type, path: Path) -> Any:
    """The entry ``key`` of a section of the config of ``path``, if it has this type."""
    value = mapping.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{path / 'config.yaml'}: {key} is {value!r}, not a {kind.__name__}")
    return value
