"""Code on the pages: the flags of every command exist, and marked code runs."""

import ast
import importlib
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest

from ppvae import compilation, fit
from ppvae.components.factory import factory_of
from ppvae.components.kinds import KINDS
from ppvae.components.spec import Spec
from ppvae.errors import InputError
from ppvae.run import Run, load
from ppvae.training import climbing
from tests.support.documentation import (
    ROOT,
    blocks,
    commands,
    commands_in_prose,
    page_name,
    pages,
)
from tests.support.fits import leave_out_slow_parts, quick

__all__ = ["quick"]  # a fixture, used by every test here

RUN_SHORT = {"ppvae.fit": ["--epochs", "1", "--device", "cpu"]}
"""Flags that make a command of a page short; the last of repeated flags counts."""

HOW_TO = ROOT / "docs" / "how-to"
OWN_PARTS = tuple(
    HOW_TO / f"your-own-{name}.md" for name in ("prior", "likelihood", "guide", "network", "part")
)
"""The last one uses the files of the others."""
OWN_PROGRAM = HOW_TO / "your-own-program.md"
TRACKERS, SWEEP = HOW_TO / "trackers.md", HOW_TO / "sweep.md"
RUN_ELSEWHERE = (*OWN_PARTS, OWN_PROGRAM, TRACKERS, SWEEP)
LONG = {
    "arviz.md", "choose-a-guide.md", "compare.md", "compilation.md", "diagnose.md", "export.md",
    "from-file-to-embedding.md", "larger-than-memory.md", "scikit-learn.md",
}  # fmt: skip
"""Pages whose code runs with the slow tests."""


def parse(command: str, argv: Sequence[str]) -> dict[str, Any]:
    """The arguments of a command, parsed but not run."""
    module = importlib.import_module(command)
    real: Callable[..., dict[str, Any]] = module.given_settings
    found: dict[str, Any] = {}

    def stop(*given: Any, **more: Any) -> None:
        found.update(real(*given, **more))
        raise SystemExit(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "given_settings", stop)
        with pytest.raises(SystemExit) as ended:
            module.main(argv)
    assert ended.value.code == 0  # also after --help
    return found


@pytest.mark.parametrize("page", pages(), ids=page_name)
def test_every_command_of_a_page_has_the_flags_it_names(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = [block.text for block in blocks(page) if block.language == "sh"]
    for command, argv in [c for text in shell for c in commands(text)] + commands_in_prose(page):
        check_parts(parse(command, argv))


def check_parts(settings: dict[str, Any]) -> None:
    """Refuse arguments that a part of the package does not take."""
    for name, value in settings.items():
        if isinstance(value, Spec) and "." not in value.class_path and value.class_path != "none":
            factory_of(KINDS[name], value)


def test_a_wrong_flag_would_be_found() -> None:
    with pytest.raises(InputError, match="no flag --epocs"):
        parse("ppvae.fit", ["--epocs", "3"])
    own = ["--prior", "VampPrior", "--prior.pieces", "100"]
    with pytest.raises(InputError, match="pieces"):
        check_parts(parse("ppvae.fit", own))


@pytest.mark.parametrize("page", pages(), ids=page_name)
def test_every_block_is_of_a_known_kind(page: Path) -> None:
    for block in blocks(page):
        assert block.language in ("python", "sh", "text", "yaml"), block
        if block.language == "python":
            ast.parse(block.text)
        else:
            assert block.mark in ("", "run"), block


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder in which fits are short and graphs are not compiled."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(compilation, "capture", partial(compilation.capture, compile=False))
    whole = fit.fit

    @wraps(whole)
    def one_epoch(**given: Any) -> Run:
        return whole(**given | {"epochs": 1, "device": "cpu"})

    monkeypatch.setattr(fit, "fit", one_epoch)
    climb = climbing.climb
    monkeypatch.setattr(
        climbing, "climb", lambda settings, *more: climb(replace(settings, epochs=1), *more)
    )
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that pages share, fitted once."""
    out = tmp_path_factory.mktemp("first") / "run"
    with pytest.MonkeyPatch.context() as patch:
        leave_out_slow_parts(patch)
        fit.fit(latent_dim=2, out=out, epochs=1, device="cpu", compile="off", quiet=True)
    return out


def run_blocks(page: Path, folder: Path) -> None:
    """Save the files of a page in ``folder``, and run its blocks there in order."""
    parts = blocks(page)
    for block in parts:
        if block.file:
            (folder / block.file).parent.mkdir(exist_ok=True)
            (folder / block.file).write_text(block.text)
    importlib.invalidate_caches()
    for number, block in enumerate(parts):
        if block.runs and block.language == "sh":
            for command, argv in commands(block.text):
                module = importlib.import_module(command)
                module.answer(module.main, [*argv, *RUN_SHORT.get(command, [])])
        elif block.runs:
            script = folder / f"block{number}.py"
            script.write_text(block.text)
            runpy.run_path(str(script), run_name="__main__")


def has_code(page: Path) -> bool:
    return page not in RUN_ELSEWHERE and any(block.runs for block in blocks(page))


def pages_with_code() -> list[Any]:
    return [
        pytest.param(page, marks=pytest.mark.slow if page.name in LONG else (), id=page_name(page))
        for page in pages()
        if has_code(page)
    ]


@pytest.mark.parametrize("page", pages_with_code())
def test_the_code_of_a_page_runs(page: Path, folder: Path, request: pytest.FixtureRequest) -> None:
    """Pages that load ``runs/first`` share one fit."""
    if 'load("runs/first")' in page.read_text("utf-8"):
        shutil.copytree(request.getfixturevalue("first_run"), folder / "runs" / "first")
    run_blocks(page, folder)


@pytest.mark.slow
def test_parts_of_ones_own_run_as_they_stand_but_for_their_epochs(folder: Path) -> None:
    for page in OWN_PARTS:
        run_blocks(page, folder)
    runs = {path.name: Run(path).config for path in (folder / "runs").iterdir()}
    alone = {f"own-{name}" for name in ("prior", "likelihood", "guide", "network")}
    assert set(runs) == {"own", "by-class", "by-hand", "notebook", *alone}
    own = load(folder / "runs" / "own", trust=["mine"])
    assert own.config["prior"] == {
        "class_path": "mine.prior.SpikeAndSlab", "init_args": {"spike": 0.05},
    }  # fmt: skip
    assert own.config["likelihood"]["class_path"] == "mine.likelihood.Flipped"
    assert own.config["guide"]["class_path"] == "mine.guide.Laplace"
    assert own.config["decoder"]["class_path"] == "mine.network.Maxout"
    assert own.config["decoder"]["init_args"] == {"width": 200, "pieces": 3}
    assert runs["notebook"]["prior"]["class_path"] == "__main__.Wide"
    assert own.summary is not None
    assert -45 < own.summary["elbo"] < -20
    assert (folder / "codes.csv").stat().st_size > 0


def test_programs_of_ones_own_run_as_they_stand_but_for_their_epochs(folder: Path) -> None:
    run_blocks(OWN_PROGRAM, folder)
    config = Run(folder / "runs" / "programs").config
    assert config["model"]["class_path"] == "mine.programs.Model"
    assert (folder / "codes.csv").stat().st_size > 0
