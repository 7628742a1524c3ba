"""A .parquet table."""

from pathlib import Path

from ppvae.data.downloads import parsing
from ppvae.data.optional import needed
from ppvae.data.options import ReadOptions, Schema
from ppvae.data.source import Source
from ppvae.data.table import table_source


def parquet_source(path: Path, options: ReadOptions, schema: Schema) -> Source:
    """Read the table at ``path``; see `ppvae.data.table.table_source`.

    Raises:
        InputError: where pyarrow is not installed, or the table cannot be used.
    """
    needed("pyarrow", f"reading {path}")
    import pandas as pd

    with parsing(path, "a .parquet table"):
        frame = pd.read_parquet(path)
    return table_source(frame, str(path), options, schema)
