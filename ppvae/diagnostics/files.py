"""Files of a diagnosis: ``diagnostics.json`` and figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppvae.diagnostics.answer import Picture
from ppvae.errors import InputError
from ppvae.run import figures, versions
from ppvae.run.store import (
    MissingError,
    ReadError,
    check_writable,
    discard,
    is_there,
    plain,
    read_json,
    write_bytes,
    write_text,
)
from ppvae.settings.values import Figures

if TYPE_CHECKING:
    from ppvae.diagnostics.answer import Answer
    from ppvae.diagnostics.verdict import Diagnosis

_RECORD = "diagnostics.json"

_BEGUN = ".diagnosis"
"""Lists the figures of a diagnosis in progress, and of the one before, to be cleared later."""


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds a diagnosis, unless it may be replaced.

    Raises:
        InputError: naming the file, and the way out.
    """
    if is_there(folder) and not folder.is_dir():
        raise InputError(f"`out` is {folder}, which is a file; give a folder")
    for name in ("figures", _RECORD, "posterior.nc", "report.html"):
        check_writable(folder / name)
    file = folder / _RECORD
    if is_there(file) and not overwrite:
        raise InputError(
            f"{file} exists already; replace it with `overwrite=True`, or write elsewhere with "
            "`out`"
        )


def write_diagnosis(
    result: "Diagnosis",
    settings: Mapping[str, Any],
    posterior: bytes | str,
    kind: Figures = "both",
) -> None:
    """Write ``diagnostics.json``, figures, and ``posterior``, a file or why there is none."""
    pictures = [picture for answer in in_order(result) for picture in answer.pictures]
    if result.verdict.deficits:
        pictures.append(_budget(result))
    folder = result.path
    _clear(folder, [picture.name for picture in pictures])
    for picture in pictures:
        figures.leave(picture.draw(), folder / "figures", picture.name, kind)
    if isinstance(posterior, bytes):
        write_bytes(folder / "posterior.nc", posterior)
    record = {
        "unit": "nats per datum",
        "data": result.data,
        "rows": result.rows,
        "verdict": [asdict(finding) for finding in result.verdict.findings],
        "sentences": list(result.verdict.sentences),
        "answers": {name: dict(answer.metrics) for name, answer in result.answers.items()},
        "not_answered": [
            {"question": name, "part": part, "reason": reason}
            for name, answer in result.answers.items()
            for part, reason in answer.refusals.items()
        ],
        "no_posterior": posterior if isinstance(posterior, str) else None,
        "figures": [{"name": picture.name, "alt": picture.alt} for picture in pictures],
        "settings": dict(settings),
        "versions": versions(),
    }
    # Last, so that this file exists only if the rest of the diagnosis does.
    text = json.dumps(plain(record), indent=1, allow_nan=False)
    write_text(folder / _RECORD, text + "\n")
    discard(folder / _BEGUN)


def in_order(result: "Diagnosis") -> "list[Answer]":
    """The answers in the order of the verdict: that of its first finding comes first."""
    parts = [finding.part for finding in result.verdict.findings]

    def place(answer: "Answer") -> int:
        found = [parts.index(each.part) for each in answer.deficits if each.part in parts]
        return min(found, default=len(parts))

    return sorted(result.answers.values(), key=place)


def _budget(result: "Diagnosis") -> Picture:
    from ppvae import plots

    lost = [(each.part, each.nats, each.error) for each in result.verdict.deficits]
    alt = "Bars: nats per datum lost in each part, as in the table."
    return Picture("budget", alt, lambda: plots.budget(lost))


def _clear(folder: Path, names: Sequence[str]) -> None:
    """Remove an earlier diagnosis, so that its files do not mix with the new one.

    Its record is removed first. A list of its figures and of the new ones is kept until the new
    record exists, since the process may be killed in between.
    """
    before = {name for file in (_RECORD, _BEGUN) for name in _figure_names(folder / file)}
    listed = [{"name": name} for name in sorted(before | set(names))]
    write_text(folder / _BEGUN, json.dumps({"figures": listed}) + "\n")
    discard(folder / _RECORD)
    discard(folder / "posterior.nc")
    for name in sorted(before):
        figures.forget(folder / "figures", name)


def _figure_names(file: Path) -> Sequence[str]:
    """Names of the figures that a record lists; the record may be malformed."""
    try:
        listed = read_json(file).get("figures")
    except (MissingError, ReadError):
        return ()
    entries = listed if isinstance(listed, list) else []
    return [
        Path(str(each["name"])).name
        for each in entries
        if isinstance(each, Mapping) and "name" in each
    ]
