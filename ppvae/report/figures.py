"""The figures that a fit writes to ``figures/``, drawn from its run."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ppvae.data import Data, as_split
from ppvae.diagnostics import Embedding, embed
from ppvae.errors import InputError
from ppvae.programs.generation import decode, generate, reconstruct
from ppvae.programs.streams import Stream, seeded
from ppvae.report.page import attempt
from ppvae.report.page_data import intensities_of
from ppvae.report.sections import reason_of
from ppvae.run import Run, figures
from ppvae.run.pictured import columns_of, in_units, observed
from ppvae.run.store import WriteError
from ppvae.settings.values import Figures

if TYPE_CHECKING:  # slow to import
    from matplotlib.figure import Figure

TABLED = 500
"""Maximum number of rows in figures of columns."""

SHOWN = 10_000
"""Maximum number of points in a scatter plot; more would hide each other."""


def leave_pictures(
    run: Run,
    data: Data,
    embedding: Embedding,
    labels: Tensor | None,
    seed: int,
    kind: Figures = "both",
) -> tuple[list[str], WriteError | None]:
    """Draw the figures of a finished fit and write its page.

    Returns:
        Sentences on what could not be made, since a missing picture must not fail the fit; and the
        error of a full disk, which the fit raises last.
    """
    shown = _labels(data) if labels is None else labels
    notes, full = [], None
    for make in (
        lambda: draw(run, data, embedding, shown, seed, kind),
        lambda: attempt(run, data.test, labels=shown),
    ):
        try:
            note = make()
        except WriteError as error:
            full = full or error
        except Exception as error:  # see above
            notes.append(f"some pictures could not be drawn: {reason_of(error)}")
        else:
            notes += [note] if isinstance(note, str) and note else []
    return notes, full


def _labels(data: Data) -> Tensor | None:
    """Labels of the test data, if there is one number per datum."""
    if "y" not in data.test.extra_names:
        return None
    y = data.test.beside["y"]
    return y if y.dim() == 1 else None


def draw(
    run: Run,
    data: Data,
    embedding: Embedding,
    labels: Tensor | None,
    seed: int,
    kind: Figures = "both",
) -> None:
    """Draw the figures of `figures_of`."""
    with seeded(seed):
        for name, make in figures_of(run, data, embedding, labels, seed).items():
            figures.leave(make(), run.path / "figures", name, kind)


def figure_of(run: Run, name: str, seed: int = 0) -> "Figure":
    """A figure of a run and its test data, by name.

    Raises:
        InputError: if the run has no such figure, or its data no longer exist.
    """
    from ppvae import plots

    if name == "elbo":  # which needs no data
        return plots.history(run.history(), best_epoch=(run.summary or {}).get("best_epoch"))
    data = run.data(hidden=False)
    with seeded(seed):
        embedding = embed(run.pair, run.audit, data.test, seed=seed)
        known = figures_of(run, data, embedding, _labels(data), seed)
        if name not in known:
            raise InputError(f"`what={name!r}`: the figures of this run are {', '.join(known)}")
        return known[name]()


def figures_of(
    run: Run, data: Data, embedding: Embedding, labels: Tensor | None, seed: int
) -> "dict[str, Callable[[], Figure]]":
    """The figures of a run by name, to be drawn in this order.

    ``elbo`` (the bound and its terms by epoch), ``reconstructions``, ``samples``, ``pairs`` of
    columns of a table, ``latent`` (PCA if not 2-D), and ``manifold`` if the latent is 2-D.
    """
    from ppvae import plots

    pair, audit, test = run.pair, run.audit, data.test

    columns = columns_of(run)
    is_table = bool(columns.names)

    def reconstructions() -> "Figure":
        shown = test.take(Stream.SHOWN_ROWS.rows(len(test), TABLED if is_table else 16, seed, 0))
        means = _array(reconstruct(pair, audit, shown)[0])
        if is_table:
            data, rebuilt = in_units(run, observed(shown)), in_units(run, means)
            return plots.rebuilt_columns(data, rebuilt, columns)
        rows = Stream.SHOWN_ROWS.rows(len(test), 16, seed, 0)
        greys = intensities_of(run, as_split(**shown), "test", rows)
        return plots.reconstructions(
            observed(shown), means, columns=columns, greys=None if greys is None else _array(greys)
        )

    def drawn() -> "tuple[Any, Any]":
        """Equally many data and draws, in the units of the table."""
        like = test.take(Stream.SHOWN_ROWS.rows(len(test), TABLED, seed, 1))
        draws = _array(generate(pair, audit, like).draw)
        return in_units(run, observed(like)), in_units(run, draws)

    def samples() -> "Figure":
        if is_table:
            return plots.marginals(*drawn(), columns)
        like = test.take(Stream.SHOWN_ROWS.rows(len(test), 64, seed, 1))
        return plots.samples(_array(generate(pair, audit, like).mean), columns=columns)

    best = (run.summary or {}).get("best_epoch")
    found: dict[str, Callable[[], Figure]] = {
        "elbo": lambda: plots.history(run.history(), best_epoch=best)
    }
    if audit.supports:
        found |= {"reconstructions": reconstructions, "samples": samples}
        if [columns.kind_of(i) for i in range(len(columns.names))].count("real") > 1:
            found["pairs"] = lambda: plots.pairs(*drawn(), columns)
    loc = embedding.joined() if embedding.loc else None
    if loc is not None and loc.shape[1] >= 1:
        few = Stream.SHOWN_ROWS.rows(len(loc), SHOWN, seed, 2)
        coloured = None if labels is None else _array(labels[few])
        found["latent"] = lambda: plots.latent(_array(loc[few]), coloured, run.label_names)
    is_alone = bool(audit.supports) and len(audit.latents) == 1
    if is_alone and loc is not None and loc.shape[1] == 2:
        found["manifold"] = lambda: _manifold(run, loc)
    return found


def _manifold(run: Run, loc: Tensor, side: int = 15) -> Any:
    """Decoded pictures at the nodes of a grid over the codes of the data."""
    from ppvae import plots

    low, high = np.quantile(_array(loc), [0.01, 0.99], axis=0)
    z1, z2 = (np.linspace(low[i], high[i], side) for i in (0, 1))
    nodes = torch.tensor([(a, b) for b in z2[::-1] for a in z1], dtype=loc.dtype)
    (site,) = run.audit.latents
    like = {
        name: value[:1].expand(len(nodes), *value.shape[1:])
        for name, value in run.example().items()
    }
    means, _ = decode(run.pair, run.audit, like, {site: nodes})
    low, width = columns_of(run).scale(_array(means))
    drawn, grid = (_array(means) - low) / width, nodes.reshape(side, side, 2)
    return plots.manifold(drawn.reshape(side, side, *run.data_shape), _array(grid))


def _array(values: Tensor) -> Any:
    return values.detach().cpu().numpy()
