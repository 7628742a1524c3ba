"""A fixture that restores Pyro's parameter store after each test."""

from collections.abc import Iterator

import pyro
import pytest


@pytest.fixture(autouse=True)
def own_parameters() -> Iterator[None]:
    with pyro.get_param_store().scope():
        yield
