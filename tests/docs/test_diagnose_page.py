"""The page on the effort of a diagnosis has the numbers of the code."""

import re
from dataclasses import fields
from pathlib import Path

from ppvae.diagnostics.bound.prior_gain import CHOOSING
from ppvae.diagnostics.effort import FULL, QUICK, Effort
from ppvae.diagnostics.gap.refining import DEFAULTS
from ppvae.diagnostics.trust.answer import WARM_UP

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "effort.md").read_text()


def shown(effort: Effort, name: str) -> str:
    """A number, or several, in the format of the table."""
    value = getattr(effort, name)
    if value is None:
        assert name == "refine_steps"
        value = DEFAULTS["parameters"].steps
    return ", ".join(f"{n:,}" for n in (value if isinstance(value, tuple) else (value,)))


def test_the_table_of_efforts_has_the_efforts() -> None:
    """Each field, in both columns."""
    lines = re.findall(r"^\|[^|]+\| `(\w+)` \| ([\d, ]+) \| ([\d, ]+) \|$", PAGE, re.M)
    names = sorted(field.name for field in fields(Effort))
    assert sorted(name for name, _, _ in lines) == names
    for name, full, quick in lines:
        assert (shown(FULL, name), shown(QUICK, name)) == (full, quick), name


def test_what_no_field_says_is_said_below_the_table() -> None:
    page = " ".join(PAGE.split())
    assert f"warm-up transitions as it has draws, at most {WARM_UP}." in page
    assert f"refined by its weights, the default is {DEFAULTS['weights'].steps} steps" in page
    assert f"among fits of at most {CHOOSING} iterations" in page
