"""Figures as SVG: text, transparent background, two colour schemes, and equal bytes."""

from pathlib import Path
from xml.etree import ElementTree as ET

from ppvae import plots
from ppvae.run.figures import file_of, forget, leave, save
from tests.support.drawings import FIGURES


def test_an_svg_has_letters_and_the_colours_of_a_dark_page(tmp_path: Path) -> None:
    figure = FIGURES["history"]()
    text = save(figure, tmp_path / "elbo.svg").read_text()
    root = ET.fromstring(text)
    said = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "Reconstruction" in said
    assert "prefers-color-scheme:dark" in text
    assert "system-ui" in text
    assert "DejaVu" not in text
    assert "fill: #ffffff" not in text.split("</style>")[1].split("</g>")[0]  # no paper
    assert plots.svg(FIGURES["history"]()) == text.encode()


def test_a_figure_is_left_as_what_is_asked_for_and_nothing_else(tmp_path: Path) -> None:
    figure = FIGURES["budget"]()
    leave(figure, tmp_path, "budget")
    assert file_of(tmp_path, "budget") == tmp_path / "budget.svg"
    leave(figure, tmp_path, "budget", "png")
    assert [file.name for file in tmp_path.iterdir()] == ["budget.png"]
    leave(figure, tmp_path, "budget", "svg")
    assert [file.name for file in tmp_path.iterdir()] == ["budget.svg"]
    forget(tmp_path, "budget")
    assert file_of(tmp_path, "budget") is None
