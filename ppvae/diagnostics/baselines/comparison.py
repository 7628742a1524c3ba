"""Baselines compared with a fit: paired differences of log p(x)."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.run.leads import leads_of, ranked, strongest

type Measure = Literal["density", "probability"]
"""Whether log p(x) is of a density or a probability: only equal ones are compared."""

ERRORS = 2.0
"""Minimum difference in standard errors."""


@dataclass(frozen=True)
class Comparison:
    """A baseline compared with the fit.

    Attributes:
        name: the baseline.
        about: its description, with sizes.
        measure: ``"density"`` or ``"probability"``.
        log_p: its own log p(x), in nats per datum.
        difference: log p(x) of the fit minus that of the baseline, paired by row: a lower bound in
            expectation, as the fit's is; ``None`` if the fit has none.
        rows: number of compared data.
    """

    name: str
    about: str
    measure: Measure
    log_p: Estimate
    difference: Estimate | None
    rows: int

    @property
    def is_beaten(self) -> bool:
        """Whether the fit is better by more than two standard errors."""
        return self.difference is not None and self.difference.mean > self._noise

    @property
    def is_better(self) -> bool:
        """Whether the baseline is better, or log p(x) of the fit is not finite."""
        if self.difference is None:
            return False
        mean = self.difference.mean
        return mean < -self._noise or math.isnan(mean) or mean == -math.inf

    @property
    def _noise(self) -> float:
        error = math.nan if self.difference is None else self.difference.standard_error
        return math.inf if math.isnan(error) else ERRORS * error  # one row has no error

    def to_dict(self) -> dict[str, Any]:
        """Entry in ``summary.json``."""
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
    """Baselines of a fit on held-out data.

    Attributes:
        evidence: name of what is compared: log p(x), or that with or given y.
        compared: each baseline, by name.
        left_out: reasons of those that were not fitted.
        note: why the fit is not compared with them, or which elements of x are left out, or ``""``.
    """

    evidence: str
    compared: Mapping[str, Comparison]
    left_out: Mapping[str, str]
    note: str = ""

    @property
    def independent(self) -> Comparison | None:
        """Independent elements, which any fit should beat."""
        return self.compared.get("independent")

    @property
    def strongest(self) -> Comparison | None:
        """The baseline with the smallest lead of the fit, or ``None``."""
        named = self.compared.items()
        leads = {name: each.difference.mean for name, each in named if each.difference is not None}
        name = strongest(leads)
        return None if name is None else self.compared[name]

    @property
    def failures(self) -> tuple[Comparison, ...]:
        """Baselines that are better than the fit, the best first."""
        return tuple(sorted((c for c in self.compared.values() if c.is_better), key=_lead))

    @property
    def rows(self) -> Iterator[tuple[str, Estimate, Estimate | None]]:
        """Description, log p(x) and lead of the fit for each baseline; the measure if mixed."""
        of_numbers = {"density": "", "probability": ", of whole numbers"}
        is_mixed = len({each.measure for each in self.compared.values()}) > 1
        for each in self.compared.values():
            about = each.about + (of_numbers[each.measure] if is_mixed else "")
            yield about, each.log_p, each.difference

    @property
    def reasons(self) -> Mapping[str, str]:
        """Names of the baselines left out, by reason."""
        names: dict[str, list[str]] = {}
        for name, why in self.left_out.items():
            names.setdefault(why, []).append(name)
        return {why: ", ".join(of) for why, of in names.items()}

    @classmethod
    def of_summary(cls, summary: Mapping[str, Any], evidence: str) -> "Baselines":
        """The baselines in ``summary.json``; invalid entries are left out."""
        found, left_out = (summary.get(name) for name in ("baselines", "baselines_left_out"))
        note = str(summary.get("baselines_note") or "")
        listed = found.items() if isinstance(found, Mapping) else ()
        rows = {str(name): each for name, each in listed if isinstance(each, Mapping)}
        leads = leads_of(summary)
        compared = {name: _read(name, each, leads.get(name)) for name, each in rows.items()}
        why = left_out if isinstance(left_out, Mapping) else {}
        return cls(evidence, compared, {str(name): str(each) for name, each in why.items()}, note)

    def to_dict(self) -> dict[str, Any]:
        """Content for ``summary.json``."""
        return {name: each.to_dict() for name, each in self.compared.items()}


def _read(name: str, each: Mapping[str, Any], lead: float | None) -> Comparison:
    """A baseline of ``summary.json``, in which values that are not finite are null."""

    def number(key: str) -> float:
        value = each.get(key)
        return float(value) if isinstance(value, (int, float)) else math.nan

    difference = None if lead is None else Estimate(lead, number("standard_error"))
    measure: Measure = "probability" if each.get("measure") == "probability" else "density"
    rows = each.get("rows")
    return Comparison(
        name, str(each.get("about") or name), measure, Estimate(number("mean"), math.nan),
        difference, rows if isinstance(rows, int) else 0,
    )  # fmt: skip


def _lead(each: Comparison) -> float:
    return ranked(math.nan if each.difference is None else each.difference.mean)
