"""Baselines beside a fit: paired differences of log p(x)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ppvae.diagnostics.shared.estimate import Estimate

type Measure = Literal["density", "probability"]
"""What a log p(x) is the logarithm of: two are compared only where it is the same."""

ERRORS = 2.0
"""Standard errors that a difference must be away from zero by."""


@dataclass(frozen=True)
class Comparison:
    """A baseline beside the fit.

    Attributes:
        name: the baseline.
        about: what it is, in words, with its sizes.
        measure: ``"density"`` or ``"probability"``.
        log_p: its own log p(x), in nats per datum.
        difference: log p(x) of the fit less the baseline's, paired by row: a lower bound in
            expectation, as the fit's own is; ``None`` where the fit has none.
        rows: data that both are of.
    """

    name: str
    about: str
    measure: Measure
    log_p: Estimate
    difference: Estimate | None
    rows: int

    @property
    def is_beaten(self) -> bool:
        """Whether the fit is better, by more than two standard errors."""
        return self.difference is not None and self.difference.mean > self._noise

    @property
    def is_better(self) -> bool:
        """Whether the baseline is, or the fit has a log p(x) that is no number."""
        if self.difference is None:
            return False
        mean = self.difference.mean
        return mean < -self._noise or math.isnan(mean) or mean == -math.inf

    @property
    def _noise(self) -> float:
        error = math.nan if self.difference is None else self.difference.standard_error
        return math.inf if math.isnan(error) else ERRORS * error  # of one row nothing is told

    def to_dict(self) -> dict[str, Any]:
        """What ``summary.json`` holds of it."""
        of = self.difference
        return {
            "about": self.about,
            "measure": self.measure,
            "mean": self.log_p.mean,
            "difference": None if of is None else of.mean,
            "standard_error": None if of is None else of.standard_error,
            "rows": self.rows,
        }


@dataclass(frozen=True)
class Baselines:
    """Baselines of a fit, held out.

    Attributes:
        evidence: what is compared: log p(x), or that with or given y.
        compared: each baseline, by name.
        left_out: those that were not fitted, and why.
        note: why the fit is not compared with them, or what of x is left out, or ``""``.
    """

    evidence: str
    compared: Mapping[str, Comparison]
    left_out: Mapping[str, str]
    note: str = ""

    @property
    def independent(self) -> Comparison | None:
        """Independent elements, the least that a fit should beat."""
        return self.compared.get("independent")

    @property
    def strongest(self) -> Comparison | None:
        """The baseline that the fit is least ahead of; ``None`` where it is compared with none."""
        compared = [each for each in self.compared.values() if each.difference is not None]
        return min(compared, key=_lead, default=None)

    @property
    def failures(self) -> tuple[Comparison, ...]:
        """Baselines that are better than the fit, the best of them first."""
        return tuple(sorted((c for c in self.compared.values() if c.is_better), key=_lead))

    @classmethod
    def of_summary(cls, summary: Mapping[str, Any], evidence: str) -> "Baselines":
        """Those that ``summary.json`` holds; what is not as it was written is left out."""
        found, left_out = (summary.get(name) for name in ("baselines", "baselines_left_out"))
        note = str(summary.get("baselines_note") or "")
        listed = found.items() if isinstance(found, Mapping) else ()
        rows = {str(name): each for name, each in listed if isinstance(each, Mapping)}
        # A difference that is no number is null, as is one of a fit that is compared with none.
        is_compared = not note or any(each.get("difference") is not None for each in rows.values())
        compared = {name: _read(name, each, is_compared=is_compared) for name, each in rows.items()}
        why = left_out if isinstance(left_out, Mapping) else {}
        return cls(evidence, compared, {str(name): str(each) for name, each in why.items()}, note)

    def to_dict(self) -> dict[str, Any]:
        """What ``summary.json`` holds."""
        return {name: each.to_dict() for name, each in self.compared.items()}


def _read(name: str, each: Mapping[str, Any], *, is_compared: bool) -> Comparison:
    """A baseline of ``summary.json``, in which a figure that is no number is null."""

    def number(key: str) -> float:
        value = each.get(key)
        return float(value) if isinstance(value, (int, float)) else math.nan

    difference = Estimate(number("difference"), number("standard_error"))
    measure: Measure = "probability" if each.get("measure") == "probability" else "density"
    rows = each.get("rows")
    return Comparison(
        name, str(each.get("about") or name), measure, Estimate(number("mean"), math.nan),
        difference if is_compared else None, rows if isinstance(rows, int) else 0,
    )  # fmt: skip


def _lead(each: Comparison) -> float:
    """By how much the fit is ahead; what is no number is the worst."""
    lead = math.nan if each.difference is None else each.difference.mean
    return -math.inf if math.isnan(lead) else lead
