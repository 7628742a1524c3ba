"""Checks that runs are comparable: log p(x) of the same data, in the same unit."""

import hashlib
from collections.abc import Sequence
from typing import Any

from ppvae.data import Split
from ppvae.diagnostics.evidence.importance_sampling import evidence_name
from ppvae.distributions.per_column import Columnwise
from ppvae.distributions.support import elements_of
from ppvae.errors import InputError
from ppvae.run import Run
from ppvae.run.data import RunData

LEAVE_OUT = "leave one of them out"


def check_each_once(paths: Sequence[Any]) -> None:
    """Refuse a single run, or the same run twice.

    Raises:
        InputError: naming the run.
    """
    if len(paths) < 2:
        alone = f"only {paths[0]} is given: give" if paths else "there is no run: give"
        raise InputError(
            f"{alone} two runs or more to compare; `run={str((*paths, 'RUN')[0])!r}` "
            "compares two bounds on the program of one"
        )
    seen: dict[Any, Any] = {}
    for path in paths:
        if path.resolve() in seen:
            raise InputError(f"{path} is given twice; leave it out once")
        seen[path.resolve()] = path


def check_finished(run: Run) -> None:
    """Refuse a run that has no final figures or no log p(x).

    Raises:
        InputError: naming the run.
    """
    path = run.path
    if run.summary is None:
        raise InputError(
            f"the fit of {path} has not finished: it has no summary.json; resume it by "
            f"`resume({str(path)!r})`, or leave it out"
        )
    if not run.audit.is_bound:
        raise InputError(
            f"the guide of {path} is a point mass, which has no density: there is no log p(x) to "
            "compare; leave it out, or fit a guide with a density, such as MeanField"
        )
    if not run.audit.has_evidence:
        raise InputError(
            f"{path} has no log p(x) per datum: latents are shared by all data, summed "
            "over, or scaled; leave it out"
        )


def check_data_alike(runs: Sequence[RunData], *, is_new: bool) -> None:
    """Refuse runs with different data or units.

    Args:
        runs: the runs; all must match the first.
        is_new: they are compared on new data, so that their own may differ.

    Raises:
        InputError: naming both runs, and the difference.
    """
    first = runs[0]
    for other in runs[1:]:
        both = f"{first.path} and {other.path}"
        if not is_new:
            _check_same_source(first, other)
        if first.data_shape != other.data_shape:
            raise InputError(
                f"{both} have data of different shapes, {first.data_shape} and {other.data_shape}: "
                f"{LEAVE_OUT}"
            )
        ways = [run.config.get("binarize") or "none" for run in (first, other)]
        if ways[0] != ways[1]:
            raise InputError(
                f"{both} are binarized differently, {ways[0]!r} and {ways[1]!r}, so that their "
                f"x differ: {LEAVE_OUT}, or fit both with one `binarize`"
            )
        if first.scaling != other.scaling:
            scalings = first.scaling.sentence(), other.scaling.sentence()
            how, way_out = f"{scalings[0]}, and {scalings[1]}", "fit both with one `scale`"
            if scalings[0] == scalings[1]:
                how = f"{scalings[0]}, by different means and deviations"
                way_out = "fit both to the same data"
            raise InputError(
                f"{both} are scaled differently ({how}), and nats depend on the unit: "
                f"{LEAVE_OUT}, or {way_out}"
            )


def _check_same_source(first: RunData, other: RunData) -> None:
    one, two = first.fingerprint, other.fingerprint
    if one is None or two is None or one.has_rows_of(two):
        return
    names = [f"{run.config.get('data')} ({each.sentence()})"
             for run, each in ((first, one), (other, two))]  # fmt: skip
    raise InputError(
        f"{first.path} and {other.path} were fitted to different data, {names[0]} and {names[1]}: "
        f"{LEAVE_OUT}, or give new rows for all of them as `data`"
    )


def check_rows_alike(runs: Sequence[Run], rows: Sequence[Split]) -> None:
    """Refuse rows whose values, in the fields that a model takes, differ between runs.

    Raises:
        InputError: naming two runs whose rows differ.
    """
    known = set.intersection(*({"x", *each.extra_names} for each in rows))
    taken = {"x", "mask"}.union(*(run.pair.names("model") for run in runs))
    digests = [_digest(each, sorted(known & taken)) for each in rows]
    for run, digest in zip(runs, digests, strict=True):
        if digest != digests[0]:
            raise InputError(
                f"the rows of {runs[0].path} and {run.path} are not the same, though their data "
                f"are: they have different splits or labels; {LEAVE_OUT}, or give "
                "the rows as `data`"
            )


def _digest(rows: Split, names: Sequence[str]) -> str:
    total = hashlib.sha256()
    for batch in rows.frozen(0).chunks(4096):
        for name in names:
            total.update(f"{name} {tuple(batch[name].shape)}".encode())
            total.update(batch[name].contiguous().numpy().tobytes())
    return total.hexdigest()


def check_measured_alike(runs: Sequence[Run], rows: Sequence[Split]) -> tuple[str, str]:
    """The name of log p, and the measure that it is the logarithm of; refuse runs that differ.

    Returns:
        The name, such as ``"log p(x)"``, and ``"probability"`` or ``"density"``, or both.

    Raises:
        InputError: naming two runs that differ.
    """
    facts = [
        (evidence_name(run.pair, run.audit, own.beside), measure_of(run))
        for run, own in zip(runs, rows, strict=True)
    ]
    for run, (evidence, measure) in zip(runs, facts, strict=True):
        both = f"{runs[0].path} and {run.path}"
        if evidence != facts[0][0]:
            raise InputError(
                f"{both} have different figures, {facts[0][0]} and {evidence}, which cannot be "
                f"compared: {LEAVE_OUT}"
            )
        if measure != facts[0][1]:
            raise InputError(
                f"{both} have different measures, a {facts[0][1]} and a {measure}, which cannot be "
                f"compared: {LEAVE_OUT}, or fit both with one kind of `likelihood`"
            )
    return facts[0]


def measure_of(run: Run) -> str:
    """The measure p(x): a probability of discrete x, a density of continuous x, or a mixture."""
    kinds: dict[bool, list[str]] = {True: [], False: []}
    for _, support in run.audit.supports.values():
        elements = elements_of(support)
        if isinstance(elements, Columnwise):
            for column, own in zip(elements.columns, elements.supports, strict=True):
                kinds[elements_of(own).is_discrete].append(column.name)
        else:
            kinds[elements.is_discrete].append("x")
    if not kinds[True]:
        return "density"
    if not kinds[False]:
        return "probability"
    return f"probability of {', '.join(kinds[True])} and density of the rest"
