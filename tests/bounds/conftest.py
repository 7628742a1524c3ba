"""Parameters of Pyro's store last as long as the test that makes them."""

from collections.abc import Iterator

import pyro
import pytest


@pytest.fixture(autouse=True)
def own_parameters() -> Iterator[None]:
    with pyro.get_param_store().scope():
        yield
