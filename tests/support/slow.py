"""Cases of a long list: some run by default, and all with the slow tests."""

from collections.abc import Iterable
from typing import Any

import pytest


def few(values: Iterable[Any], every: int) -> list[Any]:
    """The cases of a parametrized test, of which each ``every``-th runs by default.

    The others are marked slow.

    Args:
        values: one value per case, or a tuple where a case has several.
        every: 3 keeps the first, the fourth, ...
    """
    slow = pytest.mark.slow
    cases = [value if isinstance(value, tuple) else (value,) for value in values]
    return [pytest.param(*case, marks=slow if i % every else ()) for i, case in enumerate(cases)]
