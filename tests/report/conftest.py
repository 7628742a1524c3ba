"""Runs of every kind and a browser, made once for all tests of the page."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browsing import new_browser
from tests.support.pages import made

__all__ = ["made"]  # a fixture


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with new_browser() as driver:
        yield driver
