"""The worst data of a run."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ppvae.data import Batch
from ppvae.diagnostics.shared.wording import decimals
from ppvae.errors import InputError
from ppvae.plots.arrays import as_images
from ppvae.programs.generation import reconstruct
from ppvae.programs.streams import seeded
from ppvae.report.columns import ShownColumns
from ppvae.report.diagnosis import pictured
from ppvae.report.draws import cell
from ppvae.report.page_data import PageData
from ppvae.report.pictures import drawn
from ppvae.report.sections import Section, Table
from ppvae.run.pictured import columns_of, in_units, observed, table_of

TITLE = "Worst data"

WORST = 8
"""Number of pictures shown."""

WORST_ROWS = 5
"""Number of table rows shown, one panel each."""


def section(page: PageData) -> Section:
    """The worst data: largest Pareto k-hat in a diagnosis, else lowest bound."""
    diagnosed = pictured(page, "worst_data")
    if diagnosed is not None:
        sentence = "Data whose posterior the guide fits worst: the largest Pareto k-hat first."
        table = _least_trusted(page)
        if table is not None:
            return Section("worst", TITLE, (sentence,), tables=(table,))
        return Section("worst", TITLE, (sentence,), pictures=(diagnosed,))
    return _lowest(page)


def _least_trusted(page: PageData) -> Table | None:
    """The rows that a diagnosis trusts least, where they are shown and each column has its own."""
    answers = (page.diagnosis or {}).get("answers", {})
    found = answers.get("trust", {}).get("pareto_k", {})
    named = zip(found.get("worst_rows", ()), found.get("worst_k", ()), strict=True)
    worst = list(named)[:WORST_ROWS]
    place = {number: i for i, number in enumerate(page.numbers.tolist())}
    if not worst or not {row for row, _ in worst} <= set(place):
        return None
    if not ShownColumns.of(page.run).is_listed:
        return None
    places = [place[row] for row, _ in worst]
    captions = [f"{_called(page, i)}  k {k:.2f}" for i, (_, k) in zip(places, worst, strict=True)]
    batch, means = _rebuilt(page, torch.tensor(places))
    return _listed(page, batch, means, captions)


def _called(page: PageData, place: int) -> str:
    """The number of a row, and its name where it has one."""
    return f"#{int(page.numbers[place])}{f' {page.names[place]}' if page.names else ''}"


def _rebuilt(page: PageData, places: Tensor) -> tuple[Batch, Tensor]:
    """Data, and their reconstructions."""
    batch, pair = page.rows.take(places), page.run.pair
    with seeded(0, pair.device):
        means, _ = reconstruct(pair, page.run.audit, batch)
    return batch, means.cpu()


def _listed(page: PageData, batch: Batch, means: Tensor, captions: Sequence[str]) -> Table:
    """Rows of a table above their reconstructions, by name and in units."""
    data, rebuilt = (table_of(page.run, each) for each in (batch["x"], means))
    assert data is not None
    assert rebuilt is not None
    if "mask" in batch:
        data = data.mask(~batch["mask"].cpu().numpy())
    lines = []
    for caption, own, other in zip(captions, data.to_numpy(), rebuilt.to_numpy(), strict=True):
        lines.append((caption, *map(cell, own)))
        lines.append(("rebuilt", *map(cell, other)))
    header = ("", *map(str, data.columns))
    return Table(
        "The worst rows, each above its reconstruction", header, tuple(lines), is_open=True
    )


def _lowest(page: PageData) -> Section:
    """The data shown with the lowest bound; for a point mass, with the lowest reconstruction."""
    from ppvae import plots

    terms = page.terms
    bound = terms.elbo_by_datum
    score = -terms.distortion_by_datum if bound is None else bound
    is_pictured = as_images(np.empty((1, *page.rows.shape)), 1) is not None
    count = WORST if is_pictured else WORST_ROWS
    worst = score.nan_to_num(nan=-torch.inf).argsort()[:count]
    what = f"log {page.likelihood}" if bound is None else "bound"
    sentence = (
        f"Of {len(score):,} {page.data_name} data, those with the lowest "
        f"{f'reconstruction, E_q[{what}]' if bound is None else f'bound on {page.evidence}'}, "
        "in nats."
    )
    if not page.run.audit.supports:
        raise InputError("no site of the model observes x itself, so nothing is reconstructed")
    batch, means = _rebuilt(page, worst)
    captions = [f"{_called(page, i)}  {decimals(float(score[i]), 1)}" for i in worst.tolist()]
    if ShownColumns.of(page.run).is_listed:
        table = _listed(page, batch, means, captions)
        return Section("worst", TITLE, (sentence,), tables=(table,))
    figure = plots.worst_data(
        in_units(page.run, observed(batch)), in_units(page.run, means), captions,
        title=f"The lowest {what}, in nats", columns=columns_of(page.run),
    )  # fmt: skip
    spoken = ", ".join(caption.replace("  ", " with ") + " nats" for caption in captions)
    alt = f"Each datum with its reconstruction, by row number: {spoken}."
    return Section("worst", TITLE, (sentence,), pictures=(drawn(figure, alt),))
