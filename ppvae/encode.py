"""Encode data with a fitted run: loc and scale of q(z | x), and log p(x), for each datum.

python -m ppvae.encode runs/digits-20260101-120000                 # the run's test data
python -m ppvae.encode RUN --split all --out codes.csv              # one row per row of the file
python -m ppvae.encode RUN --data cells.h5ad --out codes.h5ad      # obsm["X_ppvae"] of the AnnData
python -m ppvae.encode RUN --data new.npy --samples 1000           # other data, scaled as the run's
python -m ppvae.encode RUN --data new.npy --samples 0              # the embedding only, in seconds
"""

if __name__ == "__main__":  # before the imports that take seconds
    from ppvae.cli.interruption import leave_on_interrupt

    leave_on_interrupt()
    from ppvae.cli.answering import start

    start("encode")

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ppvae.cli.answering import answer
from ppvae.cli.given import given_settings
from ppvae.components.data_support import check_rows
from ppvae.data import Split
from ppvae.data.fingerprint import Fingerprint
from ppvae.data.optional import needed
from ppvae.data.progress import shown_by
from ppvae.data.readers import files_of, named
from ppvae.errors import InputError
from ppvae.programs.isolation import alone
from ppvae.run import Run, load
from ppvae.run.data import OR_OTHERS
from ppvae.run.store import check_writable, is_there, writing
from ppvae.settings import Diagnose, Encode, Rows, Sample, takes
from ppvae.settings.paths import is_path
from ppvae.training.devices import one_device
from ppvae.training.threads import take_threads_of_fit

if TYPE_CHECKING:  # slow to import
    from ppvae.diagnostics.encoding import Encoding
    from ppvae.diagnostics.unfinished import Unfinished

PARTS = ("train", "valid", "test")
"""The splits of a run's own data."""


@alone
@takes(Encode)
def encode(asked: Encode) -> dict[str, Any]:
    """Encode each datum: loc and scale of q(z | x), log p(x), and class probabilities.

    Rows of the result are in the order of the input. The result has ``loc`` and ``scale``, ``(data,
    latent)`` each (named ``loc_SITE`` and ``scale_SITE`` for several latents), ``log_p`` (in nats,
    by importance sampling: a lower bound in expectation), ``log_p_error`` (its standard error),
    ``elbo``, ``y`` if the data have labels, ``row``, the number of the row in the file, from 0,
    ``name`` if rows have names, and ``split`` for the run's own data. Files have labels by name;
    see `ppvae.diagnostics.encoded_files`.

    For more than 4,096 rows, finished pieces are written to a folder ``OUT.partial``, which is
    removed at the end. After a kill, the same call resumes there; the final file is the same as
    without a kill. Pieces of other data, weights, settings or versions are refused, or replaced
    with ``overwrite``; a second encoding to OUT at the same time is refused too. Arrays of more
    than 64 MiB are then memory-mapped.

    The error of a datum is too small if few weights dominate its mean: log p(x) is seldom below
    ``log_p - 1.96 * log_p_error`` (at most 4 % of the data, where log p(x) is known), and often
    above ``log_p + 1.96 * log_p_error`` (1 to 36 %), also with 1,000 samples. With no samples, or a
    guide without a density, there is neither ``log_p`` nor ``elbo``. Programs with a class among
    their latents also have ``class_probability``, ``(data, classes)``: q(y | x) without using
    labels. If the model takes y, ``log_p`` is log p(x | y), or, if the class is a latent of the
    model and known, log p(x, y); each given the size factors, if the model has them.

    Raises:
        InputError: for a run or data that cannot be read, an existing file, or pieces of another
            encoding.
    """
    from ppvae.diagnostics.encoded_files import write_encoded

    opened = opened_run(asked)
    target = _target(opened, asked.data, asked.split, asked.out, overwrite=asked.overwrite)
    with writing(target.parent):
        annotated = _annotated(opened, asked.data) if target.suffix == ".h5ad" else None
        with _encodings(opened, asked) as parts:
            if sum(len(part.pieces) for part in parts.values()) > 1:
                with closing(_begun(parts, target, opened, asked)) as unfinished:
                    found = _gone_on(parts, unfinished, asked)
                    write_encoded(target, found, opened.schema, annotated)
                    unfinished.discard()
            else:
                found = _at_once(parts, asked)
                write_encoded(target, found, opened.schema, annotated)
    return found


def codes_of(run: Run, asked: Encode) -> dict[str, Any]:
    """The result of `encode` without writing it: see `ppvae.diagnostics.encoding.encoded`.

    For the run's own data it has ``split`` too.
    """
    with _encodings(run, asked) as parts:
        return _at_once(parts, asked)


