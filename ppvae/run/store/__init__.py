"""Files, read and written: every change of the disk goes through here.

A change is one atomic step: what a name holds is the old content or the new one, whenever the
process is killed. `disk` has the operations of the system, `reading` reads what may be damaged,
`lock` and `writing` see to one writer of a run and to its scratch, `new_folder` puts a new folder
or a long file in its place, `held_folder` is one that a process works in for long, and `trees`
writes tensors and plain values, of which nothing is ever unpickled.
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
