"""Pictures of the pages of runs in every state, in browsers and on paper, to look at.

python -m tests.support.screenshots --runs /tmp/runs --out /tmp/pictures       # all of them
python -m tests.support.screenshots table counts --only phone dark             # some

Runs are fitted once, in a few minutes; a later call writes their pages anew and takes the pictures.
Errors of scripts, widths, bytes and sheets of paper are checked, and issues of axe if AXE_CORE
names ``axe.min.js`` of the npm package axe-core.
"""

import argparse
import base64
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppvae.compare import compare_runs
from ppvae.diagnose import diagnose
from ppvae.fit import fit
from ppvae.report import report
from ppvae.run import Run, load
from tests.support.browsing import (
    MOST_BYTES,
    MOST_SHEETS,
    complaints,
    new_browser,
    opened,
    printed,
    sheets,
)
from tests.support.penguins import mixed_penguins

VIEWS: dict[str, tuple[int, int, str]] = {
    "wide": (1400, 900, "light"),
    "phone": (390, 844, "light"),
    "dark": (1400, 900, "dark"),
}
"""Width and height in pixels, and the colour scheme."""


def counted(folder: Path) -> Path:
    """Counts of 40 genes in 600 cells of three kinds, overdispersed."""
    import pandas as pd

    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 600)
    mean = np.exp(rng.normal(0.5, 1.2, 40) + rng.normal(0, 0.9, (3, 40))[kinds])
    counts = rng.poisson(mean * rng.gamma(4.0, 0.25, mean.shape))
    table = pd.DataFrame(counts, columns=[f"gene{i:02d}" for i in range(40)])
    table["kind"] = np.array(["B", "NK", "T"])[kinds]
    table.to_csv(folder / "cells.csv", index=False)
    return folder / "cells.csv"


def photographed(folder: Path) -> Path:
    """Patches of scikit-learn's two photographs in colour, of 64 x 64 pixels."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    x, y = [], []
    for kind, photograph in enumerate(load_sample_images().images):
        small = photograph[::2, ::2]
        for _ in range(300):
            top, left = (int(rng.integers(0, side - 64)) for side in small.shape[:2])
            x.append(small[top : top + 64, left : left + 64].transpose(2, 0, 1))
            y.append(kind)
    np.savez(folder / "photographs.npz", x=np.array(x), y=np.array(["china", "flower"])[y])
    return folder / "photographs.npz"


def measured(folder: Path) -> Path:
    """Penguins, with a name for each row."""
    table = mixed_penguins(342)
    table.insert(0, "ring", [f"P{i:04d}" for i in range(len(table))])
    table.to_csv(folder / "penguins.csv", index=False)
    return folder / "penguins.csv"


STATES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "digits": lambda _: {},
    "mnist-2d": lambda _: {
        "data": "mnist", "binarize": "dynamic", "latent_dim": 2, "epochs": 4, "lr": 2e-3,
    },
    "table": lambda folder: {
        "data": measured(folder), "label": "species", "index": "ring", "latent_dim": 3,
    },
    "counts": lambda folder: {"data": counted(folder), "label": "kind", "latent_dim": 4},
    "photographs": lambda folder: {
        "data": photographed(folder), "likelihood": "DiscretizedLogistic", "latent_dim": 8,
        "epochs": 40, "lr": 1e-3,
    },
    "diverged": lambda _: {"lr": 1.0, "epochs": 8},
    "collapsed": lambda _: {"beta": 30.0, "epochs": 10},
    "point-mass": lambda _: {"guide": "Delta", "beta": 0.0, "latent_dim": 2, "epochs": 10},
}  # fmt: skip
"""The settings of each run that are not defaults."""

DIAGNOSED = ("digits", "table")


def made(state: str, folder: Path) -> Run:
    """The run of a state, fitted on first use, with its page written anew."""
    path = folder / state
    if (path / "report.html").exists():
        run = load(path)
        report(run)
        return run
    folder.mkdir(parents=True, exist_ok=True)
    run = fit(**STATES[state](folder), out=path, overwrite=True)
    if state in DIAGNOSED:
        diagnose(run, quick=True, overwrite=True)
    return run


def compared(folder: Path) -> Path:
    """The page of a comparison of three runs of digits."""
    runs = [made(state, folder) for state in ("digits", "collapsed")]
    path = folder / "compared"
    return compare_runs(runs, samples=50, out=path, overwrite=True).path / "compare.html"


def photograph(
    browser: Any, file: Path, name: str, out: Path, views: Sequence[str]
) -> Iterator[str]:
    """Save a page's first screen, the whole page and its print; yield its problems."""
    if file.stat().st_size > MOST_BYTES:
        yield f"{file.stat().st_size / 1e6:.2f} MB"
    for view in views:
        if view == "print":
            opened(browser, file, width=1400)
            pdf = printed(browser)
            (out / f"{name}-print.pdf").write_bytes(pdf)
            print(f"{name}: {sheets(pdf)} sheets, {file.stat().st_size / 1e6:.2f} MB")
            if sheets(pdf) > MOST_SHEETS:
                yield f"{sheets(pdf)} sheets"
            continue
        width, height, scheme = VIEWS[view]
        opened(browser, file, width=width, height=height, scheme=scheme)
        yield from (f"{view}: {each}" for each in complaints(browser, width))
        for part in ("first", "whole"):
            (out / f"{name}-{view}-{part}.png").write_bytes(shown(browser, width, part == "whole"))


def shown(browser: Any, width: int, whole: bool) -> bytes:
    """A picture of the first screen, or of all of the page."""
    asked: dict[str, Any] = {}
    if whole:
        high = browser.execute_script("return document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": high, "scale": 1}
        asked = {"captureBeyondViewport": True, "clip": clip}
    return base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", asked)["data"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    everything = [*STATES, "compared"]
    parser.add_argument("states", nargs="*", help=", ".join(everything))
    parser.add_argument("--only", nargs="+", default=[*VIEWS, "print"])
    parser.add_argument("--runs", type=Path, default=Path("runs/states"))
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with new_browser() as browser:
        for state in given.states or everything:
            file = (
                compared(given.runs)
                if state == "compared"
                else made(state, given.runs).path / "report.html"
            )
            for wrong in photograph(browser, file, state, given.out, given.only):
                print(f"{state}: {wrong}")


if __name__ == "__main__":
    main()
