"""Laws of every figure: its bytes, its type, and how it is saved."""

import errno
import functools
import os
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from ppvae import plots
from ppvae.plots.style import WIDTH
from ppvae.run.figures import save
from ppvae.run.store import WriteError
from tests.support.drawings import FIGURES, IMAGES
from tests.support.slow import few

every_figure = pytest.mark.parametrize("name", FIGURES)


@functools.cache
def saved(name: str) -> tuple[Figure, bytes]:
    figure = FIGURES[name]()
    with tempfile.TemporaryDirectory() as folder:
        return figure, save(figure, Path(folder) / "figure.png").read_bytes()


@pytest.mark.parametrize("name", few(FIGURES, 16))
def test_a_figure_leaves_the_settings_of_the_user_alone(name: str) -> None:
    before = dict.copy(mpl.rcParams)
    saved(name)
    assert dict.copy(mpl.rcParams) == before


@pytest.mark.parametrize("name", few(FIGURES, 16))
def test_a_figure_is_the_same_bytes_whoever_draws_it(name: str, tmp_path: Path) -> None:
    theirs: Any = {"figure.facecolor": "black", "xtick.labelsize": 4, "savefig.bbox": "tight"}
    with mpl.rc_context({**theirs, "font.size": 30, "lines.linewidth": 9}):
        again = save(FIGURES[name](), tmp_path / "again.png").read_bytes()
    assert again == saved(name)[1]


@pytest.mark.parametrize(
    "name", few(["reconstructions", "samples", "interpolation", "latent with a covariate"], 2)
)
def test_a_figure_is_the_same_bytes_however_often_it_is_saved(name: str, tmp_path: Path) -> None:
    figure, once = saved(name)
    for turn in range(2):
        assert save(figure, tmp_path / f"{turn}.png").read_bytes() == once


@pytest.mark.parametrize("name", few(FIGURES, 3))
def test_no_text_is_small_and_none_is_cut_off(name: str) -> None:
    figure, _ = saved(name)
    assert figure.get_figwidth() == pytest.approx(WIDTH)
    texts = [t for t in figure.findobj(Text) if isinstance(t, Text)]
    seen = [t for t in texts if t.get_visible() and t.get_text()]
    assert seen
    for text in seen:
        assert float(text.get_fontsize()) >= 10 * WIDTH / 6, text.get_text()
    ticks = {t for a in figure.axes for t in (*a.get_xticklabels(), *a.get_yticklabels())}
    page = figure.bbox.padded(1)
    for text in set(seen) - ticks:
        corners = text.get_window_extent().corners()
        assert all(page.contains(x, y) for x, y in corners), text.get_text()


def test_save_writes_a_png_and_nothing_of_the_machine(tmp_path: Path) -> None:
    path = save(plots.samples(IMAGES), str(tmp_path / "samples.png"))
    assert path == tmp_path / "samples.png"
    assert [p.name for p in tmp_path.iterdir()] == ["samples.png"]
    with Image.open(path) as image:
        assert image.size[0] == 960
        assert set(image.info) <= {"dpi"}
        corner = image.convert("RGB").getpixel((0, 0))
    assert corner == (255, 255, 255)


def test_a_save_that_fails_leaves_the_old_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "samples.png"
    path.write_bytes(b"old")

    def full(source: Path, target: Path) -> None:
        assert source.parent == target.parent == tmp_path
        assert source.read_bytes().startswith(b"\x89PNG")  # whole before it takes the name
        assert path.read_bytes() == b"old"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.rename", full)
    with pytest.raises(WriteError, match=r"samples\.png cannot be written: no space"):
        save(plots.samples(IMAGES), path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["samples.png"]
