"""The page "Your own" of the README, run as it stands; its parts keep the laws of all parts."""

import importlib
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from ppvae import encode, fit
from ppvae.cli.parsing import answer
from ppvae.run import Run, load
from tests.support.fits import quick

__all__ = ["quick"]  # a fixture, used by every test here

COMMANDS = {"ppvae.fit": fit.main, "ppvae.encode": encode.main}


def page() -> list[tuple[str, str]]:
    """Language and text of each block of code under the heading."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    section = readme.split("\n### Your own\n")[1]
    # A comment in a block begins as a heading does, with one sign alone.
    section = re.split(r"\n##+ ", section)[0]
    return re.findall(r"^```(\w+)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder as the reader's, in which the modules of the page are saved."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for _, text in page():
        if named := re.match(r"# (\S+\.py)\n", text):
            (tmp_path / named[1]).parent.mkdir(exist_ok=True)
            (tmp_path / named[1]).write_text(text)
    importlib.invalidate_caches()
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]


def test_the_page_runs_as_it_stands_but_for_its_epochs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit.fit

    @wraps(whole)
    def one_epoch(**given: Any) -> Run:
        return whole(**given | {"epochs": 1, "device": "cpu"})

    monkeypatch.setattr(fit, "fit", one_epoch)
    for number, (language, text) in enumerate(page()):
        if language == "sh":
            for line in text.replace("\\\n", " ").splitlines():
                python, flag, command, *argv = shlex.split(line)
                assert (python, flag) == ("python", "-m")
                answer(COMMANDS[command], argv)
        elif not text.startswith("# "):
            script = folder / f"block{number}.py"
            script.write_text(text)
            runpy.run_path(str(script), run_name="__main__")
    runs = {path.name: Run(path).config for path in (folder / "runs").iterdir()}
    assert set(runs) == {"own", "by-class", "by-hand", "notebook", "programs"}
    own = load(folder / "runs" / "own", trust=["mine"])
    assert own.config["prior"] == {
        "class_path": "mine.prior.SpikeAndSlab", "init_args": {"spike": 0.05},
    }  # fmt: skip
    names = {"likelihood": "Flipped", "guide": "Laplace", "decoder": "Maxout"}
    for part, name in names.items():
        assert own.config[part]["class_path"] == f"mine.{part.replace('de', 'de')}.{name}" or (
            part == "decoder" and own.config[part]["class_path"] == "mine.network.Maxout"
        )
    assert own.config["decoder"]["init_args"] == {"width": 200, "pieces": 3}
    assert runs["notebook"]["prior"]["class_path"] == "__main__.Wide"
    assert runs["programs"]["model"]["class_path"] == "mine.programs.Model"
    assert own.summary is not None
    assert -45 < own.summary["elbo"] < -20
    assert (folder / "codes.csv").stat().st_size > 0
