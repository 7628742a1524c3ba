"""What the answers say together: where the nats are lost, and what to change.

A loss is a number of nats per datum with its standard error, and each has its remedy. They are not
parts of one sum: the first two are what the bound lacks of log p(x); the others are what another
prior, or another fit, would add to log p(x) or to the bound. What noise could have made is none.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ppvae.diagnostics.activity import THRESHOLD, alarm
from ppvae.diagnostics.diagnosis.finding import Finding, plus_minus

__all__ = ["Loss", "Verdict", "losses", "verdict"]

LEAST = 0.05
"""Nats per datum below which nothing is called a loss."""

TOLD = 2.0
"""Standard errors that a loss must be above zero by."""


@dataclass(frozen=True)
class Loss:
    """Nats that are lost in one place.

    Attributes:
        where: the place.
        nats: how many, per datum.
        error: the standard error, where there is one.
        remedy: what to change.
    """

    where: str
    nats: float
    error: float | None
    remedy: str

    @property
    def is_told(self) -> bool:
        """Whether it is of some size, and more than noise."""
        return _is_told(self.nats, self.error)


@dataclass(frozen=True)
class Verdict:
    """The conclusion.

    Attributes:
        losses: all that were measured, the largest first.
        sentences: what a person should know, and do.
    """

    losses: tuple[Loss, ...]
    sentences: tuple[str, ...]


def _is_told(nats: float, error: float | None) -> bool:
    """Whether nats are some, and more than noise; an error that is not known tells nothing."""
    noise = 0.0 if error is None else TOLD * error
    return nats > LEAST and nats > noise


def verdict(findings: Mapping[str, Finding]) -> Verdict:
    """Weigh the answers to the questions that were asked."""
    found = {name: value for f in findings.values() for name, value in f.results.items()}
    lost = sorted(losses(found), key=lambda loss: -loss.nats)
    sentences = [
        *_bound(found),
        *_largest(lost, all(name in found for name in ("gaps", "prior_gain", "course"))),
        *_latent(found),
        *_trust(found),
        *_model(found),
        *_estimator(found),
        *_unanswered(findings),
    ]
    if not sentences:
        sentences = ["No question was asked that has a verdict."]
    return Verdict(tuple(lost), tuple(sentences))


def losses(found: Mapping[str, Any]) -> list[Loss]:
    """Every loss that the results hold, told or not."""
    lost: list[Loss] = []
    gaps = found.get("gaps")
    if gaps is not None:
        lost += [
            Loss(
                "encoder: amortization gap", gaps.amortization.mean,
                gaps.amortization.standard_error,
                "a larger encoder (--encoder.hidden), more --epochs, or more data",
            ),
            Loss(
                "guide: approximation gap", gaps.approximation.mean,
                gaps.approximation.standard_error,
                "a richer family: --guide FullRank, or --guide Flow",
            ),
        ]  # fmt: skip
    gain = found.get("prior_gain")
    if gain is not None:
        lost.append(
            Loss(
                "prior: held-out gain of another", gain.mean, gain.standard_error,
                "a learned prior: --prior MixtureOfNormals, VampPrior or FlowPrior",
            )
        )  # fmt: skip
    memory = found.get("memory")
    if memory is not None and memory.is_own:
        lost += [
            Loss(
                "model: learned by heart", memory.log_p[0], memory.log_p[1],
                "a smaller decoder (--decoder.hidden), --patience, or more data",
            ),
            Loss(
                "encoder: learned by heart", memory.gap[0], memory.gap[1],
                "a smaller encoder (--encoder.hidden), or more data",
            ),
        ]  # fmt: skip
    course = found.get("course")
    if course is not None:
        lost += [
            Loss(
                f"optimizer: won in the last {course.late} epochs", course.late_gain, None,
                "more --epochs, or a larger --lr",
            ),
        ]  # fmt: skip
    return lost


def _bound(found: Mapping[str, Any]) -> list[str]:
    """The bound, log p(x), and what lies between."""
    terms, log_p, said = found.get("terms"), found.get("log_p_name", "log p(x)"), []
    if terms is not None and terms.elbo is not None:
        elbo = plus_minus(terms.elbo.mean, terms.elbo.standard_error)
        rate, distortion = terms.rate.mean, terms.distortion.mean
        said.append(
            f"The bound is {elbo} nats per datum: {distortion:.2f} to say x given z, "
            f"{rate:.2f} to say z."
        )
    elif terms is not None:
        said.append(
            "The guide is a point mass: there is no bound, and only the model's own log p(x), by "
            "annealing, says how good the model is."
        )
    evidence = found.get("evidence")
    if evidence is not None:
        said.append(
            f"{log_p} is {plus_minus(evidence.mean, evidence.standard_error)}, by importance "
            f"sampling of {len(evidence.log_p):,} data."
        )
    gaps = found.get("gaps")
    if gaps is not None:
        total, a, b = gaps.total, gaps.approximation, gaps.amortization
        said.append(
            f"The bound lacks {plus_minus(total.mean, total.standard_error)} nats of {log_p}, on "
            f"{len(gaps.log_p):,} data: {plus_minus(a.mean, a.standard_error)} for the guide's "
            f"family, {plus_minus(b.mean, b.standard_error)} for the encoder."
        )
        if gaps.still_climbing > max(LEAST, 0.1 * abs(total.mean)):
            said.append(
                "The search for each datum's best guide was still gaining "
                f"{gaps.still_climbing:.2f} nats: the encoder loses more, the family less."
            )
    exact, missed = found.get("exact"), found.get("missed")
    if exact is None and missed is not None and _is_told(*missed):
        said.append(
            f"Importance sampling misses {plus_minus(*missed)} nats of {log_p} that annealing "
            "finds on the same data: add them in mind, or take more --samples."
        )
    if exact is not None:
        said.append(f"The program is linear and Gaussian: {log_p} is known exactly.")
    return said


def _largest(lost: list[Loss], is_whole: bool) -> list[str]:
    told = [loss for loss in lost if loss.is_told]
    if not lost:
        return []
    if not told and is_whole:
        return [
            "No loss stands out from noise: what there is to win is in another decoder, or another "
            "likelihood."
        ]
    if not told:
        return ["Of the losses that were measured, none stands out from noise."]
    first = told[0]
    where = "Most is to be won here" if is_whole else "The most of what was measured"
    said = [f"{where}: {first.where}, {first.nats:.2f} nats. Change: {first.remedy}."]
    if len(told) > 1:
        second = told[1]
        said.append(f"Next: {second.where}, {second.nats:.2f} nats. Change: {second.remedy}.")
    return said


def _latent(found: Mapping[str, Any]) -> list[str]:
    """Collapse, with its remedies; else how much of the latent is used."""
    activity = found.get("activity")
    if activity is None:
        return []
    if activity.collapsed:
        return [_sentence(alarm(activity.collapsed))]
    counts = [f"{n} of {activity.sizes[site]} of {site}" for site, n in activity.active.items()]
    return [f"Active units: {', '.join(counts)} (variance of the mean above {THRESHOLD})."]


def _trust(found: Mapping[str, Any]) -> list[str]:
    said = []
    reliability = found.get("reliability")
    if reliability is not None:
        bad = 1 - reliability.good
        said.append(
            f"Importance weights are reliable (k-hat below {reliability.threshold:.2f}) for "
            f"{reliability.good:.0%} of the data"
            + (
                "; of the others importance sampling finds too little: read the annealed figure"
                f"{'' if 'annealed' in found else ', which --only evidence gives'}."
                if bad > 0.01 and "exact" not in found
                else "."
            )
        )
    sandwich = found.get("sandwich")
    if sandwich is not None:
        said.append(
            f"{_met(sandwich)} on data simulated from the model (upper less lower bound "
            f"{plus_minus(sandwich.mean, sandwich.standard_error)} nats)."
        )
    chains = found.get("chains")
    if chains is not None and float(chains.rhat.max()) > 1.1:
        said.append("The chains of NUTS have not met (r-hat above 1.1): do not read them closely.")
    calibration = found.get("calibration")
    if calibration is not None:
        said.append(_sentence(calibration.verdict))
    return said


def _met(sandwich: Any) -> str:
    if _is_told(sandwich.mean, sandwich.standard_error):
        return "Annealing may be off, as its two bounds are apart"
    return "Annealing can be relied on: its two bounds meet, within noise,"


def _model(found: Mapping[str, Any]) -> list[str]:
    check, memory, said = found.get("predictive"), found.get("memory"), []
    log_p = found.get("log_p_name", "log p(x)")
    if memory is not None and not memory.is_own and _is_told(*memory.log_p):
        said.append(
            f"These data have {plus_minus(*memory.log_p)} nats less {log_p} than the training "
            "data: to this model they are other data, or it has learned its own by heart."
        )
    if check is not None:
        said.append(_sentence(f"{check.verdict}, by {check.rows:,} data"))
    return said


def _estimator(found: Mapping[str, Any]) -> list[str]:
    estimators = found.get("estimators")
    # What it is compared with, and by how much, is in the table.
    if estimators is None:
        return []
    best, own = estimators.best, found.get("own_estimator")
    pay = f"; more pay: --particles {best.particles}" if best.particles > 1 else ""
    if own is not None and own.name != best.name and _is_tie(estimators.row(best.name), own):
        return [f"Keep {own.name}: {best.name} is not told from it at this many repetitions."]
    return [_sentence(estimators.clauses[0] + pay)]


def _is_tie(one: Any, other: Any) -> bool:
    """Whether two estimators cost the same for equal precision, as far as can be told."""
    apart = abs(one.price - other.price)
    noise = math.hypot(one.price_error, other.price_error)
    return bool(apart < max(TOLD * noise, 0.1 * other.price) or other.price < one.price)


def _unanswered(findings: Mapping[str, Finding]) -> list[str]:
    """What the verdict does not know."""
    names = [name for f in findings.values() for name in f.refusals]
    listed = ", ".join(dict.fromkeys(names))
    return [f"Not answered, for the reasons given: {listed}."] if names else []


def _sentence(clause: str) -> str:
    """A clause as a sentence: a capital, and a full stop."""
    text = clause[:1].upper() + clause[1:]
    return text if text.endswith(".") else f"{text}."
