"""The cells of one column of a table: numbers or texts, and which cells are empty."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
from numpy.typing import NDArray

from ppvae.data.csv_dialect import is_number
from ppvae.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Row = Callable[[int], str]
"""The name of the row at a position in sentences: ``row 3 (counted from 1 below the header)``."""

MISSING = ("", "?", "-", "--", ".", "nan", "na", "n/a", "#n/a", "null")
"""Usual texts for missing values, in upper or lower case."""

_MARKED = re.compile(r"[$€£<>~+-]?\s*\d")
"""A number with something attached: ``12 kg``, ``5%``, ``2024-01-31``."""

_PADDED = re.compile(r"[+-]?0\d+")
"""Digits that are a name, not a number: ``00501``."""

_EXACT = 2.0**53
"""Double precision distinguishes whole numbers up to here."""


@final
@dataclass(frozen=True)
class Cells:
    """One column.

    Args:
        numbers: (N,) float64, NaN where there is none; all NaN for texts.
        texts: (N,) strings, or None for a column of numbers.
        order: the levels in a given order, or None.
        is_missing: (N,), where there is no value.
        names: (N,) the numbers as written, if the spelling matters: ``00501``; or None.
    """

    numbers: NDArray[np.float64]
    texts: NDArray[Any] | None
    order: tuple[str, ...] | None
    is_missing: NDArray[np.bool_]
    names: NDArray[Any] | None = None

    @classmethod
    def of(
        cls, column: "pd.Series", row: Row, decimal: str = ".", *, may_be_words: bool = False
    ) -> Self:
        """Read a column of pandas: numbers, also as text; truth values and words are texts.

        Args:
            column: the column.
            row: the name of a row in sentences, by its position.
            decimal: the decimal mark.
            may_be_words: the user said that it holds names, whatever they look like.

        Raises:
            InputError: for a column that is neither: dates, numbers with units, a mixture.
        """
        import pandas as pd

        is_missing = column.isna().to_numpy()
        if isinstance(column.dtype, pd.CategoricalDtype):
            order = tuple(dict.fromkeys(str(each).strip() for each in column.cat.categories))
            return cls(_nothing(column), _texts(column, is_missing), order, is_missing)
        kind = column.dtype.kind
        if kind in "mM" and not may_be_words:
            raise InputError(
                f"column {column.name} holds dates or times: turn them into numbers, or give "
                f"`drop={[column.name]!r}`"
            )
        if kind in "bmM":
            return cls(_nothing(column), _texts(column, is_missing), None, is_missing)
        if kind in "iuf":
            numbers = column.to_numpy(np.float64, na_value=np.nan)
            is_large = kind != "f" and bool((np.abs(numbers[~is_missing]) > _EXACT).any())
            names = _texts(column, is_missing) if is_large else None
            return cls(_finite(numbers, column.name, row), None, None, is_missing, names)
        if kind == "c":
            raise InputError(f"column {column.name} holds complex numbers: give two columns")
        return cls._of_objects(column, is_missing, row, decimal, may_be_words=may_be_words)

    @classmethod
    def _of_objects(
        cls,
        column: "pd.Series",
        is_missing: NDArray[np.bool_],
        row: Row,
        decimal: str,
        *,
        may_be_words: bool,
    ) -> Self:
        texts = _texts(column, is_missing)
        is_missing = is_missing | np.array([text.lower() in MISSING for text in texts], dtype=bool)
        texts = np.where(is_missing, "", texts)
        seen = texts[~is_missing]
        is_fine = np.array([is_number(text, decimal) for text in seen], dtype=bool)
        if is_fine.all():
            numbers = np.full(len(texts), np.nan)
            numbers[~is_missing] = [float(text.replace(decimal, ".")) for text in seen]
            is_named = any(map(_PADDED.fullmatch, seen)) or bool(
                (np.abs(numbers[~is_missing]) > _EXACT).any()
            )
            names = texts if is_named else None
            return cls(_finite(numbers, column.name, row), None, None, is_missing, names)
        odd = seen[~is_fine]
        first = int(np.flatnonzero(~is_missing)[np.flatnonzero(~is_fine)[0]])
        is_marked = np.mean([bool(_MARKED.match(text)) for text in seen]) > 0.5
        if not may_be_words and (is_fine.mean() > 0.5 or is_marked):
            raise InputError(_mixed(column, texts, odd, first, row))
        return cls(_nothing(column), texts, None, is_missing)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def is_whole(self) -> bool:
        """Whether these are numbers, and all are whole."""
        seen = self.numbers[~self.is_missing]
        return self.texts is None and bool((seen == seen.round()).all())

    @property
    def levels(self) -> tuple[str, ...]:
        """The different values as text, in their own order, or sorted."""
        texts = self.texts if self.names is None else self.names
        if texts is None:
            return tuple(_spelled(number) for number in np.unique(self.numbers[~self.is_missing]))
        used = set(texts[~self.is_missing].tolist())
        return tuple(level for level in self.order or sorted(used) if level in used)

    def codes(self, levels: tuple[str, ...]) -> NDArray[np.int64]:
        """The positions of the values in ``levels``; -1 for others, and for missing ones."""
        places = {level: place for place, level in enumerate(levels)}
        return np.array(
            [-1 if gone else places.get(self.as_text(row), -1)
             for row, gone in enumerate(self.is_missing)],
            dtype=np.int64,
        )  # fmt: skip

    def as_text(self, row: int) -> str:
        """The value of a row as text."""
        texts = self.texts if self.names is None else self.names
        return _spelled(self.numbers[row]) if texts is None else str(texts[row])


def _spelled(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else repr(float(number))


def _texts(column: "pd.Series", is_missing: NDArray[np.bool_]) -> NDArray[Any]:
    # A typographic minus is that of a number.
    values = ["" if gone else str(value).strip().replace("\N{MINUS SIGN}", "-")
              for value, gone in zip(column.tolist(), is_missing, strict=True)]  # fmt: skip
    return np.array(values, dtype=object)


def _nothing(column: "pd.Series") -> NDArray[np.float64]:
    return np.full(len(column), np.nan)


def _finite(numbers: NDArray[np.float64], name: object, row: Row) -> NDArray[np.float64]:
    wrong = np.flatnonzero(np.isinf(numbers))
    if len(wrong):
        raise InputError(
            f"column {name} holds '{numbers[wrong[0]]:g}' in {row(int(wrong[0]))} "
            f"(such cells: {len(wrong):,}): leave them empty"
        )
    return numbers


def _mixed(
    column: "pd.Series", texts: NDArray[Any], odd: NDArray[Any], first: int, row: Row
) -> str:
    """The error for a column that is neither of numbers nor of words."""
    is_marked = any(character.isdigit() for character in texts[first])
    if is_marked:
        way_out = (
            "write plain numbers, without units, percent signs, dates or other marks, or give "
            f"`kinds={{{column.name!r}: 'category'}}` if it holds categories, or "
            f"`drop={[column.name]!r}`"
        )
    elif first == 0 and len(odd) == 1:
        way_out = "remove the row, if it holds units"
    else:
        way_out = "leave them empty, or write numbers"
    return (
        f"column {column.name} holds {texts[first][:80]!r} in {row(first)} (such cells: "
        f"{len(odd):,}): {way_out}"
    )
