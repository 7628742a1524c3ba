"""Files, folders and runs that ``bad_inputs.txt`` names in braces."""

import os
import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ppvae.fit import fit
from tests.support.fits import SMALL

SMALL_FIT = (
    "--data table.npy --likelihood Gaussian --latent-dim 2 --batch-size 32 --epochs 1 "
    "--schedule none --device cpu --out out"
)
_GENERATOR = np.random.default_rng(0)
ARRAYS: dict[str, Any] = vars(np) | {
    "X": _GENERATOR.normal(size=(60, 3)).astype(np.float32),
    "G": _GENERATOR.integers(0, 256, (60, 5, 5), dtype=np.uint8),
    "B": _GENERATOR.integers(0, 2, (60, 5, 5)).astype(np.float32),
    "K": _GENERATOR.poisson(3.0, (60, 3)),
}
LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
RUNS: dict[str, dict[str, Any]] = {
    "run": {"data": "table.npy", "likelihood": "Gaussian"},
    "scheduled": {"data": "table.npy", "likelihood": "Gaussian", "schedule": "CosineAnnealingLR"},
    "delta": {"data": "table.npy", "likelihood": "Gaussian", "guide": "Delta", "beta": 0.0},
    "binary": {"data": "bits.npy", "likelihood": "Bernoulli"},
    "unit": {"data": "shares.npy", "likelihood": "ContinuousBernoulli"},
    "levels": {"data": "grey.npy", "likelihood": "DiscretizedLogistic"},
    "poisson": {"data": "counts.npy", "likelihood": "Poisson"},
    "binomial": {"data": "counts.npy", "likelihood": "Binomial"},
    "conditional": {
        "data": "labelled.csv", "label": "kind", "likelihood": "Gaussian",
        "model": "ConditionalVAE",
    },
}  # fmt: skip


def typed(line: str) -> list[str]:
    """The words of a command line; files in braces are created in the working folder."""
    words: list[str] = []
    for word in shlex.split(line):
        content = re.fullmatch(r"\{([\w.]+): ?(.*)\}", word)
        if word == "{small}":
            made("table")
            words += SMALL_FIT.split()
        elif content is not None:
            words.append(_written(*content.groups()))
        else:
            words.append(re.sub(r"\{(\w+)\}", lambda found: made(found[1]), word))
    return words


def _written(suffix: str, content: str) -> str:
    """A file with this content, by its suffix: an array of NumPy, or text."""
    path = Path(f"given.{suffix.removeprefix('raw.')}")
    if suffix == "npy":
        np.save(path, eval(content, dict(ARRAYS)), allow_pickle=True)
    elif suffix == "npz":
        arrays: dict[str, Any] = eval(f"dict({content})", dict(ARRAYS))
        np.savez(path, **arrays)
    elif suffix.startswith("raw."):
        path.write_bytes(content.encode().decode("unicode_escape").encode("latin-1"))
    else:
        path.write_text(content.replace("{laughs}", LAUGHS).replace("\\n", "\n"))
    return str(path)


def made(name: str) -> str:
    """The path of a file, folder or run of this name, below the working folder."""
    if name in RUNS:
        return _run(name, Path.cwd())
    return _made(name, Path.cwd())


@cache
def _run(name: str, folder: Path) -> str:
    settings: dict[str, Any] = dict(RUNS[name])
    settings["data"] = made(Path(settings["data"]).stem)
    fit(**{
        "encoder": SMALL, "decoder": SMALL, "latent_dim": 2, "batch_size": 32, "epochs": 1,
        "schedule": None, "device": "cpu", "out": name, **settings,
    })  # fmt: skip
    return name


@cache
def _made(name: str, folder: Path) -> str:
    path = Path(name)
    if name in _ARRAY_FILES:
        path = path.with_suffix(".npy")
        np.save(path, _ARRAY_FILES[name]())
    elif name in _IMAGES:
        path.mkdir()
        for place in range(_IMAGES[name]):
            Image.new("L", (5, 6)).save(path / f"{place:02}.png")
        if name in _SPOILS:
            _SPOILS[name](path)
    else:
        path = _OTHERS[name](path) or path
    return str(path)


_ARRAY_FILES: dict[str, Callable[[], Any]] = {
    "table": lambda: ARRAYS["X"],
    "grey": lambda: ARRAYS["G"],
    "bits": lambda: ARRAYS["B"],
    "counts": lambda: ARRAYS["K"],
    "shares": lambda: _GENERATOR.random((60, 3), dtype=np.float32),
}
_IMAGES = {"mixed_sizes": 12, "corrupt_image": 12, "deep_images": 12, "loose_images": 12,
           "few_images": 3}  # fmt: skip


def _deep(path: Path) -> None:
    for file in path.iterdir():
        Image.fromarray(np.full((6, 5), 999, np.uint16)).save(file)


def _loose(path: Path) -> None:
    (path / "cat").mkdir()
    for file in path.glob("*.png"):
        file.rename(path / "cat" / file.name)
    Image.new("L", (5, 6)).save(path / "loose.png")


_SPOILS: dict[str, Callable[[Path], None]] = {
    "mixed_sizes": lambda path: Image.new("L", (5, 5)).save(path / "07.png"),
    "corrupt_image": lambda path: _text(path / "07.png", "PNG and no more"),
    "deep_images": _deep,
    "loose_images": _loose,
}


def _folder(path: Path, **files: str) -> None:
    path.mkdir()
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)


def _text(path: Path, text: str) -> None:
    path.write_text(text)


def _labelled(path: Path) -> Path:
    path = path.with_suffix(".csv")
    rows = [f"{a},{b},{c},{'uv'[i % 2]}" for i, (a, b, c) in enumerate(ARRAYS["X"].tolist())]
    path.write_text("\n".join(["a,b,c,kind", *rows, ""]))
    return path


def _closed(path: Path, *, is_folder: bool) -> None:
    path.mkdir() if is_folder else path.write_text("epochs: 1\n")
    path.chmod(0o500 if is_folder else 0)


def _fifo(path: Path) -> Path:
    path = path.with_suffix(".npy")
    os.mkfifo(path)
    return path


_OTHERS: dict[str, Callable[[Path], Path | None]] = {
    "empty": lambda path: _folder(path),
    "thesis": lambda path: _folder(path, chapter__txt="years of work"),
    "no_config": lambda path: _folder(path, summary__json="{}"),
    "empty_config": lambda path: _folder(path, config__yaml=""),
    "file": lambda path: _text(path, "a file"),
    "labelled": _labelled,
    "fifo": _fifo,
    "unreadable": lambda path: _closed(path, is_folder=False),
    "sealed": lambda path: _closed(path, is_folder=True),
}
