"""What a page is made from: a run, some of its data, and a diagnosis where there is one."""

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
from ppvae.run.store import MissingError, is_there, read_json

ROWS = 500
"""Most data that anything on the page is computed from; the figures in its text are of all."""

DRAWS = 8
"""Draws of the latents for each of them."""


@dataclass(frozen=True)
class PageData:
    """A run, and what the page shows of it.

    Attributes:
        run: the run.
        given: the data to show, or why there are none.
        data_name: what these are called: ``"test"`` for the run's own, or new data.
        classes: their labels, where they are known and are not those that the data comes with.
        folder: where the diagnosis is, or would be.
        diagnosis: ``diagnostics.json``, where there is one.
    """

    run: Run
    given: Split | str
    data_name: str
    classes: Tensor | None
    folder: Path
    diagnosis: Mapping[str, Any] | None

    @cached_property
    def order(self) -> Tensor:
        """Places of the rows shown: a random choice, ever the same, the first of them as well."""
        return torch.randperm(len(self._demanded), generator=generator(0))[:ROWS]

    @cached_property
    def numbers(self) -> Tensor:
        """Their numbers in the file that they were read from, from 0."""
        return self._demanded.annotations.numbers[self.order]

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
        """A number a datum, for its colour: a class, or a covariate."""
        if self.classes is not None:
            return self.classes.cpu()[self.order]
        if "y" not in self.rows.extra_names:
            return None
        y = self.rows.beside["y"]
        return y if y.dim() == 1 else None

    @cached_property
    def embedding(self) -> Embedding:
        """Where the guide puts the data shown."""
        return embed(self.run.pair, self.run.audit, self.rows)

    @cached_property
    def terms(self) -> Decomposition:
        """Their bound, taken apart."""
        return decompose(self.run.pair, self.run.audit, self.rows, draws=DRAWS)

    @cached_property
    def evidence(self) -> str:
        """What the bound is one on: log p(x), or that given or with labels."""
        try:
            batch = self.rows.take(torch.arange(len(self.rows)))
            return evidence_name(self.run.pair, self.run.audit, batch)
        except InputError:  # without programs, or their data
            return "log p(x)"

    @property
    def likelihood(self) -> str:
        """What is decoded: p(x | z), or that of a model which is given y."""
        return "p(x | z, y)" if self.evidence.startswith("log p(x | y") else "p(x | z)"

    @cached_property
    def has_bound(self) -> bool:
        """Whether the guide has a density, without which there is no bound."""
        try:
            return self.run.audit.is_bound
        except InputError:  # programs that cannot be opened: their summary knows
            return not self.summary or self.summary.get("elbo") is not None

    @property
    def summary(self) -> Mapping[str, Any]:
        """``summary.json``, or nothing before the end of a fit."""
        return self.run.summary or {}

    def run_figure(self, name: str) -> Path | None:
        """A figure that the fit drew, if it is there."""
        file = self.run.path / "figures" / f"{name}.png"
        return file if is_there(file) else None

    @cached_property
    def diagnosis_figures(self) -> Mapping[str, str]:
        """What each figure of the diagnosis shows, by its name; the record may be a stranger's."""
        listed = (self.diagnosis or {}).get("figures")
        entries = listed if isinstance(listed, list) else []
        return {
            str(each.get("name")): str(each.get("alt") or "A figure of the diagnosis.")
            for each in entries
            if isinstance(each, Mapping)
        }

    def diagnosis_figure(self, name: str) -> Path | None:
        """A figure that the diagnosis drew, if it did."""
        if name not in self.diagnosis_figures:
            return None
        # A record may come from a stranger: what it names is a file of this folder, or none.
        file = self.folder / "figures" / f"{Path(name).name}.png"
        return file if is_there(file) else None

    @property
    def _demanded(self) -> Split:
        if isinstance(self.given, str):
            raise InputError(self.given)
        return self.given


def read_diagnosis(folder: Path) -> Mapping[str, Any] | None:
    """The record of a diagnosis, where there is one.

    Raises:
        InputError: if it is damaged.
    """
    try:
        return read_json(folder / "diagnostics.json")
    except MissingError:
        return None
