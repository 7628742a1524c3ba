"""Commands on the page, and after a fit: they can be typed as they stand."""

import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ppvae.fit import main
from ppvae.models import StandardNormal
from ppvae.report import report
from ppvae.report.next_step import step_after_fit
from ppvae.report.provenance import flattened
from ppvae.run import Run, load
from tests.support.fits import rewrite_config, small
from tests.support.pages import Page, cells, quickly


def test_the_command_on_the_page_makes_the_run_again(
    made: Callable[[str], Run], tmp_path: Path
) -> None:
    run = made("table")
    said = Page(run.path / "report.html").says("settings")
    command = re.search(r"python -m ppvae\.fit (--config \S+)", said)
    assert command is not None
    with quickly():
        main([*shlex.split(command[1]), "--out", str(tmp_path / "again")])
    drop = {"seconds"}
    again = [
        {k: v for k, v in row.items() if k not in drop}
        for row in load(tmp_path / "again").history()
    ]
    assert again == [{k: v for k, v in row.items() if k not in drop} for row in run.history()]


@pytest.mark.slow
def test_code_that_is_not_the_package_is_to_be_trusted_by_name(
    made: Callable[[str], Run], tmp_path: Path
) -> None:
    tmp_path /= "run"
    shutil.copytree(made("table").path, tmp_path)
    prior = {"class_path": "mine.prior.Spike", "init_args": {"width": 0.5}}
    own = {"prior": prior, "guide": {"class_path": "MeanField"}, "lr": -1}
    rewrite_config(tmp_path, lambda config: config.update(own, data="my -1 --file.npy"))
    run = Run(tmp_path)  # its code is missing: nothing can be decoded
    page = Page(report(run))
    assert f"--config {tmp_path}/config.yaml --trust mine" in page.says("settings")
    step = step_after_fit(run, {"status": "converged"})
    assert f"ppvae.diagnose {tmp_path} --quick --trust mine" in step.command
    # What is to be copied stands as it is.
    assert ["lr", "-1"] in cells(page, "Settings")
    assert ["data", "my -1 --file.npy"] in cells(page, "Settings")
    assert "Left out" in page.says("map")


@pytest.mark.slow
def test_python_objects_have_no_command(made: Callable[[str], Run]) -> None:
    run = made("own")
    page = Page(run.path / "report.html")
    assert "own_model" in page.says("settings")
    assert "--config" not in page.says("settings")
    assert "python -m" not in page.says("verdict")
    assert "model=..., guide=...)" in step_after_fit(run, {"status": "converged"}).sentence


def test_a_class_of_a_session_has_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = type("Own", (StandardNormal,), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "Own", own, raising=False)
    with quickly():
        run = small(tmp_path, prior=own)
    step = step_after_fit(run, {"status": "converged"})
    assert not step.command
    assert f"ppvae.load({str(run.path)!r}, trust=['__main__'])" in step.sentence


def test_settings_are_told_as_flags() -> None:
    prior = {"class_path": "VampPrior", "init_args": {"components": 5, "start": None}}
    settings = {"prior": prior, "clip": None, "lr": 0.1}
    assert list(flattened(settings)) == [
        ("prior", "VampPrior"), ("prior.components", "5"), ("lr", "0.1"),
    ]  # fmt: skip
