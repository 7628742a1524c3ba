"""What the answers say together: where the nats are lost, and what to change.

A loss is a number of nats per datum with its standard error, and each has its remedy. They are not
parts of one sum: the first two are what the bound lacks of log p(x); the others are what another
prior, or another fit, would add to log p(x) or to the bound. What noise could have made is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ppvae.diagnosis.finding import Finding, plus_minus
from ppvae.diagnostics.activity import THRESHOLD, alarm

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
        return self.nats > max(LEAST, TOLD * (self.error or 0.0))


@dataclass(frozen=True)
class Verdict:
    """The conclusion.

    Attributes:
        losses: all that were measured, the largest first.
        sentences: what a person should know, and do.
    """

    losses: tuple[Loss, ...]
    sentences: tuple[str, ...]


def verdict(findings: Mapping[str, Finding]) -> Verdict:
    """Weigh the answers to the questions that were asked."""
    found = {name: value for f in findings.values() for name, value in f.results.items()}
    lost = sorted(losses(found), key=lambda loss: -loss.nats)
    sentences = [
        *_bound(found),
        *_largest(lost),
        *_latent(found),
        *_trust(found),
        *_model(found),
        *_estimator(found),
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
                "a larger encoder, or one that learns for longer; more data; a few steps of "
                "refinement per datum",
            ),
            Loss(
                "guide: approximation gap", gaps.approximation.mean,
                gaps.approximation.standard_error,
                "a richer family (full covariance, flow), or an importance-weighted bound",
            ),
        ]  # fmt: skip
    gain = found.get("prior_gain")
    if gain is not None:
        lost.append(
            Loss(
                "prior: held-out gain of another", gain.mean, gain.standard_error,
                "a learned prior (mixture, VampPrior, flow)",
            )
        )  # fmt: skip
    memory = found.get("memory")
    if memory is not None:
        lost += [
            Loss(
                "model: learned by heart", memory.log_p[0], memory.log_p[1],
                "a smaller decoder, weight decay, --patience, or more data",
            ),
            Loss(
                "encoder: learned by heart", memory.gap[0], memory.gap[1],
                "a smaller encoder, more data, or refinement per datum",
            ),
        ]  # fmt: skip
    course = found.get("course")
    if course is not None:
        lost += [
            Loss(
                "optimizer: still climbing, a tenth of the fit", course.late_gain, None,
                "more --epochs, or a larger --lr",
            ),
        ]  # fmt: skip
    return lost


def _bound(found: Mapping[str, Any]) -> list[str]:
    """The bound, log p(x), and what lies between."""
    terms, said = found.get("terms"), []
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
    gaps = found.get("gaps")
    if gaps is not None:
        total, a, b = gaps.total, gaps.approximation, gaps.amortization
        said.append(
            f"It lacks {plus_minus(total.mean, total.standard_error)} nats of log p(x), on "
            f"{len(gaps.log_p):,} data: {plus_minus(a.mean, a.standard_error)} for the guide's "
            f"family, {plus_minus(b.mean, b.standard_error)} for the encoder."
        )
        if gaps.still_climbing > max(LEAST, 0.1 * abs(total.mean)):
            said.append(
                "The search for each datum's best guide was still gaining "
                f"{gaps.still_climbing:.2f} nats: the encoder loses more, the family less."
            )
    missed = found.get("missed")
    if missed is not None and missed[0] > max(LEAST, TOLD * missed[1]):
        said.append(
            f"Importance sampling misses {plus_minus(*missed)} nats of log p(x) that annealing "
            "finds: quote the annealed figure, or take more --samples."
        )
    exact = found.get("exact")
    if exact is not None:
        said.append("The program is linear and Gaussian: log p(x) is known exactly.")
    return said


def _largest(lost: list[Loss]) -> list[str]:
    told = [loss for loss in lost if loss.is_told]
    if lost and not told:
        return ["No loss stands out from noise: this bound is as good as this model allows."]
    if not told:
        return []
    first = told[0]
    said = [f"Most is lost here: {first.where}, {first.nats:.2f} nats. Change: {first.remedy}."]
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
        return [_sentence(alarm(activity.active, activity.sizes))]
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
                "; for the rest log p(x) is a lower bound that draws alone will not close: ask the "
                "annealed one."
                if bad > 0.01
                else "."
            )
        )
    sandwich = found.get("sandwich")
    if sandwich is not None:
        said.append(
            f"Annealing is off by {plus_minus(sandwich.mean, sandwich.standard_error)} nats at the "
            "most, on data simulated from the model."
        )
    calibration = found.get("calibration")
    if calibration is not None:
        said.append(_sentence(calibration.verdict))
    return said


def _model(found: Mapping[str, Any]) -> list[str]:
    check = found.get("predictive")
    return [_sentence(check.verdict)] if check is not None else []


def _estimator(found: Mapping[str, Any]) -> list[str]:
    estimators = found.get("estimators")
    # What it is compared with, and by how much, is in the table.
    if estimators is None:
        return []
    best = estimators.best.particles
    pay = f"; {best} particles pay" if best > 1 else ""
    return [_sentence(estimators.recommendation.split(";")[0].removesuffix(".") + pay)]


def _sentence(clause: str) -> str:
    """A clause as a sentence: a capital, and a full stop."""
    text = clause[:1].upper() + clause[1:]
    return text if text.endswith(".") else f"{text}."
