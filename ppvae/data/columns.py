"""Columns of a table in the record of a run; see `ppvae.networks.columns` for their definition."""

from collections.abc import Mapping
from typing import cast

from ppvae.errors import InputError
from ppvae.networks.columns import Column, ColumnKind

__all__ = ["Column", "ColumnKind", "columns_from_plain", "columns_to_plain"]


def columns_to_plain(columns: tuple[Column, ...]) -> object:
    """Return columns as plain types; many of one kind, such as genes, by name only."""
    kinds = {column.kind for column in columns}
    if len(kinds) == 1 and kinds != {"category"}:
        return {"kind": kinds.pop(), "names": [column.name for column in columns]}
    return [column.to_dict() for column in columns]


def columns_from_plain(plain: object) -> tuple[Column, ...]:
    """Read the result of `columns_to_plain` from a file that anyone may have edited.

    Raises:
        InputError: for anything that `columns_to_plain` cannot have written.
    """
    if isinstance(plain, Mapping):
        names, kind = plain.get("names"), plain.get("kind")
        if set(plain) != {"kind", "names"} or not isinstance(names, list):
            raise InputError(f"columns are a kind and names, not {plain!r:.80}")
        return tuple(Column(str(name), cast("ColumnKind", kind)) for name in names)
    if not isinstance(plain, list):
        raise InputError(f"columns are a list, not {plain!r:.80}")
    return tuple(map(Column.from_dict, plain))
