"""The store: every change of the disk by the package goes through here.

A change is one atomic step: if the process is killed, a name has either its old or its new content.
`disk` has the operations of the system, and `reading` reads files that may be damaged. `lock` and
`writing` give a run one writer and its scratch folder. `new_folder` creates folders and long files
atomically, and `held_folder` folders for long work. `trees` writes tensors and plain values;
nothing is ever unpickled.
"""

from ppvae.run.store.disk import WriteError
from ppvae.run.store.held_folder import HeldFolder
from ppvae.run.store.json_values import plain
from ppvae.run.store.new_folder import aside, bear, finish_swap
from ppvae.run.store.private_folder import PrivateFolder
from ppvae.run.store.reading import (
    MissingError,
    ReadError,
    is_there,
    read_bytes,
    read_json,
    read_text,
)
from ppvae.run.store.trees import load_tree, read_sealed, save_tree, sums
from ppvae.run.store.writing import (
    Writer,
    append_bytes,
    check_writable,
    discard,
    identity_of,
    new_map,
    write_arrays,
    write_bytes,
    write_folder,
    write_text,
    writing,
)

__all__ = [
    "HeldFolder",
    "MissingError",
    "PrivateFolder",
    "ReadError",
    "WriteError",
    "Writer",
    "append_bytes",
    "aside",
    "bear",
    "check_writable",
    "discard",
    "finish_swap",
    "identity_of",
    "is_there",
    "load_tree", "new_map",
    "plain",
    "read_bytes",
    "read_json",
    "read_sealed",
    "read_text",
    "save_tree",
    "sums",
    "write_arrays",
    "write_bytes",
    "write_folder",
    "write_text",
    "writing",
]  # fmt: skip
