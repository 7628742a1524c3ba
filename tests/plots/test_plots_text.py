"""Text of figures: cut to the available room, and numbers rounded by their errors."""

import pytest
from matplotlib.figure import Figure

from ppvae.plots.text import fitted, in_parts, measured
from tests.support.drawings import LONG, NAN, WIDE


def test_text_is_cut_to_the_room_there_is_and_keeps_its_ends() -> None:
    assert fitted("short", 2.0) == "short"
    cut = fitted(LONG, 2.0)
    assert cut.startswith("the first")
    assert cut.endswith(r"\$6")
    for text in (cut, fitted(WIDE, 2.0)):
        page = Figure()
        drawn = page.text(0, 0, text, fontsize=11).get_window_extent()
        assert 1.5 < drawn.width / page.dpi < 2.05  # hinted for the screen when it is drawn
    assert "…" in cut
    assert fitted("approximation gap of the guide", 1.5, lines=2).count("\n") == 1
    for name, wanted in {
        "mean of creatinine_umol_L": "mean of\ncreatinine_\numol_L",
        "mean of creatinine_u L": "mean of\ncreatinine_u\nL",
    }.items():
        assert fitted(name, 0.95, lines=3) == wanted
    whole, end = fitted("immunoglobulinometry_umol", 0.95, lines=2).split("\n")
    assert ("…" in whole, whole[:3], whole[-2:], end) == (True, "imm", "y_", "umol")
    assert len(fitted(WIDE, 2.0)) < len(fitted("i" * 60, 2.0))
    assert fitted("", 1.0) == ""
    assert in_parts("#5  k 0.93  gap 4.1", 3.0) == "#5, k 0.93, gap 4.1"
    assert in_parts("#5  k 0.93  gap 4.1", 1.0) == "#5, k 0.93\ngap 4.1"


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.4142, 0.06, "1.41 ± 0.06"),
        (1.4142, 0.012, "1.414 ± 0.012"),
        (-86.31, None, "\N{MINUS SIGN}86.31"),
        (-0.001, 0.2, "0.00 ± 0.20"),
        (1234.5, 56.0, "1230 ± 60"),
        (-1234.56, None, "\N{MINUS SIGN}1234.6"),
        (2.0, 0.0, "2 ± 0"),
        (2.0, NAN, "2"),
        (NAN, 0.1, "not finite"),
    ],
)
def test_a_number_has_the_digits_that_its_error_leaves(
    value: float, error: float | None, text: str
) -> None:
    assert measured(value, error) == text
