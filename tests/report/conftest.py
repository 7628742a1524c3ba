"""Runs of every kind, fitted once for all tests of the page."""

from tests.support.pages import made

__all__ = ["made"]  # a fixture
