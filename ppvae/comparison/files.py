"""The folder of a comparison: what it may replace, and what it holds."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ppvae.comparison.result import Comparison
from ppvae.errors import InputError
from ppvae.run import figures, versions
from ppvae.run.store import bear, is_there, plain, write_text


def check_folder(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds anything but a comparison that may be overwritten."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise InputError(f"{path} is no folder of its own; give another `out`")
    if not path.exists() or not any(path.iterdir()):
        return
    if not is_there(path / "comparison.json"):
        raise InputError(
            f"{path} holds files that are no comparison, and stays; give another `out`"
        )
    if not overwrite:
        raise InputError(
            f"{path} holds a comparison already; give another `out`, or lose it by `overwrite=True`"
        )


def write_comparison(
    result: Comparison, settings: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """Leave ``comparison.json``, with the ``settings``, and the figure: a folder, whole or not."""
    from ppvae.comparison.figure import draw_comparison

    sides = {name: asdict(side) for name, side in result.sides.items()}
    record = asdict(result) | {
        "unit": "nats per datum",
        "path": None,
        "settings": settings,
        "versions": versions(),
    }
    del record["path"]

    def fill(fresh: Path) -> None:
        figures.save(draw_comparison(sides), fresh / "figures" / "compare.png")
        write_text(fresh / "comparison.json", json.dumps(plain(record), indent=1) + "\n")

    def check() -> None:
        check_folder(result.path, overwrite=overwrite)

    bear(result.path, fill, refuse=check, is_run=False)
