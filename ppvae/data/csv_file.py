"""A .csv file: numeric columns, and one more of labels or covariates."""

import io
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ppvae.data.csv_dialect import Dialect, dialect, is_number
from ppvae.data.downloads import parsing
from ppvae.data.labels import encode
from ppvae.data.rows import ArrayRows
from ppvae.data.source import Source
from ppvae.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def csv_source(path: Path, label: str | None, labels: tuple[str, ...] | None = None) -> Source:
    """Read the table at ``path``; the column ``label`` becomes y, and all others become x.

    Separators, decimal mark, encoding and what stands above the header are found by counting: see
    `ppvae.data.csv_dialect`.

    Raises:
        InputError: for an unknown column, a cell that is not a finite number, a missing header,
            lines of several lengths, or a row index that was written as a column.
    """
    with parsing(path, "a .csv table"):
        written = dialect(path.read_bytes(), path)
        table = _table(written)
    names = written.names
    if len(table) == 0:
        raise InputError(f"{path} has a header and no rows.")
    if label is not None and label not in names:
        nearest = get_close_matches(label, names, 1, 0)
        raise InputError(
            f"`label={label!r}` is no column of {path}, whose columns are {', '.join(names)}; "
            f"the nearest is {nearest[0]}."
        )
    inputs = tuple(name for name in names if name != label)
    columns = [_numbers(table[name], written.decimal, path) for name in inputs]
    if not columns:
        raise InputError(f"{path} has no numeric column beside the label {label}.")
    x = torch.from_numpy(np.stack(columns, axis=1))
    y, codes = None, None
    if label is not None:
        y, codes = encode(_labels(table[label], path), f"{path}, column {label}", labels)
    rows = ArrayRows(x, y, names=inputs)
    return Source(str(path), rows, labels=codes, notes=written.notes)


def _table(written: Dialect) -> "pd.DataFrame":
    import pandas as pd

    if not written.body.strip():
        return pd.DataFrame(columns=list(written.names))
    # Names by hand: pandas would rename the second of two equal ones. And no column is an index:
    # pandas would take the first for one where lines have a field more than there are names.
    return pd.read_csv(
        io.StringIO(written.body),
        header=None,
        names=list(written.names),
        usecols=range(len(written.names)),
        index_col=False,
        sep=r"\s+" if written.separator == " " else written.separator,
        decimal=written.decimal,
        skipinitialspace=True,
        low_memory=False,
    )


def _numbers(
    column: "pd.Series", decimal: str, path: Path
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    import pandas as pd

    if column.dtype.kind not in "biuf":
        text = column.astype("object").where(column.notna(), "").astype(str).str.strip()
        fine = text.map(lambda cell: is_number(cell, decimal))
        column = text.str.replace(decimal, ".").where(fine, column)
        values = pd.to_numeric(column.where(fine), errors="coerce").to_numpy(np.float64)
    else:
        values = column.to_numpy(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise InputError(_unlike_numbers(column, wrong, path))
    return values


def _unlike_numbers(
    column: "pd.Series", wrong: np.ndarray[tuple[int], np.dtype[np.int64]], path: Path
) -> str:
    """Return what is said of the cells ``wrong`` of a column."""
    import pandas as pd

    cell = column.iloc[wrong[0]]
    shown = "an empty cell or NaN" if pd.isna(cell) else repr(str(cell))[:80]
    if pd.isna(cell) or shown.strip("'").lower() in ("inf", "-inf"):
        way_out = "drop such rows, or save the table as .npz with a mask"
    elif any(character.isdigit() for character in shown):
        way_out = "write plain numbers, without units, signs of percent, dates or other marks"
        if len(wrong) == len(column):
            way_out += f", give `label={column.name!r}` if it holds labels, or leave the column out"
    elif len(wrong) == len(column):
        way_out = f"give `label={column.name!r}` if it holds labels, or leave the column out"
    elif wrong.tolist() == [0]:
        way_out = "leave the row out, if it holds units"
    else:
        way_out = "drop such rows, or save the table as .npz with a mask"
    return (
        f"{path}: column {column.name} holds {shown} in row {wrong[0] + 1} (counted from 1 "
        f"below the header), and {len(wrong)} such cells in all: {way_out}."
    )


def _labels(column: "pd.Series", path: Path) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
    wrong = np.flatnonzero(column.isna().to_numpy())
    if len(wrong):
        raise InputError(
            f"{path}: the label column {column.name} is empty in row {wrong[0] + 1} (counted from "
            f"1 below the header): fill it, or drop such rows."
        )
    values = column.to_numpy()
    return values if values.dtype.kind in "biuf" else values.astype(str)
