"""Options for reading data, and the schema that a fit found in them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, final

from ppvae.data.columns import Column, ColumnKind, columns_from_plain, columns_to_plain
from ppvae.data.covariates import Covariate
from ppvae.errors import InputError


@final
@dataclass(frozen=True)
class ReadOptions:
    """The user's options for the columns of a table, the size of images, or memory.

    Args:
        label: the column of labels.
        covariates: columns that the programs are conditional on.
        index: the column with the names of the rows.
        drop: columns to leave out.
        kinds: the kinds of columns, if their values do not show them.
        size_factor: ``"total"``, the sum of a row; a column; or ``"none"``.
        split_column: the column with ``train``, ``valid`` or ``test``.
        size: height and width to which images are resized.
        memory: GiB of memory for the rows of a file.
        may_lack: columns among these that new data may lack.
    """

    label: str | None = None
    covariates: tuple[str, ...] = ()
    index: str | None = None
    drop: tuple[str, ...] = ()
    kinds: Mapping[str, ColumnKind] = field(default_factory=dict)
    size_factor: str | None = None
    split_column: str | None = None
    size: tuple[int, int] | None = None
    memory: float | None = None
    may_lack: frozenset[str] = frozenset()

    def of_new(self, columns: Iterable[str]) -> Self:
        """Return the options for other data than those of the fit, of which all rows are read."""
        there = set(columns)
        other: dict[str, Any] = {
            name: None
            for name in ("label", "index")
            if name in self.may_lack and getattr(self, name) not in there
        }
        drop = tuple(name for name in self.drop if name in there)
        return replace(self, **other, drop=drop, kinds={}, split_column=None)

    @property
    def of_columns(self) -> dict[str, Any]:
        """The options that concern columns, as far as they are set."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: value
            for name, value in values.items()
            if value
            and name not in ("size", "memory", "may_lack")
            and (name, value) != ("size_factor", "none")
        }


@final
@dataclass(frozen=True)
class Schema:
    """The meaning of the data of a fit, which other data must share.

    Args:
        columns: the columns of x, if it is a table.
        labels: names of the label codes.
        covariates: the columns from which y is made, if it is covariates.
        size_unit: the divisor of size factors.
        is_decimal: whether the label is a real number, and y a covariate.
    """

    columns: tuple[Column, ...] | None = None
    labels: tuple[str, ...] | None = None
    covariates: tuple[Covariate, ...] = ()
    size_unit: float | None = None
    is_decimal: bool = False

    def to_dict(self) -> dict[str, object]:
        """Return plain types for YAML and JSON."""
        return {
            "columns": None if self.columns is None else columns_to_plain(self.columns),
            "labels": None if self.labels is None else list(self.labels),
            "covariate_columns": [each.to_dict() for each in self.covariates],
            "size_unit": self.size_unit,
            "is_decimal": self.is_decimal,
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Self:
        """Read the result of ``to_dict`` from a file that anyone may have edited.

        Raises:
            InputError: for anything that ``to_dict`` cannot have written.
        """
        columns, labels, unit = (facts.get(name) for name in ("columns", "labels", "size_unit"))
        said = facts.get("covariate_columns") or []
        if not isinstance(said, list) or not isinstance(labels, list | None):
            raise InputError(
                f"covariates and labels are lists, not {said!r:.40} and {labels!r:.40}"
            )
        known = None if columns is None else columns_from_plain(columns)
        covariates = tuple(map(Covariate.from_dict, said))
        for each in (known or (), covariates):
            if len({column.name for column in each}) < len(each):
                raise InputError("two columns of the data have one name")
        if unit is not None and not (type(unit) in (int, float) and 0 < float(unit) < math.inf):
            raise InputError(f"size_unit is {unit!r:.40}; it is a number above 0")
        return cls(
            columns=known,
            labels=None if labels is None else tuple(map(str, labels)),
            covariates=covariates,
            size_unit=None if unit is None else float(unit),
            is_decimal=facts.get("is_decimal") is True,
        )


AS_FOUND = ReadOptions()
"""Options without any choice."""

UNKNOWN_SCHEMA = Schema()
"""The schema of data that are read for the first time."""
