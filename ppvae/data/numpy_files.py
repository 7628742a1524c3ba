"""NumPy files: .npy, one array; .npz, arrays by name or a sparse matrix of SciPy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ppvae.data.arrays import array_source
from ppvae.data.containers import dense
from ppvae.data.disk_rows import DiskRows
from ppvae.data.downloads import parsing
from ppvae.data.parts import joined
from ppvae.data.source import Source
from ppvae.data.stored import Mapped
from ppvae.errors import InputError

# The arrays that scipy.sparse.save_npz writes in each of its formats.
_SPARSE = ("format", "shape", "data")

_NAMES = {"x": ("x", "X", "data", "images"), "y": ("y", "Y", "labels", "target"), "mask": ("mask",)}
"""Usual names of the arrays of a file, this package's first."""

_PARTS = {"train": ("train",), "valid": ("val", "valid"), "test": ("test",)}
"""Usual names of the parts, if each is an array."""


_MAPPED = 2**20
"""Bytes of a file from which it is mapped, as its size is known before its header is read."""

_NO_ROWS = 128
"""Bytes of a file with a header only."""


def npy_source(path: Path, memory: float | None = None) -> Source:
    """Open the array at ``path``, or read it if it is small; pickles are refused.

    Args:
        path: the file.
        memory: see `ppvae.data.stored.budget`.

    Raises:
        InputError: if the file is damaged, or holds something else.
    """
    with parsing(path, "a .npy file"):
        # Without allow_pickle, so that a stranger's file cannot run code; also below.
        if path.stat().st_size > (_MAPPED if memory is None else _NO_ROWS):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            with path.open("rb") as file:
                array = np.load(file, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise InputError(f"{path} is a .npz file by its content: give it that suffix.")
        if isinstance(array, np.memmap) and array.dtype.kind in "biuf" and array.ndim:
            mapped = Mapped(path, array, memory)
            if not mapped.is_read_whole:
                rows = DiskRows(mapped, torch.arange(len(array)))
                return Source(str(path), rows, notes=(*mapped.notes, mapped.note))
        return array_source(array, str(path))


def npz_source(path: Path, labels: tuple[str, ...] | None = None) -> Source:
    """Read ``x``, and ``y`` and ``mask`` if present; or the matrix of a sparse file.

    ``x_train``, ``x_test`` and the like are the parts of the data. Without ``x`` the array named
    ``X``, ``data`` or ``images`` is used, and without ``y`` the one named ``labels``.

    Raises:
        InputError: if the file is damaged, or holds something else.
    """
    with parsing(path, "a .npz file"), path.open("rb") as file:
        with np.lib.npyio.NpzFile(file, allow_pickle=False) as content:
            if all(name in content for name in _SPARSE):
                from scipy.sparse import load_npz

                file.seek(0)
                return array_source(dense(load_npz(file), str(path)), str(path))
            if "x_train" in content:
                return _parts(content, path, labels)
            names = {what: _name(content, what, path) for what in _NAMES}
            arrays = {
                what: None if name is None else _array(content, name, path)
                for what, name in names.items()
            }
        if arrays["x"] is None:
            raise InputError(
                f"{path} has no array 'x'; it holds {', '.join(content) or 'nothing'}: save it "
                f"with np.savez(path, x=...)."
            )
        source = array_source(arrays["x"], str(path), arrays["y"], arrays["mask"], labels)
        other = [
            f"{name} taken for {what}" for what, name in names.items() if name not in (None, what)
        ]
        return replace(source, notes=(*source.notes, *other))


def _name(content: Any, what: str, path: Path) -> str | None:
    """Return the name of an array in a file: this package's name, or another usual one."""
    there = [name for name in _NAMES[what] if name in content]
    if len(there) > 1 and there[0] != what:
        raise InputError(f"{path} holds {' and '.join(there)}: rename the intended one to {what}.")
    return there[0] if there else None


def _parts(content: Any, path: Path, labels: tuple[str, ...] | None) -> Source:
    """Read ``x_train`` and ``x_test``, as in files of Keras, with labels and masks."""
    called = {
        part: [f"x_{name}" for name in names if f"x_{name}" in content]
        for part, names in _PARTS.items()
    }
    for there in (["x"] * ("x" in content) + called["train"], *called.values()):
        if len(there) > 1:
            raise InputError(f"{path} holds {' and '.join(there)}: keep only the intended one.")
    sources: dict[str, Source] = {}
    for part, names in called.items():
        for name in names:
            x, y, mask = (_array(content, f"{what}{name[1:]}", path) for what in ("x", "y", "mask"))
            known = sources["train"].labels if sources else labels
            sources[part] = array_source(x, f"{path}, {part}", y, mask, known)
    return joined(str(path), sources["train"], sources.get("valid"), sources.get("test"))


def _array(content: Any, name: str, path: Path) -> NDArray[Any] | None:
    """Return one array of the file, or None if there is none of this name."""
    if name not in content:
        return None
    try:
        array: NDArray[Any] = content[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        way_out = f"{name}.astype(str)" if name == "y" else f"{name}.astype(float)"
        raise InputError(
            f"{path}: {name} is an array of Python objects, which is a pickle and is not read: "
            f"save {way_out}."
        ) from error
    return array
