"""The cache of compiled code: found for the same graph only, and verified."""

import os
import random
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule

from ppvae.compilation import cache, inductor, notes
from ppvae.compilation.graphs import trace
from ppvae.compilation.native import compiled
from tests.support.fits import quick, small

__all__ = ["quick"]  # a fixture


def function(x: Tensor, scale: Tensor) -> list[Tensor]:
    noise = torch.randn_like(x)
    x += torch.tensor([0.5, 2.0]) * noise
    return [(x @ x.t()).exp() * scale]


def arguments(size: int = 3) -> list[Tensor]:
    return [torch.linspace(-1, 1, 2 * size).reshape(size, 2), torch.tensor(0.3)]


def computed() -> list[Tensor]:
    """Result and change of x by the function as native code."""
    run, tensors = compiled(trace(function, arguments())), arguments()
    torch.manual_seed(0)
    return [*run(*tensors), tensors[0]]


class Compiler:
    """The compiler, called once for all tests.

    Attributes:
        calls: number of calls in this test.
        parts: its results.
        first: result of the function right after compilation.
    """

    calls = 0

    def __init__(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            self.really = inductor._compile
            self.parts: dict[str, bytes] = {}
            patch.setattr(inductor, "_compile", self)
            self.first = computed()

    def __call__(self, graph: GraphModule, tensors: list[Tensor]) -> dict[str, bytes]:
        self.calls += 1
        if not self.parts:
            self.parts = self.really(graph, tensors)
        return self.parts


@pytest.fixture(scope="module")
def compiler_of_all() -> Compiler:
    return Compiler()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(notes, "_said", set())
    return tmp_path / "ppvae" / "compiled"


@pytest.fixture
def compiler(compiler_of_all: Compiler, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    """No compilation: neither by g++ nor by torch."""
    compiler_of_all.calls = 0
    monkeypatch.setattr(inductor, "_compile", compiler_of_all)
    monkeypatch.setattr(inductor, "_by_torch", None)
    return compiler_of_all


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The notes so far."""
    return lambda: [one.getMessage() for one in caplog.records if one.name == notes.__name__]


def assert_same_bits(one: list[Tensor], other: list[Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.slow
def test_code_is_compiled_once_and_computes_the_same_bits_from_the_folder(
    folder: Path, compiler: Compiler
) -> None:
    for _ in range(3):
        assert_same_bits(compiler.first, computed())
    assert compiler.calls == 1
    tensors = arguments()
    torch.manual_seed(0)
    torch.testing.assert_close(compiler.first, [*function(*tensors), tensors[0]])
    assert [path.suffix for path in folder.iterdir()] == [".zip"]


@pytest.mark.slow
def test_another_process_finds_it(compiler: Compiler) -> None:
    computed()
    script = (
        "from tests.compilation.test_cache import computed, inductor\n"
        "inductor._compile = inductor._by_torch = None\n"
        "print([tensor.tolist() for tensor in computed()])\n"
    )
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    shown = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | threads, capture_output=True, check=True
    ).stdout
    assert shown.decode().strip() == str([tensor.tolist() for tensor in compiler.first])


@pytest.mark.slow
def test_torch_keeps_what_it_compiles_in_its_own_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on CUDA, and with unknown code of Inductor."""
    from torch._dynamo.utils import counters

    def failing(*_: object) -> None:
        raise ValueError

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(inductor, "_compile", failing)
    first = computed()
    counters.clear()
    assert_same_bits(first, computed())
    assert counters["inductor"]["fxgraph_cache_hit"] == 1
    assert counters["inductor"]["fxgraph_cache_miss"] == 0


def test_constants_are_no_part_of_it() -> None:
    def graph(*constant: float) -> GraphModule:
        held = torch.tensor(constant)
        return trace(lambda x: [x * held], [torch.ones(2)])

    graphs = [graph(2.0, 1.0), graph(3.0, 1.0), graph(3.0)]
    constants = [inductor._take_constants_out(one) for one in graphs]
    assert [one.tolist() for (one,) in constants] == [[2.0, 1.0], [3.0, 1.0], [3.0]]
    keys = [inductor._key(one) for one in graphs]
    assert keys[0] == keys[1] != keys[2]
    x = torch.ones(2)
    assert torch.equal(graphs[0](x, constants[1][0])[0], constants[1][0])


CHANGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "version of torch": lambda patch: patch.setattr(torch, "__version__", "2.99"),
    "processor": lambda patch: patch.setattr(inductor, "instructions", lambda: "another"),
    "build of Python": lambda patch: patch.setattr(sysconfig, "get_config_var", lambda _: "t.so"),
    "form of an entry": lambda patch: patch.setattr(inductor, "_FORMAT", -1),
    "threads": lambda patch: patch.setattr(torch, "get_num_threads", lambda: 7),
    "compiler": lambda patch: patch.setattr(
        "torch._inductor.cpp_builder.get_compiler_version_info", lambda _: "another"
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_key_changes_with_what_code_follows_from(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = trace(function, arguments())
    key = inductor._key(graph)
    assert key == inductor._key(trace(function, arguments()))
    assert key != inductor._key(trace(function, arguments(4)))
    CHANGES[what](monkeypatch)
    assert key != inductor._key(graph)


@pytest.mark.slow
def test_fits_of_the_same_shapes_ask_for_the_same_code(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For any seed, learning rate and number of epochs."""
    keys: list[str] = []

    def ask(key: str) -> None:
        keys.append(key)

    monkeypatch.setattr(cache, "read", ask)
    monkeypatch.setattr(inductor, "_compile", None)
    monkeypatch.setattr(inductor, "_by_torch", lambda graph, _: graph)
    affine = {"class_path": "MLP", "init_args": {"hidden": []}}
    some: dict[str, Any] = {"compile": "on", "decoder": affine, "encoder": affine, "epochs": 1}
    small(tmp_path, "one", **some)
    small(tmp_path, "other", **some | {"seed": 1, "lr": 0.01, "epochs": 2})
    small(tmp_path, "wider", **some, latent_dim=3)
    one, other, wider = keys
    assert one == other != wider


def full_disk(**_: object) -> None:
    raise OSError(28, "No space left on device", f"file-{random.random()}")


def cut(entry: Path) -> None:
    entry.write_bytes(entry.read_bytes()[:-100])


def flip(entry: Path) -> None:
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 255
    entry.write_bytes(content)


def lose_a_part(entry: Path) -> None:
    with zipfile.ZipFile(entry, "w") as archive:
        archive.writestr("call.py", "")


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut, flip, lose_a_part, lambda entry: entry.write_bytes(b"")])
def test_a_damaged_entry_is_compiled_anew(
    damage: Callable[[Path], object],
    folder: Path,
    compiler: Compiler,
    said: Callable[[], list[str]],
) -> None:
    computed()
    (entry,) = folder.iterdir()
    damage(entry)
    for _ in range(2):
        assert_same_bits(compiler.first, computed())
        assert compiler.calls == 2
    assert said() == []


def test_no_damaged_part_is_read_whichever_byte_is_damaged(
    folder: Path, said: Callable[[], list[str]]
) -> None:
    source = random.Random(0)
    parts = {"call.py": b"def call(args): pass\n" * 9, "kernels.so": source.randbytes(100)}
    cache.write("key", parts)
    (entry,) = folder.iterdir()
    content = entry.read_bytes()
    found = []
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 255
        entry.write_bytes(damaged)
        found.append(cache.read("key"))
    # Time stamps in a file do not matter; other changed bytes lose the part.
    assert all(one is None or one.items() <= parts.items() for one in found)
    assert found.count(None) > len(found) / 2
    assert said() == []


@pytest.mark.slow
@pytest.mark.parametrize("attempt", ["read", "write"])
def test_a_folder_that_takes_nothing_is_said_once(
    attempt: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compiler: Compiler,
    said: Callable[[], list[str]],
) -> None:
    """In a log message: a warning is an error here, and torch would compile the graph."""
    (tmp_path / "file").touch()
    if attempt == "read":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    else:  # its error names another file each time
        monkeypatch.setattr("ppvae.compilation.cache.tempfile.mkstemp", full_disk)
    for calls in (1, 2):
        computed()
        assert compiler.calls == calls
    (sentence,) = said()
    assert sentence.startswith("note: compiled code is not kept for the next process; set XDG_")
    assert "file" in sentence


def test_another_way_to_compile_is_said_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    def failing(*_: object) -> None:
        raise ValueError("no such kernel")

    monkeypatch.setattr(inductor, "_compile", failing)
    monkeypatch.setattr(inductor, "_by_torch", lambda graph, _: graph)
    for _ in range(2):
        computed()
    assert said() == [
        "note: a graph is compiled by torch itself, which takes longer: no such kernel"
    ]


def test_a_folder_that_others_may_write_to_is_not_read(
    folder: Path, said: Callable[[], list[str]]
) -> None:
    cache.write("key", {"call.py": b"1"})
    assert cache.read("key") == {"call.py": b"1"}
    folder.chmod(0o777)
    assert cache.read("key") is None
    assert "others may write to it" in said()[0]


def test_what_was_used_least_recently_goes_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LARGEST", 2500)
    left = folder / "of-a-killed-process.unfinished"
    for i, key in enumerate(("a", "b", "c")):
        cache.write(key, {"random": os.urandom(1000)})
        os.utime(folder / f"{key}.zip", (i, i))
        if key == "a":
            left.touch()
            os.utime(left, (0, 0))
        if key == "b":
            assert cache.read("a") is not None  # and so is the youngest now
    assert sorted(path.name for path in folder.iterdir()) == ["a.zip", "c.zip"]


def test_the_users_choice_of_a_folder_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    assert cache.folder() == tmp_path / "ppvae" / "compiled"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "mine"))
    assert cache.folder() == tmp_path / "mine" / "ppvae"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", default_cache_dir())  # as torch itself sets it
    assert cache.folder() == tmp_path / "ppvae" / "compiled"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "ppvae" / "compiled"
