"""A .parquet table that is opened, and read column by column when needed."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    import pandas as pd


@final
class OpenedTable:
    """The part of a DataFrame's interface that readers use, for a file on disk.

    Args:
        path: the file.
        file: the same file, opened by pyarrow.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path, self.file = path, file

    def __len__(self) -> int:
        return int(self.file.metadata.num_rows)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> "pd.Series":
        column: pd.Series = self._read([name])[name]
        return column

    @cached_property
    def index(self) -> "pd.Index":
        """The names of the rows."""
        return self._read([]).index

    @cached_property
    def columns(self) -> list[str]:
        """The columns, without those of the index."""
        return [str(name) for name in self.file.schema_arrow.empty_table().to_pandas().columns]

    def _read(self, columns: list[str]) -> "pd.DataFrame":
        import pandas as pd

        return pd.read_parquet(self.path, columns=columns)
