"""X of an .h5ad file, opened without being read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final, override

import torch

from ppvae.data.blocks import Blocked
from ppvae.data.split import Batch
from ppvae.data.tensors import as_tensor
from ppvae.errors import InputError

BLOCK = 2**22
"""Bytes of rows that are read together (4 MiB), with their zeros."""


@final
class CellsFile(Blocked):
    """X of an AnnData on disk, dense or sparse by rows.

    Args:
        path: the file.
        annotated: the AnnData, backed by it.
        memory: see `ppvae.data.stored.budget`.

    Raises:
        InputError: if X is sparse by columns, and too large to be read.
    """

    def __init__(self, path: Path, annotated: Any, memory: float | None) -> None:
        # X is accessed once, as each access of anndata reads all row starts.
        self._annotated, self._x = annotated, annotated.X  # the former holds the file open
        self._columns: list[int] | None = None
        some = as_tensor(_dense(self._x[:0]))[0]
        super().__init__(path, annotated.n_obs, (annotated.n_vars,), some.dtype, memory)
        if getattr(annotated.X, "format", "csr") == "csc":
            self.is_read_whole |= self.is_held
        if not self.is_read_whole and getattr(annotated.X, "format", "csr") == "csc":
            raise InputError(
                f"{path}: X is sparse by columns (CSC), so that rows cannot be read alone: save "
                "it by rows, with `adata.X = adata.X.tocsr()`, or give more `data_memory`."
            )
        self.begin(torch.arange(0, self.rows, max(1, BLOCK // (4 * annotated.n_vars))))

    def take_columns(self, columns: Sequence[int]) -> None:
        """Read only these columns, in this order."""
        self._columns, self.shape = list(columns), (len(columns),)

    @override
    def block(self, number: int, first: int, last: int) -> Batch:
        x = as_tensor(_dense(self._x[first:last]))[0]
        return {"x": x if self._columns is None else x[:, self._columns]}


def _dense(values: Any) -> Any:
    return values.toarray() if hasattr(values, "toarray") else values
