"""Table of the seconds to encode all of MNIST, start-up excluded."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from .bars import Bar
from .data import ROOT, all_images, origin
from .footprint import footprint
from .machine import versions
from .plan import Plan
from .table import figure, publish, show, under_way

__all__ = ["encode"]

MOST = 3.0
"""Bar: seconds for all images, start-up excluded."""

_FEW = 10


def encode(plan: Plan, rows: int | None = None, fit: Sequence[str] = ()) -> None:
    """Fit for one epoch, then encode all images and ten of them, once per round.

    The command writes loc and scale of each image. The time of ten images is the start-up.
    """
    images = all_images()[:rows]
    with TemporaryDirectory() as folder, under_way() as report:
        all_file, few_file, run = (str(Path(folder) / name) for name in ("all.npy", "few.npy", "r"))
        np.save(all_file, images)
        np.save(few_file, images[:_FEW])
        report("a fit of one epoch")
        settings = ["--binarize", "dynamic", "--epochs", "1", "--compile", "off", *fit]
        _seconds(["-m", "ppvae.fit", "--data", all_file, "--out", run, *settings])

        def command(file: str) -> list[str]:
            out = str(Path(folder) / "codes.npz")
            asked = ["--data", file, "--samples", "0", "--out", out, "--overwrite"]
            return ["-m", "ppvae.encode", run, *asked]

        _seconds(command(few_file))  # warms the file cache
        taken = []
        for number in range(plan.rounds):
            report(f"round {number + 1} of {plan.rounds}")
            taken.append((_seconds(command(all_file)), _seconds(command(few_file))))
        memory = [footprint(command(file)) for file in (all_file, few_file)]
    whole, start = zip(*taken, strict=True)
    beyond = [a - b for a, b in taken]
    times = [(f"{len(images):,} images", whole), (f"{_FEW} images", start), ("difference", beyond)]
    table = [
        {"what": what, "seconds": median(seconds), "rounds": plan.rounds, **held}
        for (what, seconds), held in zip(times, [*memory, {}], strict=True)
    ]
    show(
        f"encode, whole processes, {plan.rounds} rounds (images: {origin()})",
        ("", "seconds", "peak MiB"),
        [(row["what"], figure(row["seconds"]), figure(row.get("peak_mib"), 0)) for row in table],
    )
    bar = Bar(f"seconds to encode {len(images):,} images, start-up excluded", MOST, median(beyond))
    publish(plan, table, [bar], versions=versions("torch", "pyro"))


def _seconds(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - started