@contextmanager
def _encodings(run: Run, asked: Encode) -> Iterator[dict[str, "Encoding"]]:
    """Context manager of the rows to encode, by split, with the programs on the device."""
    from ppvae.cli.terminal import bar
    from ppvae.diagnostics.encoding import Encoding

    names: tuple[str, ...] = (asked.split,)
    if asked.split == "all" and asked.data is None:  # rows of valid may be training rows
        names = PARTS if run.config.get("valid") != "none" else ("train", "test")
    with shown_by(bar):
        rows = {name: rows_of(run, asked.data, name, asked.data_dir, asked.label) for name in names}
    where = one_device(asked.device)
    pair = run.pair.to(where)
    try:
        yield {
            name: Encoding(
                pair, run.audit, part, samples=asked.samples, seed=asked.seed, device=where
            )
            for name, part in rows.items()
        }
    finally:
        pair.to("cpu")


def _at_once(parts: Mapping[str, "Encoding"], asked: Encode) -> dict[str, Any]:
    """The result in memory."""
    from ppvae.cli.terminal import bar
    from ppvae.diagnostics.encoding import encoded, joined

    with bar("encoding", sum(len(part.rows) for part in parts.values())) as count:
        found = {name: encoded(part, count) for name, part in parts.items()}
    return joined(found)[0] if asked.data is None else found[asked.split]


def _begun(parts: Mapping[str, "Encoding"], target: Path, run: Run, asked: Encode) -> "Unfinished":
    """The locked folder of pieces, with those of the same encoding."""
    from ppvae.cli.terminal import bar, say
    from ppvae.diagnostics.unfinished import Unfinished, plan_of

    settings = {name: getattr(asked, name) for name in ("samples", "seed", "split")}
    with shown_by(bar):
        plan = plan_of(parts, settings, _files(run, asked.data))
    unfinished = Unfinished(
        target,
        plan,
        overwrite=asked.overwrite,
        refuse=lambda: check_free(target, overwrite=asked.overwrite),
    )
    if unfinished.is_other:
        say(f"{unfinished.folder} had pieces of another encoding, and is started again")
    return unfinished


def _files(run: Run, data: Any) -> Fingerprint | None:
    """Fingerprint of the files of the data; None for data in memory or published data."""
    if data is None:  # compared with the files when they were opened
        return None if run.fingerprint is None else replace(run.fingerprint, modified=None)
    if not isinstance(data, str | Path) or named(data) is not None or not is_path(data):
        return None
    path = Path(data)
    found = Fingerprint.of_files(path, files_of(path))
    # The checksum covers the whole file, so its time does not matter.
    return found if path.is_dir() else replace(found, modified=None)


def _gone_on(
    parts: Mapping[str, "Encoding"], unfinished: "Unfinished", asked: Encode
) -> dict[str, Any]:
    """The result, written in pieces; existing pieces are not computed again."""
    from ppvae.cli.terminal import bar, say
    from ppvae.diagnostics.encoding import joined, known

    pieces = [
        (name, number, len(rows))
        for name, part in parts.items()
        for number, rows in enumerate(part.pieces)
    ]
    done = sum(rows for name, number, rows in pieces if unfinished.has(name, number))
    total = sum(rows for *_, rows in pieces)
    if done:
        say(f"resuming {unfinished.folder}: {done:,} of {total:,} rows are encoded")
    with bar("encoding", total, done) as count:
        for name, number, _ in pieces:
            if not unfinished.has(name, number):
                unfinished.write(name, number, parts[name].piece(number, count))
    facts = {name: known(part.rows) for name, part in parts.items()}
    if asked.data is None:
        beside, places = joined(facts)
    else:
        beside, places = facts[asked.split], np.arange(total)
    counts = {name: len(part.pieces) for name, part in parts.items()}
    return unfinished.gathered(counts, places) | beside


def _annotated(run: Run, data: Any) -> Any:
    """The encoded AnnData, or its file.

    Raises:
        InputError: if there is none.
    """
    anndata = needed("anndata", "writing .h5ad")
    data = run.config.get("data") if data is None else data
    if isinstance(data, anndata.AnnData):
        return data
    if not isinstance(data, (str, Path)) or Path(data).suffix.lower() != ".h5ad":
        raise InputError(
            "`out` is an .h5ad file, which needs an AnnData or such a file as data, not "
            f"{data!r:.80}; give a .csv or .parquet file"
        )
    return Path(data)


