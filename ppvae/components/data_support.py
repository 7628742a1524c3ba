"""Checks that data fit a likelihood: values of probability 0 are refused before the first step."""

from typing import Any

import pyro
import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.components.likelihood_choice import CHUNK, ways_out
from ppvae.data import Batch, Data, Split, Values
from ppvae.data.progress import passing
from ppvae.data.split import Extremes
from ppvae.distributions.grid import Grid
from ppvae.distributions.per_column import Columnwise
from ppvae.distributions.support import Outside, elements_of, ends_of, first_outside_support
from ppvae.errors import GIVE_LABELS, InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.classification import has_classes
from ppvae.programs.facts import Audit
from ppvae.programs.pair import traces
from ppvae.programs.streams import seeded

_CONVEX = (constraints.interval, constraints.greater_than, constraints.greater_than_eq)
"""Supports that contain all values between two of their values."""


def values_of(facts: Audit) -> Values | None:
    """The kind of values that the model observes, if all its sites agree."""
    kinds = {_kind_of(support) for _, support in facts.supports.values()}
    return kinds.pop() if len(kinds) == 1 else None


def _kind_of(support: Any) -> Values | None:
    support = elements_of(support)
    if support is constraints.boolean:
        return "binary"
    if isinstance(support, Grid):
        return "unit"
    if isinstance(support, Columnwise):
        return "columns"
    if support.is_discrete:
        return "counts"
    if isinstance(support, constraints.interval):
        is_unit = (support.lower_bound, support.upper_bound) == (0, 1)
        return "unit" if is_unit else None
    if isinstance(support, (constraints.greater_than, constraints.greater_than_eq)):
        return "positive" if support.lower_bound == 0 else None
    return "real" if support is constraints.real else None


def levels_of(facts: Audit) -> int | None:
    """The number of grey levels of x, where log p(x) is their probability: 8-bit images.

    Only then are bits per dimension those of the literature.
    """
    for _, support in facts.supports.values():
        elements = elements_of(support)
        if isinstance(elements, Grid):
            return elements.levels
    return None


def check_support(data: Data, facts: Audit) -> None:
    """Refuse data outside of the likelihood's support, before the first step."""
    for name, split in data.splits.items():
        first = _outside(split, facts, is_alike=data.scaling.kind == "8-bit")
        if first is not None:
            (row, value, takes), site = first
            raise InputError(
                f"{split.annotations.called(row)} of {data.name}, in its {name} part, holds "
                f"{value:.4g}, and "
                f"{_takes(facts, site, takes)}: {ways_out(data, _kind_of(facts.supports[site][1]))}"
            )


def check_rows(split: Split, pair: Pair, facts: Audit, like: Batch, name: str) -> None:
    """Refuse rows that are outside of a fitted model's support, or that it would misread.

    Args:
        split: the rows.
        pair: the fitted programs.
        facts: the audit of the programs.
        like: a batch of the data that the model was fitted to.
        name: name of the rows.

    Raises:
        InputError: for a value outside of the likelihood's support, for a mask that the model does
            not take, and for labels or covariates that differ in kind from those of the fit.
    """
    names = pair.names("model")
    if "mask" in split.extra_names and "mask" not in names:
        raise InputError(
            f"{name} has a mask of observed entries, and the model does not take one: it would "
            "count missing entries as observed; drop the mask"
        )
    is_sized = "size_factor" in like and "size_factor" in names
    if is_sized != ("size_factor" in split.extra_names):
        has = ("no size factors", "with them") if is_sized else ("size factors", "without them")
        raise InputError(
            f"{name} has {has[0]}, and the model was fitted {has[1]}; give rows like the fit's"
        )
    if "y" in names and not has_classes(facts):
        _check_y_alike(split, like, name)
    first = _outside(split, facts)
    if first is not None:
        (row, value, takes), site = first
        raise InputError(
            f"{split.annotations.called(row)} of {name} holds {value:.4g}, and "
            f"{_takes(facts, site, takes)}; give data like the fit's"
        )


def _check_y_alike(split: Split, like: Batch, name: str) -> None:
    """Refuse a y that is unknown, or of another kind than in the fit."""
    if "y" not in like:
        return
    if "y" not in split.extra_names:
        raise InputError(f"{name} has no y, and the model is conditional on it; {GIVE_LABELS}")
    for number, batch in enumerate(split.chunks(CHUNK)):
        y, fitted = batch["y"], like["y"]
        if y.shape[1:] != fitted.shape[1:] or y.is_floating_point() != fitted.is_floating_point():
            raise InputError(
                f"{name} has y of shape {tuple(y.shape[1:])} per row, {_kind(y)}, and the model "
                f"was fitted on {tuple(fitted.shape[1:])}, {_kind(fitted)}"
            )
        if not y.is_floating_point() and bool((y < 0).any()):
            row = number * CHUNK + int((y < 0).nonzero()[0])
            raise InputError(
                f"y is -1, unknown, in {split.annotations.called(row)} of {name}, and the model "
                "is conditional on it; leave such rows out"
            )


