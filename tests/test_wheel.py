"""The content of a wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ppvae.settings.recipes import FOLDER

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A hook of git sets its own index in the environment, which a clone must not use.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    source = folder / "source"
    subprocess.run(
        ["git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", str(source)],
        check=True,
        env=clean,
    )
    subprocess.run(
        ["uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), str(source)],
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the git checkout to build from")
def test_the_wheel_installs_ppvae_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (top,) = (n for n in names if n.endswith("top_level.txt"))
        assert archive.read(top).decode().split() == ["ppvae"]
    code = [n for n in names if ".dist-info/" not in n]
    assert {n.split("/")[0] for n in code} == {"ppvae"}
    assert {"ppvae/py.typed", "ppvae/models/vae.py", "ppvae/guides/mean_field.py"} <= set(code)
    assert {"ppvae/data/split.py", "ppvae/report/report.html.j2"} <= set(code)
    assert {f"ppvae/recipes/{file.name}" for file in FOLDER.iterdir()} <= set(code)


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the git checkout to build from")
def test_the_wheel_runs_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    """The unpacked wheel fits, without the checkout on the path."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import ppvae;"
        f"assert ppvae.__file__.startswith({str(site)!r}), ppvae.__file__;"
        "import numpy; x = numpy.random.default_rng(0).normal(size=(60, 3));"
        "from ppvae.fit import fit;"
        "assert fit(data=x, likelihood='Gaussian', epochs=1, in_memory=True).summary"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, cwd=tmp_path, capture_output=True
    )
