"""The tiles of a page."""

import pytest

from ppvae.report.glance import _measured


@pytest.mark.parametrize(
    ("mean", "error", "said"),
    [
        (11069.4, 1195.53, "11,069 \N{PLUS-MINUS SIGN} 1,196"),
        (-21.9, 0.26, "\N{MINUS SIGN}21.90 \N{PLUS-MINUS SIGN} 0.26"),
        (2.0, float("nan"), "2.00"),
        (26930587.5, 3.0, "2.69\N{MULTIPLICATION SIGN}10\N{SUPERSCRIPT SEVEN}"),
        (None, None, "\N{EN DASH}"),
    ],
)
def test_a_mean_and_its_error_have_the_same_decimals(
    mean: float | None, error: float | None, said: str
) -> None:
    assert _measured(mean, error) == said
