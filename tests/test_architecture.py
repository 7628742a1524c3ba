"""The architecture of the package: layers and imports."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
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
    ("fit", "fitted", "compare", "diagnose", "encode", "export", "sample"),
    ("sklearn",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}


def _modules() -> dict[str, list[Path]]:
    """Files of each concept: a module at the top of the package, or a folder."""
    found = {path.stem: [path] for path in (ROOT / "ppvae").glob("*.py")}
    for folder in (ROOT / "ppvae").iterdir():
        if files := sorted(folder.resolve().rglob("*.py")):
            found[folder.name] = files
    del found["__init__"]
    return found


def _name(path: Path) -> str:
    """The import path of a file; models and guides are outside of the folder `ppvae`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    inside = parts if parts[0] == "ppvae" else ("ppvae", *parts)
    return ".".join(inside).removesuffix(".__init__")


FILES = {_name(path): path for paths in _modules().values() for path in paths}


def _imported(path: Path) -> set[str]:
    """The files of this package that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module or "" for name in inner}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & (FILES.keys() - {_name(path)})


def _imports(path: Path) -> set[str]:
    """The concepts that a file imports."""
    return {name.split(".")[1] for name in _imported(path)}


def test_the_top_of_the_package_is_small() -> None:
    assert len(list((ROOT / "ppvae").glob("*.py"))) <= 11
    folders = [f for f in (ROOT / "ppvae").iterdir() if f.is_dir() and any(f.rglob("*.py"))]
    assert len(folders) <= 18


def test_every_concept_has_a_floor() -> None:
    assert set(_modules()) <= set(LEVEL)


@pytest.mark.parametrize("concept", sorted(_modules()))
def test_a_floor_imports_from_its_own_and_those_below(concept: str) -> None:
    for path in _modules()[concept]:
        for imported in _imports(path):
            assert LEVEL[imported] <= LEVEL[concept], f"{path.name} imports {imported}, above it"


def test_no_file_imports_itself_by_way_of_others() -> None:
    """Also within a layer and a folder; ``static_order`` names a cycle."""
    order = TopologicalSorter({name: _imported(path) for name, path in FILES.items()})
    assert set(order.static_order()) >= FILES.keys()


def test_concepts_of_one_floor_form_no_circle() -> None:
    modules = _modules()
    graph = {
        concept: {i for path in paths for i in _imports(path) if LEVEL[i] == LEVEL[concept]}
        - {concept}
        for concept, paths in modules.items()
    }
    assert set(TopologicalSorter(graph).static_order()) >= modules.keys()


def test_models_and_guides_do_not_know_each_other() -> None:
    modules = _modules()
    assert not any("guides" in _imports(path) for path in modules["models"])
    assert not any("models" in _imports(path) for path in modules["guides"])


def test_nothing_below_the_commands_knows_of_a_command_line() -> None:
    for concept, paths in _modules().items():
        if LEVEL[concept] < LEVEL["cli"]:
            for path in paths:
                assert "argv" not in path.read_text(), path


def _refusals(path: Path) -> set[str]:
    """The constant parts of the error messages in a file."""
    raised = [n.exc for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Raise)]
    return {
        part.value
        for error in raised
        if error is not None
        for part in ast.walk(error)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }


def test_no_sentence_of_the_library_names_a_flag() -> None:
    """Errors name parameters in backquotes, which `cli` converts to flags."""
    for concept, paths in _modules().items():
        if concept != "cli":
            for path in paths:
                flags = [s for s in _refusals(path) if re.search(r"(^|[\s(`'])--[a-z]", s)]
                is_of_words = path.name == "fit.py"  # where `main` reads the command line
                assert not flags or is_of_words, f"{path}: {flags}"


COMPILED = {"ppvae/compilation/cache.py", "ppvae/compilation/inductor.py"}
"""Code that reads and writes compiled files, which belong to no run."""

PROCESSOR = "ppvae/compilation/processor.py"
"""Code that reads the processor's description."""


def test_only_the_run_directory_and_readers_of_data_touch_files() -> None:
    below = LEVEL["run"]
    for concept, paths in _modules().items():
        if LEVEL[concept] < below and concept not in ("data", "components", "settings"):
            for path in paths:
                is_allowed = str(path.relative_to(ROOT)) in {*COMPILED, PROCESSOR}
                assert is_allowed or "pathlib" not in path.read_text(), path


