"""The path from a prior's name to its object passes through few files."""

import functools
import inspect
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

import ppvae
from ppvae.models import VampPrior
from tests.support.fits import quick, small

__all__ = ["quick"]  # a fixture: fits without pictures

PACKAGE = Path(ppvae.__file__).resolve().parent


def files_on_the_stack() -> list[str]:
    """Files of the package on the stack of the caller, in order."""
    paths = [Path(frame.filename).resolve() for frame in inspect.stack(context=0)]
    names = [str(p.relative_to(PACKAGE)) for p in reversed(paths) if p.is_relative_to(PACKAGE)]
    return [name for name, _ in groupby(names)]


def test_from_fit_to_the_constructor_are_at_most_5_files(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    constructor, ways = VampPrior.__init__, list[list[str]]()

    @functools.wraps(constructor)
    def watched(*args: Any, **kwargs: Any) -> None:
        ways.append(files_on_the_stack())
        constructor(*args, **kwargs)

    monkeypatch.setattr(VampPrior, "__init__", watched)
    small(tmp_path, prior="VampPrior", epochs=1)
    (way,) = ways
    way = way[way.index("fit.py") :]
    assert len(way) <= 5, way
    assert len(set(way)) == len(way), f"it returns to one that it has left: {way}"
