"""Leads of a fit over simple models, in ``summary.json``."""

import math
from collections.abc import Mapping
from typing import Any


def leads_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """The lead over each simple model, by name; none if the fit is not compared with them.

    A lead that is not finite is null in the file, and NaN here.
    """
    found = summary.get("baselines")
    listed = found.items() if isinstance(found, Mapping) else ()
    rows = {str(name): each.get("difference") for name, each in listed if isinstance(each, Mapping)}
    leads = {name: _number(lead) for name, lead in rows.items()}
    is_compared = not summary.get("baselines_note") or not all(map(math.isnan, leads.values()))
    return leads if is_compared else {}


def strongest(leads: Mapping[str, float]) -> str | None:
    """Name of the simple model with the smallest lead of the fit."""
    return min(leads, key=lambda name: ranked(leads[name]), default=None)


def ranked(lead: float) -> float:
    """A lead to sort by; NaN counts as worst."""
    return -math.inf if math.isnan(lead) else lead


def _number(value: Any) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else math.nan
