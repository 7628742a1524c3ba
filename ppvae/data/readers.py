"""Names of data, and their readers."""

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from ppvae.data import digits
from ppvae.data.annotated import h5ad_source
from ppvae.data.binarized_mnist import binarized_mnist_source
from ppvae.data.csv_file import csv_source
from ppvae.data.downloads import data_folder
from ppvae.data.fingerprint import Fingerprint, unchanging
from ppvae.data.folder import folder_source, images_in
from ppvae.data.mnist import SETS, mnist_source
from ppvae.data.numpy_files import npy_source, npz_source
from ppvae.data.omniglot import omniglot_source
from ppvae.data.options import AS_FOUND, UNKNOWN_SCHEMA, ReadOptions, Schema
from ppvae.data.parquet import parquet_source
from ppvae.data.source import Source
from ppvae.data.vision import check_reader_is_safe, makers, simple, vision_source
from ppvae.errors import InputError
from ppvae.settings.paths import check_exists, is_path

# Readers of this package's own sets, given the data directory.
NAMED: dict[str, Callable[[Path], Source]] = {
    digits.NAME: digits.digits_source,
    **{name: partial(mnist_source, name) for name in SETS},
    "omniglot": omniglot_source,
    "binarized-mnist": binarized_mnist_source,
}
TABLES = (".csv", ".tsv", ".parquet", ".h5ad")
"""Types of files with named columns."""

SUFFIXES = (".csv", ".tsv", ".parquet", ".npy", ".npz", ".h5ad")


def named(name: str | Path) -> str | None:
    """Return the known name that ``name`` means, or None; ``./mnist`` is a path."""
    spelled = {simple(known): known for known in NAMED}
    return None if isinstance(name, Path) else spelled.get(simple(name))


def check_safe_to_read(name: str | Path, data_dir: Path | None) -> None:
    """Refuse data named by a config that are not safe to read; see `check_reader_is_safe`."""
    if named(name) is None and not is_path(name):
        check_reader_is_safe(str(name), data_dir)  # takes a second, to import torchvision


def read(
    name: str | Path,
    data_dir: Path | None,
    options: ReadOptions = AS_FOUND,
    schema: Schema = UNKNOWN_SCHEMA,
    parameter: str = "data",
) -> Source:
    """Read data by name or path.

    Args:
        name: a known name, a class of torchvision, or a path.
        data_dir: see :func:`ppvae.data.downloads.data_folder`.
        options: the user's options for the columns of a table, or the size of images.
        schema: that of a fit, so that the data mean the same.
        parameter: the parameter with the name, for errors.

    Raises:
        InputError: if there are no such data, or they cannot be used.
    """
    known = named(name)
    path = Path(name).expanduser()
    check_options(str(name), options, is_table=known is None and path.suffix.lower() in TABLES)
    if options.size is not None and (known is not None or not path.is_dir()):
        raise InputError(
            f"`size={options.size}` is for a folder of images, and {name} is not one: leave it out."
        )
    if known is not None:
        return NAMED[known](data_folder(data_dir))
    if is_path(name):
        return _at(path, options, schema, parameter)
    # Only now, as the import takes a second.
    others = makers()
    if simple(str(name)) in others:
        return vision_source(simple(str(name)), others[simple(str(name))], data_folder(data_dir))
    nearest = get_close_matches(simple(str(name)), [*map(simple, NAMED), *others], 1, 0)[0]
    nearest = named(nearest) or nearest
    raise InputError(
        f"`{parameter}={str(name)!r}` is not known (the nearest name is {nearest}): give one of "
        f"{', '.join(NAMED)}, an image set of torchvision, or the path of a {', '.join(SUFFIXES)} "
        f"file or a folder of images, which must exist."
    )


def files_of(path: Path, parameter: str = "data") -> list[Path]:
    """Return the files to read for ``path``: itself, or the images in a folder.

    Raises:
        InputError: if there is nothing to read.
    """
    if path.is_dir():
        return list(images_in(path)[0])
    check_exists(path, parameter)
    if not path.is_file():
        raise InputError(
            f"`{parameter}={str(path)!r}` is a pipe or a device, which is not read; give a file."
        )
    return [path]


def check_options(where: str, options: ReadOptions, *, is_table: bool) -> None:
    """Refuse options for columns where there are none.

    Raises:
        InputError: naming the first of them.
    """
    of_columns = options.of_columns
    if options.size_factor == "total" and not is_table:
        of_columns.pop("size_factor")  # a sum needs no names
    if of_columns and not is_table:
        name, value = next(iter(of_columns.items()))
        raise InputError(
            f"`{name}={value!r}` names a column of a table ({', '.join(TABLES)}), and {where} is "
            f"not one: leave it out (.npz files have labels in y, folders of images in "
            f"sub-folders)."
        )


def _at(path: Path, options: ReadOptions, schema: Schema, parameter: str) -> Source:
    files = files_of(path, parameter)
    with unchanging(path, files):
        source = _read(path, options, schema, parameter)
        return replace(source, files=Fingerprint.of_files(path, files))


def _read(path: Path, options: ReadOptions, schema: Schema, parameter: str) -> Source:
    if path.is_dir():
        return folder_source(path, schema.labels, options.size, options.memory)
    match path.suffix.lower():
        case ".csv" | ".tsv":
            return csv_source(path, options, schema)
        case ".parquet":
            return parquet_source(path, options, schema)
        case ".h5ad":
            return h5ad_source(path, options, schema)
        case ".npy":
            return npy_source(path, options.memory)
        case ".npz":
            return npz_source(path, schema.labels)
    raise InputError(
        f"`{parameter}={str(path)!r}`: files of type {path.suffix or '(none)'} are not read; "
        f"give a {', '.join(SUFFIXES)} file or a folder of images."
    )
