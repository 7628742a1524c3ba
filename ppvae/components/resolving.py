"""From a name to a class or function, which is imported only if it is trusted."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ppvae.components.kinds import Kind
from ppvae.components.names import check_name
from ppvae.components.spec import Spec
from ppvae.errors import InputError, nearest


def resolve(kind: Kind, spec: Spec, trust: Iterable[str] = ()) -> Any:
    """The class or function with this name.

    Args:
        kind: the kind of part.
        spec: the name.
        trust: modules from which names given in a file may be imported.

    Raises:
        InputError: for an unknown name, with the list and the nearest; for an import path that
            cannot be imported, or is not trusted.
    """
    names, path = kind.names(), spec.class_path
    if path in names:
        return names[path]
    module, _, last = path.rpartition(".")
    check_name(kind.name, path)
    known = names.get(last)
    if known is not None and f"{known.__module__}.{last}" == path:
        return known
    if not spec.trusted and not any(module == t or module.startswith(f"{t}.") for t in trust):
        raise InputError(f"the {kind.name} is {path}, {way_to_trust(path)}")
    return _imported(kind, path)


def way_to_trust(path: str, what: str = "whose code is not this package's") -> str:
    """What the code at an untrusted path is, and the way to use it, as a clause after the path."""
    root = path.split(".")[0]
    if root == "__main__":
        return (
            "which was defined in a script or notebook: open the run there, by ppvae.load(RUN, "
            "trust=['__main__']), or put it in a module file and fit with that"
        )
    return f"{what}; if you trust it, give `trust=['{root}']`"


def _imported(kind: Kind, path: str) -> Any:
    """Import ``package.module.Class``, or ``package.module.Class.method``."""
    parts = path.split(".")
    for split in range(len(parts) - 1, 0, -1):
        try:
            target: Any = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError as error:
            # The module that is missing must be this one, not one that it imports.
            if error.name is not None and ".".join(parts[:split]).startswith(error.name):
                continue
            raise InputError(f"`{kind.name}={path!r}`: importing it fails: {error}") from error
        for i, part in enumerate(parts[split:], start=split):
            if not hasattr(target, part):
                inside = [m.name for m in pkgutil.iter_modules(getattr(target, "__path__", ()))]
                if part in inside:
                    raise InputError(
                        f"`{kind.name}={path!r}` is a module; name a class or a function in it"
                    )
                if parts[0] == "__main__":
                    raise InputError(f"the {kind.name} is {path}, {way_to_trust(path)}")
                there = [n for n in dir(target) if not n.startswith("_")]
                raise InputError(
                    f"`{kind.name}={path!r}`: {'.'.join(parts[:i])} has no {part}"
                    f"{nearest(part, [*there, *inside])}"
                )
            target = getattr(target, part)
        if inspect.ismodule(target):
            raise InputError(
                f"`{kind.name}={path!r}` is a module; name a class or a function in it"
            )
        if not callable(target):
            raise InputError(
                f"`{kind.name}={path!r}` is a {type(target).__name__}; give a class or a function"
            )
        return target
    raise InputError(
        f"`{kind.name}={path!r}`: no module {parts[0]} can be imported from {Path.cwd()} or the "
        "environment; run in its folder, or install it"
    )


def owner_of(target: Any) -> type | None:
    """The class of ``target``, if it is a plain method of a class in a module."""
    outer, _, _ = getattr(target, "__qualname__", "").rpartition(".")
    if not outer or "<locals>" in outer:
        return None
    owner = getattr(inspect.getmodule(target), outer, None)
    return owner if inspect.isclass(owner) else None
