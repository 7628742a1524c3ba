"""Context of a diagnosis: the programs of a run, the data, and the computing effort."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ppvae.bounds.traits import traits_of
from ppvae.data import Batch, Split, as_split
from ppvae.diagnostics.effort import Effort
from ppvae.diagnostics.evidence.exact import exact_posterior
from ppvae.diagnostics.evidence.importance_sampling import Evidence, evidence_name, log_evidence
from ppvae.diagnostics.evidence.log_weights import importance_weights
from ppvae.diagnostics.gap.gaps import Gaps, gaps
from ppvae.diagnostics.training.overfitting import Overfitting, overfitting
from ppvae.distributions.per_column import Columnwise
from ppvae.distributions.support import elements_of
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from ppvae.programs.streams import Stream, generator
from ppvae.run import Run


@dataclass(frozen=True)
class Context:
    """Inputs of all questions.

    Attributes:
        run: the run.
        pair: its programs, on the device.
        audit: their audit.
        data: the examined data.
        data_name: their name: a split of the run's own data, or new data.
        is_own: whether they are a split of the run's own data.
        train: the training data of the run; ``None`` if these are examined or not available.
        climbed: the training data as the fit saw them, binarized again in each batch if they were.
        choosing: the validation data of the run, used to select weights; test data never are.
        effort: how much to compute.
        seed: seed of all draws.
        device: where to compute.
        progress: context manager of a progress bar, ``progress(what, total)``; it yields a function
            that counts.
    """

    run: Run
    pair: Pair
    audit: Audit
    data: Split
    data_name: str
    is_own: bool
    train: Split | None
    climbed: Split | None
    choosing: Split | None
    effort: Effort
    seed: int
    device: torch.device
    progress: Callable[[str, int], AbstractContextManager[Callable[..., None]]]

    @cached_property
    def order(self) -> Tensor:
        """Rows of the data in random order; subsets are the first of these.

        A smaller subset is always the start of a larger one.
        """
        return _shuffled(self.data, self.seed)

    def some(self, count: int) -> Split:
        """The first ``count`` of the data in `order`, or all if fewer."""
        return _few(self.data, self.order, count)

    def rows(self, order: Tensor) -> Split:
        """These rows of the data."""
        return _few(self.data, order, len(order))

    def some_of_training(self, count: int) -> Split | None:
        """``count`` of the training data, also in random order."""
        if self.train is None:
            return None
        return _few(self.train, _shuffled(self.train, self.seed + 1), count)

    def gaining_and_choosing(self, count: int) -> tuple[Split, Split] | None:
        """``count`` data on which a gain is measured, and ``count`` that select weights.

        If the validation data are examined, one half measures and the other half selects.
        """
        if self.choosing is None:
            return None
        if self.is_own and self.data_name == "valid":
            half = len(self.order) // 2
            parts = self.order[:half], self.order[half:]
            return _few(self.data, parts[0], count), _few(self.data, parts[1], count)
        order = _shuffled(self.choosing, self.seed + 2)
        return self.some(count), _few(self.choosing, order, count)

    @property
    def weighed(self) -> int:
        """Draws per datum that the bound of the fit weighs; 1 for a mean over draws."""
        if not traits_of(self.run.elbo).weighs_draws:
            return 1
        return int(self.run.config.get("particles", 1))

    def batch(self, rows: Tensor) -> Batch:
        """These rows of the data, on the device."""
        return {name: value.to(self.device) for name, value in self.data.take(rows).items()}

    @cached_property
    def weights(self) -> Tensor | str:
        """Log-weights of draws from the guide, ``(data, draws)``, or why there are none.

        For the first data in `order`; several questions share them.
        """
        few = self.some(self.effort.trusted_rows)
        try:
            with self.progress("importance weights", len(few)) as count:
                return importance_weights(
                    self.pair, self.audit, few, samples=self.effort.trusted_samples,
                    seed=self.seed, device=self.device, on_rows=count,
                )  # fmt: skip
        except InputError as error:
            return str(error)

    @cached_property
    def evidence(self) -> Evidence | str:
        """Log p(x) of some of the data by importance sampling, or why there is none.

        For the first data in `order`; several questions share it.
        """
        few = self.some(self.effort.evidence_rows)
        try:
            with self.progress(self.log_p_name, len(few)) as count:
                return log_evidence(
                    self.pair, self.audit, few, samples=self.effort.samples,
                    seed=self.seed, device=self.device, on_rows=count,
                )  # fmt: skip
        except InputError as error:
            return str(error)

    @cached_property
    def gaps(self) -> Gaps | str:
        """Gaps of some of the data, or why they cannot be split.

        For the first data in `order`; several questions share it.
        """
        pair, audit = self.pair, self.audit
        few = self.some(self.effort.refined_rows)
        known = None
        if audit.is_local:
            known = exact_posterior(pair, audit, few, seed=self.seed, device=self.device)
        try:
            with self.progress("best guide of each datum", len(few)) as count:
                return gaps(
                    pair, audit, few, log_p=None if known is None else known.log_p,
                    steps=self.effort.refine_steps, draws=self.effort.refined_draws,
                    on_rows=count, seed=self.seed, device=self.device,
                )  # fmt: skip
        except InputError as error:
            return str(error)

    @cached_property
    def overfitting(self) -> Overfitting | str:
        """Overfitting to the training data, or why it cannot be measured."""
        train, few = self.some_of_training(self.effort.rows), self.some(self.effort.rows)
        if train is None:
            return "it needs training data and other data, which are not available"
        try:
            with self.progress("training and other data", len(train) + len(few)) as count:
                return overfitting(
                    self.pair, self.audit, train, few, is_own=self.is_own,
                    samples=min(self.effort.samples, self.effort.compared_samples),
                    weighed=self.weighed,
                    seed=self.seed, device=self.device, on_rows=count,
                )  # fmt: skip
        except InputError as error:
            return str(error)

    @cached_property
    def log_p_name(self) -> str:
        """Name of what is estimated as log p(x), which differs for programs that take y."""
        few = self.some(self.effort.evidence_rows)
        return evidence_name(self.pair, self.audit, few.beside)

    @property
    def is_continuous(self) -> bool:
        """Whether x has a density instead of a probability: nats then depend on its unit."""
        return not all(support.is_discrete for _, support in self.audit.supports.values())

    @property
    def is_mixed(self) -> bool:
        """Whether x is a table whose columns have different supports."""
        each = (elements_of(support) for _, support in self.audit.supports.values())
        return any(isinstance(elements, Columnwise) for elements in each)


def _shuffled(split: Split, seed: int) -> Tensor:
    chosen = generator(Stream.EXAMINED_ROWS.seed(seed))
    return torch.randperm(len(split), generator=chosen)


def _few(split: Split, order: Tensor, count: int) -> Split:
    batch = split.take(order[:count])
    return as_split(**batch)
