"""Comparison of log p(x) with simple models of the same rows.

All are fitted to the training rows as the programs see them, select their sizes on the validation
rows, and are scored on the rows of log p(x), in its unit and measure. Integers under a continuous
likelihood are compared as densities with densities, and as probabilities with histograms and
negative binomials: see `whole_numbers`. Elements that are constant in the training rows have no
meaningful density, and are left out: see `constant`.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.data import Data, Split, as_split
from ppvae.diagnostics.baselines.applicable import Candidate, Parts, candidates
from ppvae.diagnostics.baselines.comparison import Baselines, Comparison
from ppvae.diagnostics.baselines.conditioning import (
    LEAST,
    by_class,
    given_covariates,
    untold,
    with_frequency,
)
from ppvae.diagnostics.baselines.constant import LeavingOut, has_elements, varying
from ppvae.diagnostics.baselines.elementwise import Elementwise
from ppvae.diagnostics.baselines.rows import matrix
from ppvae.diagnostics.baselines.whole_numbers import Binning, Steps, steps_of
from ppvae.diagnostics.evidence.importance_sampling import (
    evidence_name,
    log_evidence,
    role_of_y,
)
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.distributions.per_column import Columnwise
from ppvae.distributions.support import elements_of
from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.pair import traces
from ppvae.programs.sites import listed
from ppvae.programs.streams import Stream, forked

NUMERIC = (
    ArithmeticError,
    np.linalg.LinAlgError,
    torch.linalg.LinAlgError,  # type: ignore[attr-defined]  # torch does not say that it exports it
)
"""Errors of a fit to unsuitable numbers; any other error is a bug, and is raised."""

TRACED = 64
"""Number of rows to trace the model."""

BINNED = 2**25
"""Maximum of numbers of x times samples for probabilities of integers."""


def compare_baselines(
    pair: Pair,
    audit: Audit,
    data: Data,
    test: Split,
    log_p: Tensor | None,
    *,
    samples: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
    reason: str = "",
) -> Baselines:
    """Fit the applicable baselines to ``data``, and compare the fit's log p(x) with theirs.

    The programs are unchanged, and the result is a function of ``seed``. Each takes seconds: they
    are fitted to, and scored on, at most 2**23 numbers of x, in a seeded sample of rows; a full
    covariance is left out above 1,024 elements; and only mixtures with short iterations are tried.

    Args:
        pair: model and guide.
        audit: their audit.
        data: the data of the fit: training rows fit the baselines, validation rows select their
            sizes.
        test: the rows to score.
        log_p: the fit's log p(x) of each of these, ``(rows,)``, or ``None``.
        samples: number of its importance samples.
        seed: seed of starting values and samples of rows.
        device: where the pair is.
        reason: why the fit has no log p(x), if it has none.
    """
    test = test.frozen(0)
    every = test.beside
    y = every.get("y")
    evidence, role = evidence_name(pair, audit, every), role_of_y(pair, audit, y)
    observed = [site.name for site in audit.sites if site.kl == "-"]
    others = [name for name in observed if name not in (*audit.supports, "y")]
    if len(audit.supports) != 1 or others:
        reason = (
            f"the model does not observe x as a whole at one site (it observes {listed(observed)})"
        )
        return Baselines(evidence, {}, {"independent": reason})
    note = ""
    if log_p is None:
        why = "it is not defined per datum" if audit.is_bound else "the guide is a point mass"
        note = f"there is no {evidence} of the fit to compare with these: {reason or why}"
    parts = Parts(*(matrix(split, seed) for split in (data.train, data.valid, test)))
    support = audit.supports[audit.data_site][1]
    steps, is_of_columns = None, isinstance(elements_of(support), Columnwise)
    if not elements_of(support).is_discrete and not is_of_columns:
        steps = steps_of(data.scaling, parts.train, parts.valid, parts.scored)
    compared: dict[str, Comparison] = {}
    left_out: dict[str, str] = {}
    fn, latents = _observed_at(pair, audit, test), _latents(audit)
    kept = None
    if not elements_of(support).is_discrete and has_elements(fn) and not is_of_columns:
        kept = varying(parts.train)
        constant = int((~kept).sum())
        if 0 < constant < len(kept):
            parts, steps = parts.some(kept), None if steps is None else steps.some(kept)
            also = "" if log_p is None else f", of {evidence} of the fit too"
            said = f"{constant:,} of {len(kept):,} elements of x are constant in the training rows"
            note = f"{note}; {said}" if note else f"{said}, and left out here{also}"
        else:
            kept = None
    scored = _Scored(
        pair, audit, test, log_p, parts.scored.numbers, steps, kept, samples, seed,
        torch.device(device),
    )  # fmt: skip
    with _same_threads():
        for each in candidates(fn, support, parts, steps, data.scaling, latents, seed):
            told = _told(each, role, y, support)
            try:
                compared[each.name] = scored.compare(told)
            except (InputError, *NUMERIC) as error:
                left_out[each.name] = " ".join(str(error).split())[:200]
    return Baselines(evidence, compared, left_out, note)


@dataclass(frozen=True)
class _Scored:
    """A fit, and the rows that it is compared on.

    Attributes:
        pair: model and guide.
        audit: their audit.
        test: the split of the rows.
        log_p: its log p(x) of each row of the split, if it has one.
        numbers: the rows on which baselines are scored.
        steps: how x is made from integers, if it is and the likelihood is continuous.
        kept: the compared elements of x, if some are left out.
        samples: importance samples.
        seed: seed of draws.
        device: where the pair is.
    """

    pair: Pair
    audit: Audit
    test: Split
    log_p: Tensor | None
    numbers: Tensor
    steps: Steps | None
    kept: Tensor | None
    samples: int
    seed: int
    device: torch.device

    def compare(self, candidate: Candidate) -> Comparison:
        """Fit a baseline, and score it on the rows of the fit."""
        if isinstance(candidate.fit, str):
            raise InputError(candidate.fit)
        parts, numbers = candidate.parts, self.numbers
        fitted = candidate.fit(parts.train, parts.valid)
        theirs = fitted.log_prob(parts.scored).double()
        if not bool(theirs.isfinite().all()):
            raise InputError(f"{fitted.about}: a scored row has no finite log p(x)")
        ours = None if self.log_p is None else self.log_p.cpu()[numbers]
        is_of_steps = self.steps is not None and candidate.measure == "probability"
        if ours is not None and (is_of_steps or self.kept is not None):
            ours, some = self._of_steps if is_of_steps else self._of_kept
            theirs, numbers = theirs[some], numbers[some]
        difference = None if ours is None else Estimate.of(ours.double() - theirs)
        return Comparison(
            candidate.name, fitted.about, candidate.measure, Estimate.of(theirs), difference,
            len(numbers),
        )  # fmt: skip

    @cached_property
    def _of_steps(self) -> tuple[Tensor, Tensor]:
        """The fit's log-probability of integers, and the scored rows that it is for."""
        assert self.steps is not None, "x is made of whole numbers"
        half, shape = self.steps.half, self.test.shape
        if self.kept is not None and half.numel() > 1:
            half = torch.ones(self.kept.shape, dtype=half.dtype).masked_scatter(self.kept, half)
        return self._under(Binning(self.audit.data_site, half, shape, self._like_x))

    @cached_property
    def _of_kept(self) -> tuple[Tensor, Tensor]:
        """The fit's log-density of the kept elements, and the scored rows that it is for."""
        assert self._like_x is not None, "some are left out"
        return self._under(LeavingOut(self.audit.data_site, self._like_x))

    @property
    def _like_x(self) -> Tensor | None:
        return None if self.kept is None else self.kept.reshape(self.test.shape)

    def _under(self, handler: Elementwise) -> tuple[Tensor, Tensor]:
        """The fit's log p(x) under a handler, and the scored rows that it is for."""
        shape = self.test.shape
        most = max(2, BINNED // (self.samples * math.prod(shape)))
        some = Stream.BASELINES.rows(len(self.numbers), most, self.seed, 2)
        batch = self.test.take(self.numbers[some])
        rows = as_split(**batch)
        with handler:
            found = log_evidence(
                self.pair, self.audit, rows, samples=self.samples, seed=self.seed,
                device=self.device, compile=False,
            )  # fmt: skip
        return found.log_p, some


def _told(candidate: Candidate, role: str, y: Tensor | None, support: Any) -> Candidate:
    """The baseline given y as the model is, or left out."""
    if isinstance(candidate.fit, str) or y is None or role == "absent":
        return candidate
    if role == "observed":
        return replace(candidate, fit=with_frequency(candidate.fit))
    if not y.is_floating_point():
        least = 1 if candidate.name == "independent" else LEAST
        return replace(candidate, fit=by_class(candidate.fit, least))
    if elements_of(support) is constraints.real and candidate.measure == "density":
        return replace(candidate, fit=given_covariates(candidate.fit))
    if candidate.name == "independent":
        return replace(candidate, fit=untold(candidate.fit))
    return replace(candidate, fit="only densities of real numbers can be given covariates")


def _observed_at(pair: Pair, audit: Audit, test: Split) -> Any:
    """The distribution of x in the model."""
    batch = test.take(torch.arange(min(TRACED, len(test))))
    batch = {name: value.to(pair.device) for name, value in batch.items()}
    with evaluating(pair), forked(pair.device), pyro.validation_enabled(False):
        return traces(pair, batch)[1].nodes[audit.data_site]["fn"]


def _latents(audit: Audit) -> int:
    """Latent dimensions per datum, without classes; 0 if none belongs to a datum."""
    if not audit.is_local:
        return 0
    own = [site for site in audit.sites if site.name in audit.latents and not site.is_class]
    return sum(math.prod(site.shape[1:]) for site in own)


@contextmanager
def _same_threads() -> Iterator[None]:
    """Limit NumPy's products to torch's number of threads."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(torch.get_num_threads()):
        yield
