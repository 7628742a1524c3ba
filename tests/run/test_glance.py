"""A run at a glance: its lines in a terminal, its tiles in a notebook."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ppvae.diagnostics.baselines.comparison import Baselines
from ppvae.fitted import Run
from tests.support.fits import rewrite_config, small_copy


def test_a_run_says_three_lines(tmp_path: Path) -> None:
    run = Run(small_copy(tmp_path))
    text = repr(run)
    assert len(text.splitlines()) == 3
    assert run.summary is not None
    assert f"{run.summary['elbo']:,.2f}" in text
    assert run.summary["status"] in text


@pytest.mark.parametrize(
    ("difference", "told", "side"),
    [
        (-1234.5, "1,234.50 +- 0.25 below", "below PCA of 2"),
        (1.5, "1.50 +- 0.25 above", "above PCA of 2"),
        (None, "no number for the lead over", "for the lead over PCA of 2"),
    ],
)
def test_a_run_says_its_distance_to_the_strongest_simple_model(
    tmp_path: Path, difference: float | None, told: str, side: str
) -> None:
    path = small_copy(tmp_path)
    summary = json.loads((path / "summary.json").read_text())
    weak = {"about": "independent columns", "difference": 3.0, "standard_error": 0.5}
    strong = {"about": "PCA of 2", "difference": difference, "standard_error": 0.25}
    summary["baselines"] = {"independent": weak, "pca": strong}
    (path / "summary.json").write_text(json.dumps(summary))
    _, _, beside, _ = repr(Run(path)).splitlines()
    assert beside == f"{told} the strongest simple model, PCA of 2"
    assert side in Run(path)._repr_html_()
    strongest = Baselines.of_summary(summary, "log p(x)").strongest
    assert strongest is not None
    assert strongest.name == "pca"


def test_a_run_shows_tiles_and_nothing_of_a_stranger_runs(tmp_path: Path) -> None:
    path = small_copy(tmp_path)

    def change(config: dict[str, Any]) -> None:
        config["run"]["data"]["name"] = "<script>alert(1)</script>"

    rewrite_config(path, change)
    figures = path / "figures"
    figures.mkdir(exist_ok=True)
    (figures / "samples.png").write_bytes(b"no picture")
    html = Run(path)._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "<img" not in html
    (path / "summary.json").unlink()
    assert "not ended" in Run(path)._repr_html_()
    assert len(repr(Run(path)).splitlines()) == 3


def test_pictures_in_a_notebook_are_small(tmp_path: Path) -> None:
    path = small_copy(tmp_path)
    (path / "figures").mkdir(exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path / "figures" / "samples.png")
    html = Run(path)._repr_html_()
    assert html.count("<img") == 1
    assert len(html) < 200_000  # of noise; a figure is a tenth of it
