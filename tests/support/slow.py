"""Long lists of cases: some run by default, some with the slow tests, all on request."""

from collections.abc import Iterable
from typing import Any

import pytest


def few(values: Iterable[Any], every: int, *, slow: int = 1) -> list[Any]:
    """The cases of a parametrized test, every ``every``-th of which runs by default.

    Every ``slow``-th of the others is marked slow, and the rest exhaustive.

    Args:
        values: one value per case, or a tuple if a case has several.
        every: 3 keeps the first, the fourth, ...; 0 keeps none.
        slow: the same for the others.
    """
    cases = [value if isinstance(value, tuple) else (value,) for value in values]
    default = range(0, len(cases), every) if every else ()
    others = [i for i in range(len(cases)) if i not in default]
    marks = dict.fromkeys(others, pytest.mark.exhaustive)
    marks |= dict.fromkeys(others[::slow], pytest.mark.slow)
    return [pytest.param(*case, marks=marks.get(i, ())) for i, case in enumerate(cases)]
