"""Pages of runs of every kind, parsed."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from PIL import Image

from ppvae.diagnostics import Baselines
from ppvae.report.page_data import PageData
from ppvae.run import Run
from tests.support.fits import SMALL, small

HOSTILE = "<img src=x onerror=alert(1)>"
SECTIONS = ["glance", "map", "verdict", "course", "data", "kl", "gaps", "worst", "settings"]


DOT = b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'></svg>"
"""An empty figure."""


class Page(HTMLParser):
    """A parsed page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: dict[str, list[str]] = {}
        self._open: list[str] = []
        self._section = ""
        self.text = path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        self._open.append(tag)
        if tag == "section":
            self._section = given["id"]

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if data.strip() and not {"script", "style"} & set(self._open):
            self.words.setdefault(self._section, []).append(" ".join(data.split()))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]

    def says(self, section: str) -> str:
        return " ".join(self.words.get(section, []))


def cells(page: Page, caption: str) -> list[list[str]]:
    """The rows of a table, its header first."""
    (body,) = re.findall(
        rf"<caption>{re.escape(caption)}[^<]*</caption>(.*?)</table>", page.text, re.S
    )
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.S)
    return [[unescape(c) for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def shown_of(run: Run) -> PageData:
    """Inputs of the page of the run's test data."""
    return PageData(run, run.data().test, "test", None, run.path, None)


def pictured(folder: Path, **settings: Any) -> Run:
    """A fit of small pictures in three classes, one of them with a malicious name."""
    generator = np.random.default_rng(0)
    kinds = generator.integers(0, 3, 90)
    x = (generator.random((90, 8, 8)) < 0.15 + 0.3 * kinds[:, None, None]).astype(np.uint8) * 255
    np.savez(folder / "pictures.npz", x=x, y=np.array([HOSTILE, "good", "plain"])[kinds])
    chosen: dict[str, Any] = {"likelihood": ..., "data": folder / "pictures.npz"}
    return small(folder, **(chosen | {"binarize": "threshold", "epochs": 3} | settings))


def own_model(x: torch.Tensor) -> None:
    """A model as a function with two latents and unusual site names."""
    scale = pyro.param("scale", torch.ones(()))
    with pyro.plate("data", len(x)):
        mood = pyro.sample("mood", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pace = pyro.sample("pace", dist.Normal(mood.sum(-1), 1.0))
        loc = (mood.sum(-1) + pace)[..., None] * scale
        pyro.sample("x", dist.Normal(loc, torch.ones(3)).to_event(1), obs=x)


def own_guide(x: torch.Tensor) -> None:
    weight = pyro.param("weight", torch.full((3, 2), 0.1))
    with pyro.plate("data", len(x)):
        mood = pyro.sample("mood", dist.Normal(x @ weight, 0.7).to_event(1))
        pyro.sample("pace", dist.Normal(mood.mean(-1), 0.7))


KINDS: dict[str, Callable[[Path], Run]] = {
    "pictures": pictured,
    "table": lambda folder: small(folder, latent_dim=4, epochs=2),
    "point-mass": lambda folder: small(folder, guide="Delta", beta=0.0, latent_dim=1, epochs=1),
    "hierarchy": lambda folder: small(
        folder, model="HierarchicalVAE", guide="TopDown", decoder=SMALL, encoder=..., epochs=1
    ),
    "conditional": lambda folder: pictured(folder, model="ConditionalVAE", epochs=1),
    "own": lambda folder: small(
        folder, model=own_model, guide=own_guide, likelihood=..., decoder=..., encoder=..., epochs=1
    ),
}


def white_dot() -> bytes:
    """A picture of one white dot, since drawing figures is the slow part of a page."""
    picture = io.BytesIO()
    Image.new("L", (1, 1), 255).save(picture, "PNG")
    return picture.getvalue()


def dotted_gallery(run: Run, *_: object) -> None:
    """Write the figures of a fit as dots."""
    (run.path / "figures").mkdir()
    for name in ("elbo", "reconstructions", "samples", "latent"):
        (run.path / "figures" / f"{name}.png").write_bytes(white_dot())


@contextmanager
def quickly(*, in_full: bool = False) -> Iterator[None]:
    """One draw behind each figure, no baselines, and dots for the pictures of the page.

    In full, the page has its real pictures, and the figures of the fit are written as dots.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ppvae.training.evaluation_schedule.DRAWS", 1)
        patch.setattr("ppvae.training.summary.DRAWS", 1)
        nothing = Baselines("log p(x)", {}, {})
        patch.setattr("ppvae.training.summary.compare_baselines", lambda *_, **__: nothing)
        if in_full:
            patch.setattr("ppvae.report.figures.draw", dotted_gallery)
        else:
            patch.setattr("ppvae.report.figures.draw", lambda *_: [])
            patch.setattr("ppvae.plots.png", lambda _: white_dot())
            patch.setattr("ppvae.plots.svg", lambda _: DOT)
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Each kind of run, fitted on first use; the first in full."""
    runs: dict[str, Run] = {}

    def make(kind: str) -> Run:
        if kind not in runs:
            with quickly(in_full=kind == "pictures"):
                runs[kind] = KINDS[kind](tmp_path_factory.mktemp(kind))
        return runs[kind]

    return make
