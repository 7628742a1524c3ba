"""The folder of a comparison: its files, and what it may overwrite."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppvae.errors import InputError
from ppvae.run import figures, versions
from ppvae.run.store import bear, is_there, plain, write_text
from ppvae.settings.values import Figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_folder(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds anything but a comparison that may be overwritten."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise InputError(f"{path} is not a folder, or is a link; give another `out`")
    if not path.exists() or not any(path.iterdir()):
        return
    if not is_there(path / "comparison.json"):
        raise InputError(f"{path} holds other files than a comparison; give another `out`")
    if not overwrite:
        raise InputError(
            f"{path} holds a comparison already; give another `out`, or replace it by "
            "`overwrite=True`"
        )


def write_comparison(
    path: Path,
    record: Mapping[str, Any],
    drawings: Mapping[str, Callable[[], "Figure"]],
    others: Mapping[str, str] | None = None,
    *,
    overwrite: bool = False,
    kind: Figures = "both",
) -> None:
    """Write the folder, all or nothing.

    Args:
        path: the folder.
        record: the content of ``comparison.json``, to which unit and versions are added.
        drawings: draw the figures ``figures/NAME.png``, by name.
        others: the text of other files, by name.
        overwrite: replace an existing comparison.
        kind: the format of the figures.
    """
    whole = {**record, "unit": "nats per datum", "versions": versions()}

    def fill(fresh: Path) -> None:
        for name, draw in drawings.items():
            figures.leave(draw(), fresh / "figures", name, kind)
        for name, text in (others or {}).items():
            write_text(fresh / name, text)
        write_text(fresh / "comparison.json", json.dumps(plain(whole), indent=1) + "\n")

    def check() -> None:
        check_folder(path, overwrite=overwrite)

    bear(path, fill, refuse=check, is_run=False)
