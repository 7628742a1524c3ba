"""The columns of x of an opened .parquet table, read by row groups."""

from collections.abc import Sequence
from typing import Any, final, override

import numpy as np
import torch

from ppvae.data.blocks import POOL, Blocked
from ppvae.data.columns import Column
from ppvae.data.faults import Faults
from ppvae.data.opened_table import OpenedTable
from ppvae.data.progress import passing
from ppvae.data.split import Batch
from ppvae.data.stored import SMALL, memory_of
from ppvae.data.table_columns import TableColumns
from ppvae.errors import InputError


@final
class ParquetFile(Blocked):
    """The columns of x of a table on disk, read by row groups.

    Args:
        table: the table.
        columns: those of x.
        memory: see `ppvae.data.stored.budget`.
        has_mask: whether some of their cells are empty.

    Raises:
        InputError: for a row group that is too large to be read at once.
    """

    def __init__(
        self,
        table: OpenedTable,
        columns: Sequence[Column],
        memory: float | None,
        *,
        has_mask: bool,
    ) -> None:
        names, schema = [column.name for column in columns], table.file.schema_arrow
        is_large = memory_of(len(table), (len(names),), is_bytes=False) > SMALL
        is_single = is_large and all(_is_single(schema.field(name).type) for name in names)
        dtype = torch.float32 if is_single else torch.float64
        super().__init__(table.path, len(table), (len(names),), dtype, memory, has_mask=has_mask)
        self._file, self._columns = table.file, tuple(columns)
        metadata = table.file.metadata
        rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self._groups = [i for i, count in enumerate(rows) if count]
        most, width = max(rows, default=0), len(names) * (dtype.itemsize + has_mask)
        if not self.is_held and most * width > POOL:
            raise InputError(
                f"{table.path}: a row group has {most:,} rows, which take "
                f"{most * width / 2**30:.3g} GiB, and is read at once: write the table with "
                f"`row_group_size={max(1, POOL // 4 // width)}`, or give more `data_memory`."
            )
        counts = torch.tensor([rows[i] for i in self._groups], dtype=torch.int64)
        self.begin(counts.cumsum(0) - counts)

    @override
    def block(self, number: int, first: int, last: int) -> Batch:
        names = [column.name for column in self._columns]
        frame = self._file.read_row_group(self._groups[number], columns=names).to_pandas()
        frame = frame.reset_index(drop=True)
        faults = Faults(str(self.path))
        table = TableColumns(
            frame, str(self.path), lambda place: f"row {first + place}", ".", faults
        )
        found = [table.column(column.name, None, column) for column in self._columns]
        faults.check()
        values = np.stack([each[1] for each in found if each is not None], 1)
        x = torch.from_numpy(np.nan_to_num(values, nan=0.0)).to(self.dtype)
        return {"x": x} | ({"mask": torch.from_numpy(~np.isnan(values))} if self.has_mask else {})


def looked_at(
    table: TableColumns, names: Sequence[str], kinds: Any, known: Any
) -> tuple[list[Column], int]:
    """The columns of x, read one after the other, and the number of empty cells."""
    columns, empty = [], 0
    with passing("looking at columns", len(names)) as count:
        for name in names:
            found = table.column(name, kinds.get(name), known.get(name))
            if found is not None:
                columns.append(found[0])
                empty += int(np.isnan(found[1]).sum())
            count(1)
    return columns, empty


def _is_single(kind: Any) -> bool:
    """Whether single precision holds all values of an Arrow type."""
    return str(kind) in ("float", "halffloat", "bool", "int8", "int16", "uint8", "uint16")
