"""Trees of tensors and plain values on disk, as safetensors and JSON: nothing is ever unpickled.

A tree is like the result of ``state_dict``: dictionaries with string keys, lists, numbers, strings,
nulls and tensors. Tensors are in ``tensors.safetensors``, the rest in ``tree.json``, which refers
to each tensor by name. Two leaves that are one tensor are written once, and read as equal.
``SHA256SUMS`` has a digest of each file, in the format of ``sha256sum --check``.
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
    """Write ``tree`` as a folder, with ``more`` files in it, completely or not at all."""
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
        raise TypeError(f"{path} is a {type(node).__name__}, not a tensor or a plain value")

    stripped = json.dumps(strip(tree, ""), indent=1).encode()
    files = {_TENSORS: save(tensors), _TREE: stripped, **(more or {})}
    write_folder(folder, files | {SUMS: sums(files)})


def sums(files: Mapping[str, bytes]) -> bytes:
    """The content of ``SHA256SUMS`` for some files."""
    lines = (f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    return "".join(lines).encode()


def read_sealed(folder: Path, name: str) -> bytes:
    """A file of a tree's folder, checked against its digest.

    Raises:
        ReadError: if it is missing, or its digest differs.
    """
    data = read_bytes(folder / name)
    if _digests(folder).get(name) != hashlib.sha256(data).hexdigest():
        raise ReadError(f"{name} does not have its digest in {SUMS}: one of them was damaged")
    return data


def _digests(folder: Path) -> dict[str, str]:
    """Digests by names of files in this folder."""
    lines = read_text(folder / SUMS).splitlines()
    found = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if any(Path(name).name != name for name in found):
        raise ReadError(f"{folder / SUMS} was damaged: it names a file outside of the folder")
    return found


def load_tree(folder: Path) -> Any:
    """Read the result of `save_tree`.

    Raises:
        ReadError: if a file is missing or damaged.
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
