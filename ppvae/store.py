"""Trees of tensors and plain values on disk, as safetensors and JSON: nothing is ever unpickled.

A tree is what ``state_dict`` gives: dictionaries with string keys, lists, numbers, strings, nulls
and tensors. Tensors go to ``tensors.safetensors``, the rest to ``tree.json``, in which each tensor
is named. Two leaves that are one tensor are written once, and come back equal.
"""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from ppvae.errors import InputError

__all__ = ["load_tree", "plain", "replacing", "save_tree", "write_text"]

_TENSOR = "$tensor"


def save_tree(folder: Path, tree: Any) -> None:
    """Write ``tree`` as the folder ``folder``, whole or not at all."""
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    known: dict[tuple[Any, ...], str] = {}

    def strip(node: Any, path: str) -> Any:
        if isinstance(node, Tensor):
            same = (node.data_ptr(), node.shape, node.stride(), node.dtype)
            name = known.get(same) if node.numel() else None
            if name is None:
                name = known[same] = path
                tensors[name] = node.detach().cpu().contiguous().clone()
            return {_TENSOR: name}
        if isinstance(node, dict):
            return {str(key): strip(value, f"{path}/{key}") for key, value in node.items()}
        if isinstance(node, (list, tuple)):
            return [strip(value, f"{path}/{i}") for i, value in enumerate(node)]
        if node is None or isinstance(node, (bool, int, float, str)):
            return node
        raise TypeError(f"{path} is a {type(node).__name__}, which is neither a tensor nor plain")

    stripped = strip(tree, "")
    with replacing(folder) as fresh:
        fresh.mkdir()
        save_file(tensors, fresh / "tensors.safetensors")
        (fresh / "tree.json").write_text(json.dumps(stripped, indent=1))


def load_tree(folder: Path) -> Any:
    """Read what `save_tree` wrote.

    Raises:
        InputError: naming the file that is missing or broken.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tree = json.loads((folder / "tree.json").read_text())
        tensors = load_file(folder / "tensors.safetensors")
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise InputError(
            f"{folder} cannot be read as a checkpoint ({str(error).splitlines()[0]}); "
            "take another checkpoint of the run, or fit it anew"
        ) from error

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            if node.keys() == {_TENSOR}:
                if node[_TENSOR] not in tensors:
                    raise InputError(f"{folder} lacks the tensor {node[_TENSOR]!r} that it names")
                return tensors[node[_TENSOR]]
            return {key: fill(value) for key, value in node.items()}
        return [fill(value) for value in node] if isinstance(node, list) else node

    return fill(tree)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as fresh:
        fresh.write_text(text)


def plain(value: Any) -> Any:
    """The same of what JSON has: ``None`` for numbers that it lacks, text for paths and choices."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write a file or folder at; when the block ends well it takes the place of ``path``.

    Whatever happens in between, ``path`` is the old one or the new one, and never a part.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    fresh = scratch / path.name
    try:
        yield fresh
        _sync(fresh)
        if path.is_dir() and not path.is_symlink():  # a folder cannot be replaced in one call
            path.rename(scratch / "old")
        fresh.replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _sync(path: Path) -> None:
    """Have the disk hold the content before the name points at it, for the power may fail too."""
    files = [f for f in path.rglob("*") if f.is_file()] if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
