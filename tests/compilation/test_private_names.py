"""Private names of torch, Pyro and Fabric: the checked versions, and the files that use them."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2]

WRITTEN_FOR = {
    "torch": ("2.15", "ppvae/compilation"),
    "pyro-ppl": (
        "1.9",
        "ppvae/bounds, ppvae/compilation, ppvae/programs/failures.py and "
        "ppvae/diagnostics/baselines/elementwise.py",
    ),
    "lightning-fabric": ("2.6", "ppvae/training/processes.py"),
}
"""The checked version of each library, and the code that uses its private names."""

DOORS = {
    "torch": ("ppvae/compilation/",),
    "pyro": (
        "ppvae/bounds/",
        "ppvae/compilation/",
        "ppvae/programs/failures.py",
        "ppvae/diagnostics/baselines/elementwise.py",
    ),
    "lightning_fabric": ("ppvae/training/processes.py",),
}

PRIVATE = {
    "torch": re.compile(
        r"\btorch(\.\w+)*\._[A-Za-z]"  # torch._inductor, torch.utils._pytree
        r"|from torch[\w.]* import .*\b_[A-Za-z]"
        r"|\btorch\.fx\.experimental"
        r"|\._(parameters|buffers|modules|\w*_hooks|schema|overloadpacket)\b"
        r"|\b(TorchDispatchMode|TorchFunctionMode|flop_registry)\b"
        r"|\bvars\(\w*(self\.)?_?optimizer\)"
        r"|unittest\.mock|\bpatch(\.object|\.dict)?\(|TORCHINDUCTOR"
        r"|\btorch(\.\w+)+ = (?!False|True)"
    ),
    "pyro": re.compile(
        r"\bpyro(\.\w+)*\._[A-Za-z]|from pyro[\w.]* import .*\b_[A-Za-z]|_PYRO_STACK"
        r"|\._(get_traces|get_trace|loss_and_surrogate_loss|guess_max_plate_nesting)\b|\bfn\._mask\b"
    ),
    "lightning_fabric": re.compile(r"from lightning_fabric[\w.]* import .*\b_[A-Za-z]"),
}


@pytest.mark.parametrize("library", WRITTEN_FOR)
def test_the_library_is_the_one_that_its_private_names_were_read_in(library: str) -> None:
    written_for, code = WRITTEN_FOR[library]
    installed = version(library)
    assert installed.split(".")[:2] == written_for.split("."), (
        f"written for {library} {written_for}, and {installed} is installed: {code} uses private "
        "names of it; read that code again, run its tests, then raise the number in WRITTEN_FOR"
    )


@pytest.mark.parametrize("library", PRIVATE)
def test_private_names_stay_behind_one_door(library: str) -> None:
    files = [
        path
        for folder in ("ppvae", "models", "guides")
        for path in sorted((PACKAGE / folder).rglob("*.py"))
        if not path.is_relative_to(PACKAGE / "ppvae" / "models")
        and not path.is_relative_to(PACKAGE / "ppvae" / "guides")
    ]
    assert len(files) > 100
    outside = [
        f"{name}:{number}: {line.strip()}"
        for path in files
        if not (name := path.relative_to(PACKAGE).as_posix()).startswith(DOORS[library])
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if PRIVATE[library].search(line)
    ]
    assert outside == []
