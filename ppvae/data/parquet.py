"""A .parquet table."""

from pathlib import Path

from ppvae.data.downloads import parsing
from ppvae.data.opened_table import OpenedTable
from ppvae.data.optional import needed
from ppvae.data.options import ReadOptions, Schema
from ppvae.data.source import Source
from ppvae.data.stored import is_read_whole, memory_of
from ppvae.data.table import table_source


def parquet_source(path: Path, options: ReadOptions, schema: Schema) -> Source:
    """Read the table at ``path``, or open it if it is large: `ppvae.data.table.table_source`.

    An opened table is read one column at a time, to find the kinds of its columns.

    Raises:
        InputError: if pyarrow is not installed, or the table cannot be used.
    """
    parquet = needed("pyarrow.parquet", f"reading {path}")
    import pandas as pd

    with parsing(path, "a .parquet table"):
        file = parquet.ParquetFile(path, memory_map=True)
        shape = file.metadata.num_rows, len(file.schema_arrow.names)
        if is_read_whole(memory_of(shape[0], shape[1:], is_bytes=False), options.memory):
            frame: pd.DataFrame | OpenedTable = pd.read_parquet(path)
        else:
            frame = OpenedTable(path, file)
    return table_source(frame, str(path), options, schema)
