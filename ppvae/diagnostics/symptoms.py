"""Symptoms: visible failures of a fit, whatever their cause."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ppvae.diagnostics.answer import Answer, first
from ppvae.diagnostics.baselines.answer import BaselinesAnswer
from ppvae.diagnostics.bound.answer import BoundAnswer
from ppvae.diagnostics.model.answer import ModelAnswer
from ppvae.diagnostics.model.columns import negative_draws
from ppvae.diagnostics.model.predictive import PositiveColumn, Predictive, Replicated
from ppvae.diagnostics.shared.wording import plus_minus, with_error

SAYS = 0.05
"""KL of all latents, in nats per datum, below which the posterior has collapsed."""

SURE = 4.0
"""Minimum deviation of a gross failure, in standard deviations of a replicated statistic."""

SHARE = 0.1
"""Minimum gross difference of two shares of zeros, if one is also twice the other."""

NAMED = 3
"""Maximum number of columns that are named."""

REACH = 2.0
"""Minimum gross ratio of an extreme of the data to the largest replicated one."""


_AGAINST_COLLAPSE = "a warm-up (`warm_up`), free bits (`elbo='FreeBitsELBO'`), or another prior"


@dataclass(frozen=True)
class Symptom:
    """A failure that can be seen without knowing its cause.

    Attributes:
        name: its name.
        clause: what is wrong, as a main clause.
        remedy: what to try first if no part explains it.
        nats: its size per datum, if it has one.
        error: its standard error.
        blames: the part that it points to, or ``""``.
        is_decisive: whether that part is the cause, whatever another part would gain.
        is_of_data: whether no other part mends it, but other data do; its remedy is said always.
    """

    name: str
    clause: str
    remedy: str
    nats: float | None = None
    error: float | None = None
    blames: str = ""
    is_decisive: bool = False
    is_of_data: bool = False


def symptoms(
    answers: Iterable[Answer], *, beta: float = 1.0, status: str = ""
) -> tuple[Symptom, ...]:
    """Symptoms in the answers, the worst first.

    Args:
        answers: answers to all questions that were asked.
        beta: the weight of the KL in the fit.
        status: status of the fit in ``summary.json``.
    """
    everything = tuple(answers)
    return (
        *_diverged(status),
        *_beaten(everything),
        *_collapsed(everything, beta),
        *_misfits(everything),
        *_climbing(status),
    )


def _diverged(status: str) -> Iterator[Symptom]:
    if status == "diverged":
        yield Symptom(
            "divergence", "the fit diverged", "a smaller `lr`, or `clip=10`",
            blames="optimization", is_decisive=True,
        )  # fmt: skip


def _climbing(status: str) -> Iterator[Symptom]:
    if status == "climbing":
        yield Symptom(
            "early end", "the fit was still climbing when it ended",
            "twice the `epochs` (or `patience`, if that ended the fit), then a larger `lr`",
            blames="optimization",
        )  # fmt: skip


def _beaten(answers: Iterable[Answer]) -> Iterator[Symptom]:
    """The baseline with the largest lead over the fit."""
    asked = first(answers, BaselinesAnswer)
    failures = () if asked is None or asked.baselines is None else asked.baselines.failures
    for worst in failures[:1]:
        if worst.difference is not None:
            behind, error = -worst.difference.mean, worst.difference.standard_error
            yield Symptom(
                "baseline",
                f"the fit is {plus_minus(behind, error)} nats worse than a simple model "
                f"({worst.about})",
                "more `epochs` or another `lr`, a larger `decoder`, or another `likelihood`",
                behind, error,
            )  # fmt: skip


def _collapsed(answers: Iterable[Answer], beta: float) -> Iterator[Symptom]:
    """A collapsed posterior, which is the same for all data."""
    asked = first(answers, BoundAnswer)
    if asked is None:
        return
    sites = () if asked.activity is None else asked.activity.collapsed
    rate = None if asked.terms is None else asked.terms.rate
    if not sites and not (rate is not None and rate.mean < SAYS):
        return
    heavy = beta > 1
    by = f", under beta = {beta:g}" if heavy else ""
    said = "" if rate is None else f": the rate is {with_error(rate)} nats"
    yield Symptom(
        "collapse", f"the posterior has collapsed{by}{said}",
        f"a smaller `beta` first (`beta=1`); then {_AGAINST_COLLAPSE}" if heavy
        else _AGAINST_COLLAPSE,
        blames="beta" if heavy else "", is_decisive=heavy,
    )  # fmt: skip


def _misfits(answers: Iterable[Answer]) -> Iterator[Symptom]:
    """A statistic of data sets that the likelihood cannot reproduce."""
    everything = tuple(answers)
    asked = first(everything, ModelAnswer)
    if asked is None or asked.predictive is None:
        return
    tried = [d for answer in everything for d in answer.deficits if "likelihood" in d.part]
    is_best = bool(tried) and not any(each.is_significant for each in tried)
    yield from _negative(negative_draws(asked.predictive.positive), asked.has_all_rows)
    yield from misfits(asked.predictive, is_best=is_best)


def misfits(predictive: Predictive, *, is_best: bool = False) -> Iterator[Symptom]:
    """Gross failures of a predictive check, which point to the likelihood.

    There are two kinds: a different share of zeros, as when a density is fitted to counts; and data
    at least twice as extreme as any that the model generates, as with heavy tails.

    A density generates no exact zeros, but it may still be the best likelihood of data with many
    zeros, such as image backgrounds or class indicators. So zeros count until other likelihoods
    were tried.

    Args:
        predictive: the check.
        is_best: whether other likelihoods of such values were tried and none is better.
    """
    zeros = predictive.statistics.get("share of zeros")
    is_density = zeros is not None and float(zeros.replicated.max()) == 0
    clause = "" if is_best and is_density else _zeros(zeros)
    if not clause:
        both = (predictive.statistics.get(name) for name in ("largest", "smallest"))
        clause = next((said for each in both if (said := _reach(each))), "")
    if clause:
        yield Symptom("predictive check", clause, "another `likelihood`", blames="likelihood")


def _negative(columns: Sequence[PositiveColumn], has_all_rows: bool) -> Iterator[Symptom]:
    """Negative draws of skewed columns without negative values, which a logarithm mends."""
    if not columns:
        return
    names = [each.name for each in columns[:NAMED]]
    drawn = [float(each.negative_share.replicated.mean()) for each in columns[:NAMED]]
    shares = [f"{share:.0%} of {name}" for name, share in zip(names, drawn, strict=True)]
    if others := len(columns[NAMED:]):
        names.append("1 more column" if others == 1 else f"{others} more columns")
        shares.append(f"some of {names[-1]}")
    which = "columns that have" if columns[1:] else "a column that has"
    where = "the data" if has_all_rows else "these rows"
    yield Symptom(
        "negative draws",
        f"the model draws values below 0 in {which} none in {where}: {_and(shares)}",
        f"take the logarithm of {_and(names)} before the fit (if there are zeros, add the smallest "
        "positive value first)", is_of_data=True,
    )  # fmt: skip


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _zeros(zeros: Replicated | None) -> str:
    if zeros is None or abs(zeros.z_score) < SURE:
        return ""
    data, model = zeros.observed, float(zeros.replicated.mean())
    if abs(data - model) < SHARE or max(data, model) < 2 * min(data, model):
        return ""
    return f"the share of zeros is {data:.2f} in the data and {model:.2f} in data from the model"


def _reach(extreme: Replicated | None) -> str:
    if extreme is None or abs(extreme.z_score) < SURE:
        return ""
    furthest = float(extreme.replicated.abs().max())
    if abs(extreme.observed) <= REACH * furthest:
        return ""
    return (
        f"the most extreme value is {extreme.observed:.3g} in the data, but only "
        f"{furthest:.3g} in data from the model"
    )