def opened_run(asked: Diagnose | Encode | Sample) -> Run:
    """The run, opened if necessary.

    Also sets torch's threads to those of its fit.
    """
    run = asked.run
    if not isinstance(run, Run):
        run = load(str(run), trust=asked.trust, checkpoint=asked.checkpoint)
    if asked.data_memory is not None:
        run.data_memory = asked.data_memory
    take_threads_of_fit(run.resolved.get("threads"))
    return run


def rows_of(
    run: Run,
    data: str | Path | Rows | None,
    split: str,
    data_dir: str | Path | None,
    label: str | None,
    *,
    needs_observed: bool = True,
) -> Split:
    """The rows to use: new data, or a split of the run's own with its noise drawn once.

    Raises:
        InputError: for rows that the model cannot score, or, if required, rows without observed
            entries.
    """
    where = None if data_dir is None else Path(data_dir)
    if data is not None and split != "test":
        raise InputError(
            f"`split={split!r}` is for the run's own data, but `data` gives others: give one of "
            "the two"
        )
    if data is None and label is not None:
        raise InputError(f"`label={label!r}` needs `data`; the run has its labels already")
    if isinstance(data, Split):
        run.check_scaled_alike(data)
        rows, name = data, "the data"
    elif isinstance(data, (str, Path)):
        rows, name = run.new_data(data, where, label), str(data)
    elif data is not None:
        rows, name = run.new_rows(data), "the data"
    else:
        own = run.data(where, way_out=OR_OTHERS)
        rows, name = own.splits[split].frozen(0), f"the {split} data"
    if (
        needs_observed
        and "mask" in rows.extra_names
        and not any(bool(batch["mask"].any()) for batch in rows.chunks(4096))
    ):
        raise InputError(
            f"mask is False everywhere in {name}; it must be True where x was observed"
        )
    check_rows(rows, run.pair, run.audit, run.example(), name)
    return rows


def _target(
    run: Run,
    data: str | Path | Rows | None,
    split: str,
    out: str | Path | None,
    *,
    overwrite: bool,
) -> Path:
    name = split if data is None else Path(data).stem if isinstance(data, (str, Path)) else "data"
    from ppvae.diagnostics.encoded_files import check_suffix

    target = Path(out) if out is not None else run.path / f"embedding-{name}.npz"
    check_suffix(target)
    check_free(target, overwrite=overwrite)
    return target


def check_free(target: Path, *, overwrite: bool) -> None:
    """Refuse an existing file, or a link in a run."""
    check_writable(target)
    if is_there(target) and not overwrite:
        raise InputError(f"{target} exists already; give another `out`, or `overwrite=True`")


def main(argv: Sequence[str]) -> None:
    """The command: encode, and print the result."""
    from ppvae.cli.terminal import number, say
    from ppvae.diagnostics.evidence.importance_sampling import CAUTION, evidence_name

    given = given_settings("encode", argv)
    opened = load(
        given.pop("run"), trust=given.pop("trust", ()), checkpoint=given.pop("checkpoint", None)
    )
    found = encode(opened, **given)
    target = _target(
        opened, given.get("data"), given.get("split", "test"), given.get("out"), overwrite=True
    )
    rows = len(next(iter(found.values())))
    if "log_p" in found:
        log_p = found["log_p"]
        of_rows = {"y": torch.as_tensor(found["y"])} if "y" in found else {}
        extras = {name: value for name, value in opened.example().items() if name != "y"}
        name = evidence_name(opened.pair, opened.audit, extras | of_rows)
        error = log_p.std(ddof=1) / rows**0.5 if rows > 1 else float("nan")
        say(
            f"{name} is {number(log_p.mean())} nats per datum on average, standard error "
            f"{number(error)}, by {given.get('samples', 100)} importance samples each"
        )
        say(f"log_p_error of a datum: {CAUTION}")
    say(f"{rows:,} data encoded: {', '.join(_names(found, target, opened))} are in {target}")


def _names(found: Mapping[str, Any], target: Path, run: Run) -> list[str]:
    """What the file has of each datum: arrays, or columns of a table."""
    from ppvae.diagnostics.encoding import encoded_table

    if target.suffix.lower() in (".csv", ".parquet"):
        first = {name: values[:1] for name, values in found.items()}
        names = [str(name) for name in encoded_table(first, run.schema).columns]
    else:
        names = [name for name in found if name not in ("row", "name")]
    names = [name for name in names if name != "split"]
    return [*names[:4], "...", *names[-4:]] if len(names) > 9 else names


if __name__ == "__main__":
    answer(main, sys.argv[1:])
