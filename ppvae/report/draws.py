"""Draws from the model: a strip of pictures, or a few rows of a table."""

from typing import Any

import numpy as np
import torch

from ppvae.errors import InputError
from ppvae.plots.arrays import as_images, value_range
from ppvae.plots.pictures import gap_between
from ppvae.programs.generation import generate
from ppvae.programs.streams import seeded
from ppvae.report.page_data import PageData
from ppvae.report.sections import Picture, Section, Table
from ppvae.report.sprites import shrunk, sprite
from ppvae.run.pictured import table_of

DRAWN = 16
"""Number of pictures in the strip."""

LINES = 4
"""Number of rows of a table."""

COLUMNS = 10
"""Number of columns of a table."""


def strip(page: PageData) -> Section:
    """Draws from the model, as one row of pictures or as rows of a table.

    Raises:
        InputError: if nothing can be drawn.
    """
    if not page.run.audit.supports:
        raise InputError("no site of the model observes x itself")
    like = page.rows.take(torch.arange(DRAWN) % len(page.rows))
    with seeded(0, page.run.pair.device):
        found = generate(page.run.pair, page.run.audit, like)
    means = shrunk(found.mean.cpu())
    images = as_images(means.numpy().astype(np.float64), 1)
    if images is not None:
        mean = f"the mean of {page.likelihood} at a z from the prior"
        alt = f"{DRAWN} draws from the model, each {mean}."
        gap = gap_between(images.shape[-1])
        uri = sprite(images, DRAWN, value_range(images), gap)
        row = Picture(uri, alt, "strip", f"Draws from the model: {mean}.")
        return Section("draws", "", pictures=(row,))
    return Section("draws", "", tables=(_table(page, found.draw[:LINES]),))


def _table(page: PageData, x: Any) -> Table:
    frame = table_of(page.run, x)
    if frame is None:
        names = page.run.column_names or tuple(f"[{i}]" for i in range(x[0].numel()))
        cells = [[f"{v:.4g}" for v in row] for row in x.reshape(len(x), -1)[:, :COLUMNS].tolist()]
    else:
        names = tuple(map(str, frame.columns))
        cells = [[cell(v) for v in row] for row in frame.iloc[:, :COLUMNS].to_numpy()]
    more = "" if len(names) <= COLUMNS else f", {COLUMNS} of {len(names)} columns"
    rows = tuple((str(i + 1), *row) for i, row in enumerate(cells))
    return Table(f"Rows drawn from the model{more}", ("", *names[:COLUMNS]), rows, is_open=True)


def cell(value: Any) -> str:
    """A value of a table, with four significant digits."""
    if isinstance(value, (int, np.integer, str)):
        return str(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "\N{EN DASH}"
    if not np.isfinite(number):
        return "\N{EN DASH}"
    digits = 0 if abs(number) >= 1000 else 4
    return (f"{number:,.0f}" if digits == 0 else f"{number:.4g}").replace("-", "\N{MINUS SIGN}")