IMPORTS = """
import sys
import pyro, torch
from pyro import settings

def nothing_of(*names):
    found = [name for name in names if name in sys.modules]
    assert not found, found

def state():
    checks = torch.distributions.Distribution._validate_args
    return settings.get(), checks, torch.is_grad_enabled(), torch.get_rng_state().tolist()

before = state()
assert "module_local_params" in before[0]

# Data: no reader before it is asked for.
import ppvae.data
nothing_of("torchvision", "sklearn", "pandas", "PIL", "scipy")

# The commands: what is heavy comes when it is needed, and all settings stay.
import ppvae, ppvae.fit, ppvae.encode, ppvae.sample, ppvae.compare, ppvae.diagnose, ppvae.export
import ppvae.bounds.audit, ppvae.diagnostics, ppvae.models, ppvae.guides, ppvae.distributions.flows
nothing_of("torchvision", "arviz", "matplotlib", "lightning_fabric", "sklearn", "pandas", "zuko")
nothing_of("torch._inductor", "torch._dynamo", "sympy")
assert state() == before
assert not list(pyro.get_param_store())

# Flows: zuko comes with the first, and torch's checks, which it switches off, stay on.
from ppvae.models.priors import FlowPrior
prior = FlowPrior(2)
assert "zuko.distributions" in sys.modules
for refused in (
    lambda: torch.distributions.Normal(0.0, -1.0),
    lambda: prior().log_prob(torch.full((2,), torch.nan)),
    lambda: prior().log_prob(torch.zeros(3)),
):
    try:
        refused()
    except ValueError:
        continue
    raise SystemExit("torch's checks are off")

# Figures are drawn without pyplot.
import numpy as np
from ppvae import plots
plots.samples(np.zeros((4, 3)))
nothing_of("matplotlib.pyplot", "sklearn")
"""
"""All questions in one fresh process, since importing torch takes seconds."""


def test_importing_the_package_is_light_and_without_effects() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", IMPORTS], check=True, cwd=ROOT)


CHANGES = re.compile(
    r"\.(mkdir|write_text|write_bytes|unlink|rmdir|rename|touch|symlink_to)\(|rmtree|mkdtemp"
    r"|TemporaryDirectory|open\(\"[wax]"
)
"""Calls that change the disk."""


def test_only_the_store_and_downloads_change_the_disk() -> None:
    """Only changes of the disk through the store can be counted, killed and refused."""
    doors = {"run", "data"}
    changing = {
        str(path.relative_to(ROOT))
        for concept, paths in _modules().items()
        for path in paths
        if concept not in doors and CHANGES.search(path.read_text())
    }
    assert changing == COMPILED


DOORS = {
    r"site_is_subsample|\"_deterministic\"|\[\"type\"\] [!=]= \"sample\"": {
        "ppvae/programs/sites.py",
        # Below the programs, which must not be imported there.
        "guides/semi_amortized.py", "ppvae/distributions/moments.py",
    },
    r"cond_indep_stack": {"ppvae/programs/plates.py"},
    r"\.nesting\b|max_plate_nesting": {
        "ppvae/programs/axes.py", "ppvae/arviz/sites.py",
        # An argument of Pyro.
        "ppvae/bounds/objective.py", "ppvae/bounds/traces.py", "ppvae/bounds/importance_weights.py",
        "ppvae/components/kinds.py", "models/semi_supervised_vae.py",
    },
    r"pyro\.plate\(\"_|pyro\.plate\([^()]*dim=": {"ppvae/programs/axes.py"},
    r"\.training = ": {"ppvae/networks/evaluation_mode.py"},
    r"(isinstance|issubclass)\([^()]*\w+ELBO": set(),
    r"_loss_and_surrogate_loss": {"ppvae/bounds/objective.py"},
}  # fmt: skip
"""Tasks of one file each: the code that shows them, and the files that may have it."""


@pytest.mark.parametrize("pattern", DOORS)
def test_what_has_one_home_is_done_nowhere_else(pattern: str) -> None:
    done = re.compile(pattern)
    elsewhere = {
        str(path.relative_to(ROOT))
        for paths in _modules().values()
        for path in paths
        if done.search(path.read_text())
    }
    assert elsewhere <= DOORS[pattern]
