"""Inputs of a page: a run, some of its data, and a diagnosis if there is one."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ppvae.data import Split, as_split
from ppvae.diagnostics.bound.embedding import Embedding, embed
from ppvae.diagnostics.bound.terms import Decomposition, decompose
from ppvae.diagnostics.evidence.importance_sampling import evidence_name
from ppvae.errors import InputError
from ppvae.programs.streams import generator
from ppvae.run import Run
from ppvae.run.figures import file_of
from ppvae.run.store import MissingError, read_json

ROWS = 500
"""Maximum number of data for the plots of the page; the numbers in its text are of all data."""

DRAWS = 8
"""Draws of the latents per datum."""


@dataclass(frozen=True)
class PageData:
    """A run and its data, as the page shows them.

    Attributes:
        run: the run.
        given: the data to show, or why there are none.
        data_name: their name: ``"test"`` for the run's own, or new data.
        classes: their labels, if they are known and differ from those in the data.
        folder: folder of the diagnosis, which may not exist.
        diagnosis: ``diagnostics.json``, if it exists.
    """

    run: Run
    given: Split | str
    data_name: str
    classes: Tensor | None
    folder: Path
    diagnosis: Mapping[str, Any] | None

    @cached_property
    def order(self) -> Tensor:
        """Places of the rows shown: a fixed random choice, in random order."""
        return torch.randperm(len(self._demanded), generator=generator(0))[:ROWS]

    @cached_property
    def numbers(self) -> Tensor:
        """Their row numbers in the file that they were read from, from 0."""
        return self._demanded.annotations.numbers[self.order]

    @cached_property
    def names(self) -> list[str]:
        """Names of the rows, if the table has a column of names; else empty."""
        index = self._demanded.annotations.index
        return [] if index is None else [str(index[i]) for i in self.order.tolist()]

    @cached_property
    def source(self) -> str:
        """Where row numbers count: in the rows shown, or in all rows that these were split from."""
        numbers = self._demanded.annotations.numbers
        if torch.equal(numbers.cpu(), torch.arange(len(numbers))):
            return f"the {self.data_name} data"
        own = self.run.resolved.get("data")
        name = own.get("name") if isinstance(own, Mapping) else None
        is_own = self.data_name in ("train", "valid", "test")
        return str(name or "all data") if is_own else self.data_name

    def called(self, place: int) -> str:
        """The number of a row, where it counts, and its name."""
        name = f", named {self.names[place]}" if self.names else ""
        return f"row {int(self.numbers[place])} of {self.source} (counted from 0){name}"

    @cached_property
    def greys(self) -> Tensor | None:
        """Intensities that the data shown were binarized from, if both are known."""
        return intensities_of(self.run, self.rows, self.data_name, self.order)

    @cached_property
    def rows(self) -> Split:
        """The data shown, on the CPU.

        Raises:
            InputError: saying why there are none.
        """
        batch = self._demanded.frozen(0).take(self.order)
        return as_split(**{name: value.cpu() for name, value in batch.items()})

    @cached_property
    def labels(self) -> Tensor | None:
        """One number per datum, for its colour: a class, or a covariate."""
        if self.classes is not None:
            return self.classes.cpu()[self.order]
        if "y" not in self.rows.extra_names:
            return None
        y = self.rows.beside["y"]
        return y if y.dim() == 1 else None

    @cached_property
    def embedding(self) -> Embedding:
        """Codes of the data shown."""
        return embed(self.run.pair, self.run.audit, self.rows)

    @cached_property
    def terms(self) -> Decomposition:
        """The terms of their bound."""
        return decompose(self.run.pair, self.run.audit, self.rows, draws=DRAWS)

    @cached_property
    def evidence(self) -> str:
        """Name of the bounded quantity: log p(x), or that given or with labels."""
        try:
            batch = self.rows.take(torch.arange(len(self.rows)))
            return evidence_name(self.run.pair, self.run.audit, batch)
        except InputError:  # without programs, or their data
            return "log p(x)"

    @property
    def likelihood(self) -> str:
        """Name of the decoded distribution: p(x | z), or that of a model which is given y."""
        return "p(x | z, y)" if self.evidence.startswith("log p(x | y") else "p(x | z)"

    @cached_property
    def has_bound(self) -> bool:
        """Whether the guide has a density; without one there is no bound."""
        try:
            return self.run.audit.is_bound
        except InputError:  # programs that cannot be opened: their summary knows
            return not self.summary or self.summary.get("elbo") is not None

    @property
    def summary(self) -> Mapping[str, Any]:
        """``summary.json``; empty before the end of a fit."""
        return self.run.summary or {}

    def run_figure(self, name: str) -> Path | None:
        """A figure of the fit, if it exists."""
        return file_of(self.run.path / "figures", name)

    @cached_property
    def diagnosis_figures(self) -> Mapping[str, str]:
        """Description of each figure of the diagnosis, by name; the record may be malformed."""
        listed = (self.diagnosis or {}).get("figures")
        entries = listed if isinstance(listed, list) else []
        return {
            str(each.get("name")): str(each.get("alt") or "A figure of the diagnosis.")
            for each in entries
            if isinstance(each, Mapping)
        }

    def diagnosis_figure(self, name: str) -> Path | None:
        """A figure of the diagnosis, if it exists."""
        if name not in self.diagnosis_figures:
            return None
        # The record may come from elsewhere: only files of this folder are read.
        return file_of(self.folder / "figures", Path(name).name)

    @property
    def _demanded(self) -> Split:
        if isinstance(self.given, str):
            raise InputError(self.given)
        return self.given


def intensities_of(run: Run, rows: Split, name: str, order: Tensor) -> Tensor | None:
    """Intensities that rows of the run's own data were binarized from.

    Args:
        run: the run.
        rows: the binarized rows.
        name: their split, such as ``"test"``.
        order: their places in it.
    """
    try:
        whole = run.intensities()
    except InputError:
        return None
    if whole is None or name not in whole.splits or len(whole.splits[name]) <= int(order.max()):
        return None
    x, binary = whole.splits[name].take(order)["x"], rows.take(torch.arange(len(rows)))["x"]
    # Other data may have the same name: nothing is drawn from an intensity that forbids it.
    fits = ((binary == 1) & (x > 0)) | ((binary == 0) & (x < 1))
    return x.cpu() if x.shape == binary.shape and bool(fits.all()) else None


def read_diagnosis(folder: Path) -> Mapping[str, Any] | None:
    """The record of a diagnosis, if it exists.

    Raises:
        InputError: if it is damaged.
    """
    try:
        return read_json(folder / "diagnostics.json")
    except MissingError:
        return None
