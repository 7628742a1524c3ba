"""The page on diagnosis says what is computed."""

import re
from pathlib import Path

from ppvae.diagnostics.effort import FULL, QUICK

PAGE = Path(__file__).parents[2] / "docs" / "diagnose.md"


def test_the_table_of_efforts_has_the_efforts() -> None:
    lines = re.findall(r"^\|[^|]+\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \|$", PAGE.read_text(), re.M)
    assert len(lines) > 10
    for name, full, quick in lines:
        assert (getattr(FULL, name), getattr(QUICK, name)) == tuple(
            int(number.replace(",", "")) for number in (full, quick)
        ), name
