"""Columns of a table: their names and kinds of values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, cast, final, get_args

from ppvae.errors import InputError

ColumnKind = Literal["real", "count", "category"]
"""Real numbers, whole numbers from 0, or one of a few levels."""


@final
@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        name: its name in the table.
        kind: the kind of its values.
        levels: names of the levels of a category; values in x are positions in it, from 0.

    Raises:
        InputError: for an unknown kind, or levels that do not fit the kind.
    """

    name: str
    kind: ColumnKind
    levels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(ColumnKind):
            kinds = ", ".join(get_args(ColumnKind))
            raise InputError(f"column {self.name!r} is of kind {self.kind!r}, not one of {kinds}")
        if (self.kind == "category") != bool(self.levels):
            raise InputError(
                f"column {self.name!r} is of kind {self.kind!r} and has {len(self.levels)} levels; "
                "only a category has levels, one or more"
            )

    def to_dict(self) -> dict[str, object]:
        """Plain types for YAML and JSON."""
        fields: dict[str, object] = {"name": self.name, "kind": self.kind}
        return fields | {"levels": list(self.levels)} if self.levels else fields

    @classmethod
    def from_dict(cls, fields: object) -> Self:
        """Read the result of ``to_dict`` from a file that anyone may have edited.

        Raises:
            InputError: for anything that ``to_dict`` cannot have written.
        """
        if not isinstance(fields, Mapping) or not set(fields) <= {"name", "kind", "levels"}:
            raise InputError(f"a column is a mapping of name, kind and levels, not {fields!r:.80}")
        levels = fields.get("levels", [])
        if not isinstance(levels, list) or not all(isinstance(level, str) for level in levels):
            raise InputError(f"the levels of a column are a list of names, not {levels!r:.80}")
        return cls(str(fields.get("name")), cast("ColumnKind", fields.get("kind")), tuple(levels))
