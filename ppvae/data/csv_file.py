"""Text tables: .csv or .tsv, in any dialect."""

import io
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING

from ppvae.data.cells import MISSING
from ppvae.data.csv_dialect import Dialect, dialect
from ppvae.data.downloads import parsing
from ppvae.data.options import AS_FOUND, UNKNOWN_SCHEMA, ReadOptions, Schema
from ppvae.data.source import Source
from ppvae.data.table import row_of_file, table_source
from ppvae.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def csv_source(
    path: Path, options: ReadOptions = AS_FOUND, schema: Schema = UNKNOWN_SCHEMA
) -> Source:
    """Read the table at ``path``; see `ppvae.data.table.table_source`.

    Separators, decimal mark, encoding and lines above the header are determined by counting: see
    `ppvae.data.csv_dialect`.

    Raises:
        InputError: for a missing header, lines of different lengths, a row index written as a
            column, or faults of its columns.
    """
    with parsing(path, "a .csv table"):
        words = _words(options, schema)
        undecided = {*options.drop, *words.difference(options.covariates)}
        written = dialect(path.read_bytes(), path, undecided)
        frame = _frame(written, words)
    if len(frame) == 0:
        raise InputError(f"{path} has a header and no rows.")
    return table_source(
        frame, str(path), options, schema, row=row_of_file,
        decimal=written.decimal, notes=written.notes,
    )  # fmt: skip


def _words(options: ReadOptions, schema: Schema) -> set[str]:
    """Columns that are read as text, as 00501 may be a name."""
    categories = [name for name, kind in options.kinds.items() if kind == "category"]
    fitted = [column.name for column in schema.columns or () if column.levels]
    named = [name for name in (options.index, options.label) if name is not None]
    return {*named, *options.covariates, *categories, *fitted}


def _frame(written: Dialect, words: Container[str]) -> "pd.DataFrame":
    import pandas as pd

    if not written.body.strip():
        return pd.DataFrame(columns=list(written.names))
    # Names are set here, as pandas would rename the second of two equal ones. No column is an
    # index, as pandas would make the first one if lines have one field more than there are names.
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
        keep_default_na=False,
        na_values=[*MISSING, *map(str.upper, MISSING), "NaN", "Null"],
        converters={name: str.strip for name in written.names if name in words},
    )
