"""A part given by name and arguments."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    def parse(
        cls, value: Any, kind: str, *, trusted: bool = True, default: "Spec | None" = None
    ) -> "Spec":
        """Read ``Name`` or ``{class_path: Name, init_args: {...}}``.

        ``{init_args: {...}}`` alone has the class of ``default``, if that is given.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls(value, {}, trusted)
        if isinstance(value, Mapping) and value.keys() <= {"class_path", "init_args"}:
            path, args = value.get("class_path", default), value.get("init_args") or {}
            if isinstance(args, Mapping) and all(isinstance(k, str) for k in args):
                if isinstance(path, str):
                    return cls(path, dict(args), trusted)
                if isinstance(path, cls) and args:
                    args = {**path.init_args, **args}
                    return replace(path, init_args=args, trusted=trusted, is_default=True)
        raise InputError(
            f"`{kind}` is {value!r}; give a class name, or a mapping with class_path and init_args"
        )

    def plain(self) -> dict[str, Any]:
        """The spec as plain values for YAML; without a class if that was not chosen."""
        named = {} if self.is_default else {"class_path": self.class_path}
        return named | {"init_args": dict(self.init_args)}
