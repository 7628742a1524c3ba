"""Trees of tensors and plain values on disk, as safetensors and JSON: nothing is ever unpickled.

A tree is what ``state_dict`` gives: dictionaries with string keys, lists, numbers, strings, nulls
and tensors. Tensors go to ``tensors.safetensors``, the rest to ``tree.json``, in which each tensor
is named. Two leaves that are one tensor are written once, and come back equal. ``SHA256SUMS`` has a
digest of each file, as ``sha256sum --check`` reads it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ppvae.run.store.reading import ReadError, read_bytes, read_text
from ppvae.run.store.writing import write_folder

_TENSOR = "$tensor"
_TENSORS, _TREE = "tensors.safetensors", "tree.json"

SUMS = "SHA256SUMS"


def save_tree(folder: Path, tree: Any, more: Mapping[str, bytes] | None = None) -> None:
    """Write ``tree`` as the folder ``folder``, whole or not at all, with ``more`` files in it."""
    from safetensors.torch import save

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

    stripped = json.dumps(strip(tree, ""), indent=1).encode()
    files = {_TENSORS: save(tensors), _TREE: stripped, **(more or {})}
    write_folder(folder, files | {SUMS: sums(files)})


def sums(files: Mapping[str, bytes]) -> bytes:
    """The content of ``SHA256SUMS`` for some files."""
    lines = (f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    return "".join(lines).encode()


def read_sealed(folder: Path, name: str) -> bytes:
    """A file of a tree's folder, as it was written.

    Raises:
        ReadError: if it is missing, or not what its digest says.
    """
    data = read_bytes(folder / name)
    if _digests(folder).get(name) != hashlib.sha256(data).hexdigest():
        raise ReadError(f"{name} is not what its digest in {SUMS} says: one of them was damaged")
    return data


def _digests(folder: Path) -> dict[str, str]:
    """Digests by names of files, of which none is in another folder."""
    lines = read_text(folder / SUMS).splitlines()
    found = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if any(Path(name).name != name for name in found):
        raise ReadError(f"{folder / SUMS} was damaged: it names what is no file of the folder")
    return found


def load_tree(folder: Path) -> Any:
    """Read what `save_tree` wrote.

    Raises:
        ReadError: naming the file that is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        files = {name: read_sealed(folder, name) for name in {*_digests(folder), _TREE, _TENSORS}}
        tree, tensors = json.loads(files[_TREE]), load(files[_TENSORS])
    except (LookupError, RecursionError, RuntimeError, SafetensorError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ReadError(f"{folder} cannot be read as a checkpoint ({reason})") from error

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            if node.keys() == {_TENSOR}:
                if node[_TENSOR] not in tensors:
                    raise ReadError(f"{folder} lacks the tensor {node[_TENSOR]!r} that it names")
                return tensors[node[_TENSOR]]
            return {key: fill(value) for key, value in node.items()}
        return [fill(value) for value in node] if isinstance(node, list) else node

    return fill(tree)