def _kind(y: Tensor) -> str:
    return "covariates" if y.is_floating_point() else "labels"


def _outside(split: Split, facts: Audit, *, is_alike: bool = False) -> tuple[Outside, str] | None:
    """The first element outside of a likelihood's support, and its site.

    Args:
        split: the rows.
        facts: the audit of the programs.
        is_alike: the rows are 8-bit intensities, so that the first of them are enough.
    """
    for site, (_, support) in facts.supports.items():
        if _holds_all(support, split.extremes):
            continue
        with passing("checking the data", len(split)) as count:
            for number, batch in enumerate(split.frozen(0).chunks(CHUNK)):
                first = first_outside_support(support, batch["x"], batch.get("mask"))
                if first is not None:
                    return first._replace(row=number * CHUNK + first.row), site
                count(len(batch["x"]))
                if is_alike:
                    break
    return None


def _holds_all(support: Any, known: Extremes | None) -> bool:
    """Whether a support surely contains all numbers between two."""
    elements = elements_of(support)
    if known is None or any(isinstance(end, Tensor) for end in ends_of(elements)):
        return False
    ends = torch.tensor([known.lowest, known.highest])
    is_of_whole = elements in (constraints.boolean, constraints.nonnegative_integer)
    is_convex = elements is constraints.real or (
        isinstance(elements, _CONVEX) and not isinstance(elements, Grid)
    )
    if not is_convex and not (is_of_whole and known.is_whole):
        return False
    return bool(torch.as_tensor(elements.check(ends)).all())


def _takes(facts: Audit, site: str, takes: str) -> str:
    return f"{facts.supports[site][0]} (site '{site}') takes only {takes}"


def check_density(pair: Pair, facts: Audit, batch: Batch) -> None:
    """Refuse programs with a bound of minus infinity before the first step, as no gradient helps.

    The audit has checked supports; this checks one draw.
    """
    # Pyro would raise first; the errors below name the way out.
    with evaluating(pair), seeded(0, pair.device), pyro.validation_enabled(False):
        _, nodes = (trace.nodes for trace in traces(pair, batch))
        for name in facts.latents:
            if not _is_inside(nodes[name]["fn"], nodes[name]["value"]):
                raise InputError(
                    f"site '{name}': the guide draws where the model's density is 0, so that the "
                    "bound is -inf; give the guide the support of the model's distribution"
                )
        for name in facts.supports:  # `check_support` has checked these on the data
            if bool((nodes[name]["fn"].log_prob(nodes[name]["value"]) == -torch.inf).any()):
                raise InputError(
                    f"site '{name}': the likelihood gives some datum probability 0 at the initial "
                    "weights, so that the bound is -inf, and no step can change that; keep its "
                    "parameters off the edge of their range (a rate by ppvae.networks.positive, "
                    "not relu)"
                )


def _is_inside(fn: Any, value: Tensor) -> bool:
    """Whether a distribution gives all of ``value`` a density above 0.

    Outside of its support a family's ``log_prob`` may return any number, so that is checked too.
    """
    if bool((fn.log_prob(value) == -torch.inf).any()):
        return False
    try:
        return bool(fn.support.check(value).all())
    except NotImplementedError:  # no support is declared
        return True


def check_labels(data: Data, pair: Pair, facts: Audit) -> None:
    """Refuse unknown labels where the model is conditional on them.

    A model that infers the class takes them.
    """
    if not data.classes or "y" not in pair.names("model") or has_classes(facts):
        return
    if data.labels is not None and len(data.labels) == 1:
        raise InputError(
            f"every label of {data.name} is {data.labels[0]!r}, and the model is conditional on "
            "them: a single class carries no information; take `model='VAE'`, or give more classes"
        )
    for name, split in data.splits.items():
        unknown = sum(int((batch["y"] < 0).sum()) for batch in split.chunks(CHUNK))
        if unknown:
            raise InputError(
                f"{unknown} of the {len(split)} labels of the {name} data ({data.name}) are -1, "
                f"unknown, and the model is conditional on them; drop those rows, or take "
                "`model='SemiSupervisedVAE', guide='SemiSupervised', elbo='TraceEnum_ELBO'`"
            )
