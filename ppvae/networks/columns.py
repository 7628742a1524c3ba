"""The columns of a table: their names, and what their values are."""

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
        kind: what its values are.
        levels: names of the levels of a category; the values in x are places in it, from 0.

    Raises:
        InputError: for an unknown kind, or levels that do not go with it.
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
                "a category has one or more, and nothing else has any"
            )

    def to_dict(self) -> dict[str, object]:
        """Return plain types, as YAML and JSON hold them."""
        fields: dict[str, object] = {"name": self.name, "kind": self.kind}
        return fields | {"levels": list(self.levels)} if self.levels else fields

    @classmethod
    def from_dict(cls, fields: object) -> Self:
        """Read what ``to_dict`` wrote, from a file that anyone may have edited.

        Raises:
            InputError: for anything that ``to_dict`` cannot have written.
        """
        if not isinstance(fields, Mapping) or not set(fields) <= {"name", "kind", "levels"}:
            raise InputError(f"a column is a mapping of name, kind and levels, not {fields!r:.80}")
        levels = fields.get("levels", [])
        if not isinstance(levels, list) or not all(isinstance(level, str) for level in levels):
            raise InputError(f"the levels of a column are a list of names, not {levels!r:.80}")
        return cls(str(fields.get("name")), cast("ColumnKind", fields.get("kind")), tuple(levels))
