"""Opening of data that a user names or gives, as raw rows."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from ppvae.data.objects import is_table, object_source
from ppvae.data.options import ReadOptions, Schema
from ppvae.data.parts import MAY_LACK, joined, own_part
from ppvae.data.readers import TABLES, named, read
from ppvae.data.size_factors import with_totals
from ppvae.data.source import Source
from ppvae.data.vision import simple
from ppvae.errors import InputError
from ppvae.settings import Binarize, Scale
from ppvae.settings.paths import is_path


def source_of(
    data: Any,
    name: str,
    data_dir: Path | None,
    options: ReadOptions,
    schema: Schema,
    parameter: str = "data",
) -> Source:
    """Read data by name or path, or from an object."""
    if isinstance(data, str | Path):
        source = read(data, data_dir, options, schema, parameter)
    else:
        source = replace(object_source(data, name, options, schema), is_object=True)
    return with_totals(source, schema.size_unit) if options.size_factor == "total" else source


def with_parts(
    source: Source,
    valid: str | Path | None,
    test: str | Path | None,
    data_dir: Path | None,
    options: ReadOptions,
) -> Source:
    """Return the source with rows of other files as its parts, or without validation rows."""
    read_in = {}
    for part, where in (("valid", valid), ("test", test)):
        if where is None or where == "none":
            continue
        if not is_path(where):
            raise InputError(f"`{part}={str(where)!r}` is not a file or folder; check the path.")
        if getattr(source, part) is not None:
            raise InputError(
                f"{source.where} has a {part} part, and `{part}={str(where)!r}` gives another: "
                f"leave one out."
            )
        of_part = replace(options, may_lack=MAY_LACK)
        further = source_of(where, part, data_dir, of_part, source.schema, parameter=part)
        read_in[part] = own_part(further, part)
    if test == "none":
        raise InputError("`test='none'`: figures are reported of test rows; leave it out.")
    if read_in:
        source = joined(source.where, source, read_in.get("valid"), read_in.get("test"))
    if valid != "none":
        return source
    if source.valid is not None:
        raise InputError(
            f"`valid='none'` trains on all rows but those of the test part, and {source.where} has "
            f"its own valid part: leave it out."
        )
    note = "no rows are kept from training for valid: its figures are those of training rows"
    return replace(source, trains_on_valid=True, notes=(*source.notes, note))


def has_columns(data: Any) -> bool:
    """Return whether data is a table with named columns."""
    if isinstance(data, str | Path):
        return named(data) is None and Path(data).suffix.lower() in TABLES
    return is_table(data)


def check_choices(binarize: str, seed: int, scale: str | None = None) -> None:
    """Refuse unknown words and invalid seeds.

    Raises:
        InputError: with the allowed values.
    """
    options = (
        ("scale", scale, (None, *get_args(Scale))),
        ("binarize", binarize, get_args(Binarize)),
    )
    for name, value, known in options:
        if value not in known:
            words = ", ".join(filter(None, known))
            raise InputError(f"`{name}={value!r}` is not known: give one of {words}.")
    if not 0 <= seed < 2**63:
        raise InputError(f"the data's seed is {seed}: give a whole number from 0 to 2**63 - 1.")


def as_text(column: object) -> str | None:
    """Return the name of a column as text, as names in a DataFrame may be numbers."""
    return None if column is None else str(column)


def called(name: str | Path) -> str:
    """Return the name of data in sentences and in names of folders."""
    known = named(name)
    if known is not None:
        return known
    return Path(name).expanduser().resolve().stem if is_path(name) else simple(str(name))
