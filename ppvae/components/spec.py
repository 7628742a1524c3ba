"""A part given by name and arguments."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ppvae.errors import InputError


@dataclass(frozen=True)
class Spec:
    """A part given by name and arguments.

    Attributes:
        class_path: a class name of this package, or an import path.
        init_args: its arguments, as plain YAML values.
        trusted: whether the user typed the path, in contrast to one read from a file.
        is_default: whether only the arguments were chosen, and the class is the default, which may
            depend on the data.
    """

    class_path: str
    init_args: Mapping[str, Any] = field(default_factory=dict)
    trusted: bool = True
    is_default: bool = False

    @classmethod
    def parse(cls, value: Any, kind: str, *, trusted: bool = True) -> "Spec":
        """Read ``Name`` or ``{class_path: Name, init_args: {...}}``."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls(value, {}, trusted)
        if isinstance(value, Mapping) and {"class_path"} <= value.keys() <= {
            "class_path",
            "init_args",
        }:
            path, args = value["class_path"], value.get("init_args") or {}
            if (
                isinstance(path, str)
                and isinstance(args, Mapping)
                and all(isinstance(k, str) for k in args)
            ):
                return cls(path, dict(args), trusted)
        raise InputError(
            f"`{kind}` is {value!r}; give a class name, or a mapping with class_path and init_args"
        )

    def plain(self) -> dict[str, Any]:
        """The spec as plain values for YAML."""
        return {"class_path": self.class_path, "init_args": dict(self.init_args)}
