"""A .csv file as data: numeric columns, and one more of labels or covariates."""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ppvae.data.files import parsing
from ppvae.data.labels import encode
from ppvae.data.rows import ArrayRows
from ppvae.data.source import Source
from ppvae.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def csv_source(path: Path, label: str | None, labels: tuple[str, ...] | None = None) -> Source:
    """Read the table at ``path``; the column ``label`` becomes y, and all others become x.

    Raises:
        InputError: for an unknown column, a cell that is not a finite number, a missing header,
            or a row index that was written as a column.

    """
    import pandas as pd

    with parsing(path, "a .csv table"):
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
        names = [str(name).strip() for name in header.iloc[0]]
        _demand_header(names, path)
        # Names are set by hand: pandas would rename the second of two equal ones.
        table = pd.read_csv(path, header=None, skiprows=1, names=names, low_memory=False)
    if len(table) == 0:
        raise InputError(f"{path} has a header and no rows.")
    if label is not None and label not in names:
        nearest = get_close_matches(label, names, 1, 0)
        raise InputError(
            f"--label {label} is no column of {path}, whose columns are {', '.join(names)}; "
            f"the nearest is {nearest[0]}."
        )
    inputs = [name for name in names if name != label]
    columns = [_numbers(table[name], path) for name in inputs]
    if not columns:
        raise InputError(f"{path} has no numeric column beside the label {label}.")
    x = torch.from_numpy(np.stack(columns, axis=1))
    if label is None:
        return Source(str(path), ArrayRows(x))
    y, codes = encode(_labels(table[label], path), f"{path}, column {label}", labels)
    return Source(str(path), ArrayRows(x, y), labels=codes)


def _demand_header(names: list[str], path: Path) -> None:
    # pandas names the columns of a nameless table 0, 1, 2, ...; other numbers are a first row.
    if all(_is_number(name) for name in names) and names != [str(i) for i in range(len(names))]:
        raise InputError(
            f"{path} has no header: its first line is all numbers ({', '.join(names[:3])}, ...); "
            f"write the names of the columns above it."
        )
    for place, name in enumerate(names):
        if not name:
            raise InputError(
                f"{path}: column {place + 1} has no name, as a row index that pandas wrote; name "
                f"it, or leave it out with to_csv(index=False)."
            )
        if name in names[:place]:
            raise InputError(f"{path} has two columns named {name}: name them apart.")


def _numbers(column: "pd.Series", path: Path) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    import pandas as pd

    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        cell = column.iloc[wrong[0]]
        found = "an empty cell or NaN" if pd.isna(cell) else repr(str(cell))[:80]
        if len(wrong) == len(values) and not pd.isna(cell):
            way_out = f"give --label {column.name} if it holds labels, or leave the column out"
        else:
            way_out = "drop such rows, or save the table as .npz with a mask"
        raise InputError(
            f"{path}: column {column.name} holds {found} in row {wrong[0] + 1} (counted from 1 "
            f"below the header), and {len(wrong)} such cells in all: {way_out}."
        )
    return values


def _labels(column: "pd.Series", path: Path) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
    wrong = np.flatnonzero(column.isna().to_numpy())
    if len(wrong):
        raise InputError(
            f"{path}: the label column {column.name} is empty in row {wrong[0] + 1} (counted from "
            f"1 below the header): fill it, or drop such rows."
        )
    values = column.to_numpy()
    return values if values.dtype.kind in "biuf" else values.astype(str)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
