"""The shape of the package: floors, imports, and what a wheel installs."""

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "settings"),
    ("networks", "distributions", "plots"),
    ("models", "guides"),
    ("data",),
    ("programs",),
    ("bounds",),
    ("compilation",),
    ("components",),
    ("run",),
    ("diagnostics",),
    ("arviz",),
    ("training",),
    ("report", "comparison"),
    ("cli",),
    ("fit", "compare", "diagnose", "encode", "sample"),
)
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}

CLIMBS = {
    ("saving.py", "run"), ("fitting.py", "cli"), ("fitting.py", "report"),
    ("introduction.py", "cli"), ("conclusion.py", "cli"), ("page.py", "cli"), ("table.py", "cli"),
    ("keeping.py", "arviz"),
}  # fmt: skip
"""Imports from above that are yet to be turned round."""


def _modules() -> dict[str, list[Path]]:
    """Files of each concept: a module at the top of the package, or a folder."""
    found = {path.stem: [path] for path in (ROOT / "ppvae").glob("*.py")}
    for folder in (ROOT / "ppvae").iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            root = folder.resolve()
            if files := sorted(root.rglob("*.py")):
                found[folder.name] = files
    del found["__init__"]
    return found


def _imports(path: Path) -> set[str]:
    """The concepts of this package that a file imports, wherever in the file."""
    concepts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [node.module or ""]
            if node.module == "ppvae":
                names = [f"ppvae.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        concepts |= {n.split(".")[1] for n in names if n.startswith("ppvae.")}
    return concepts


def test_every_concept_has_a_floor() -> None:
    assert set(_modules()) <= set(LEVEL)


@pytest.mark.parametrize("concept", sorted(_modules()))
def test_a_floor_imports_from_its_own_and_those_below(concept: str) -> None:
    for path in _modules()[concept]:
        for imported in _imports(path):
            if (path.name, imported) in CLIMBS:
                continue
            assert LEVEL[imported] <= LEVEL[concept], f"{path.name} imports {imported}, above it"


def test_models_and_guides_do_not_know_each_other() -> None:
    modules = _modules()
    assert not any("guides" in _imports(path) for path in modules["models"])
    assert not any("models" in _imports(path) for path in modules["guides"])


def test_nothing_below_the_commands_knows_of_a_command_line() -> None:
    for concept, paths in _modules().items():
        if LEVEL[concept] < LEVEL["cli"]:
            for path in paths:
                assert "argv" not in path.read_text(), path


def test_only_the_run_directory_and_readers_of_data_touch_files() -> None:
    below = LEVEL["run"]
    for concept, paths in _modules().items():
        if LEVEL[concept] < below and concept not in ("data", "plots", "components"):
            for path in paths:
                assert "pathlib" not in path.read_text(), path


def test_importing_the_package_is_light_and_without_effects() -> None:
    code = (
        "import sys, torch, pyro;"
        "before = pyro.settings.get(), torch.distributions.Distribution._validate_args;"
        "import ppvae, ppvae.fit, ppvae.encode, ppvae.sample, ppvae.compare, ppvae.diagnose;"
        "after = pyro.settings.get(), torch.distributions.Distribution._validate_args;"
        "assert before == after;"
        "late = {'torchvision', 'arviz', 'matplotlib', 'lightning_fabric', 'sklearn', 'pandas'};"
        "assert not late & sys.modules.keys(), late & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=ROOT)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    subprocess.run(
        ["git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", str(source)], check=True
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


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the git checkout to build from")
def test_the_wheel_runs_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    """Unpacked on its own, without the checkout on the path, it fits and samples."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import ppvae;"
        f"assert ppvae.__file__.startswith({str(site)!r}), ppvae.__file__;"
        "from ppvae.fit import main; main(['--epochs', '1', '--out', 'r'])"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, cwd=tmp_path, capture_output=True
    )
    assert (tmp_path / "r" / "summary.json").is_file()


CHANGES = re.compile(
    r"\.(mkdir|write_text|write_bytes|unlink|rmdir|rename|touch|symlink_to)\(|rmtree|mkdtemp"
    r"|TemporaryDirectory|open\(\"[wax]"
)
"""Calls that change the disk."""


def test_only_the_store_and_downloads_change_the_disk() -> None:
    """What goes through one door can be counted, killed at, and refused in a sentence."""
    doors = {"run", "data"}
    changing = {
        str(path.relative_to(ROOT))
        for concept, paths in _modules().items()
        for path in paths
        if concept not in doors and CHANGES.search(path.read_text())
    }
    assert changing == set()
