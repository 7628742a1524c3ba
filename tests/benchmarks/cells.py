"""Codes of simulated cells, compared with PCA and SCVI: do they depend on depth, batch and type?

``uv run python -m tests.benchmarks.cells`` simulates 2,000 cells of 1,000 genes, six types and two
batches, with log-normal library sizes (`tests.support.cells`), and embeds them by

- PCA of log(1 + x), and of log(1 + x / size factor);
- a `VAE` of the counts, without size factors or batch;
- a `ConditionalVAE` of the counts, with size factors and batch;
- SCVI of scvi-tools with the same size factors, batch and likelihood, in its own environment, which
  ``uv`` installs.

The table is written to ``tests/benchmarks/cells.md``. Its columns for all cells are R^2 of a linear
regression of the log total count on the codes, the accuracy of predicting the batch from 15 nearest
neighbours minus that of guessing, and the adjusted Rand index of k-means and types. For held-out
cells it has log p(x) by importance sampling. The last column is the processor time of the fit.
Cells decoded under another batch are compared with their true shares in that batch, in the
logarithm of each gene's share.
"""

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from ppvae.diagnostics import log_evidence
from ppvae.fit import fit
from ppvae.run import Run
from tests.benchmarks.contenders import Contender
from tests.benchmarks.data import ROOT
from tests.benchmarks.machine import machine
from tests.benchmarks.worker_process import WorkerFailed, python_of
from tests.support.cells import (
    BATCHES,
    SETTINGS,
    Cells,
    Judged,
    as_data,
    as_rows,
    codes_of,
    decoded,
    simulated,
)

SCVI = Contender("SCVI", "scvi_model", uses=("scvi-tools",), requires=("scvi-tools", "torch"))


@dataclass(frozen=True)
class Found:
    """Codes of all cells; log p(x) of held-out cells in nats, None if the method has none."""

    z: NDArray[Any]
    seconds: float
    log_p: NDArray[Any] | None = None
    note: str = ""


def pca(cells: Cells, *, sized: bool) -> Found:
    """The first principal components of log(1 + x), or of log(1 + x / size factor)."""
    x = cells.x / cells.size_factor[:, None] if sized else cells.x
    start = time.process_time()
    z = PCA(SETTINGS["latent_dim"], random_state=0).fit_transform(np.log1p(x))
    return Found(z, time.process_time() - start)


def ours(cells: Cells, given: argparse.Namespace, *, told: bool) -> Found:
    """A fit with size factors and batch if ``told``, else with neither."""
    data = as_data(cells, sized=told, told=told)
    model = "ConditionalVAE" if told else "VAE"
    own = SETTINGS if given.epochs is None else SETTINGS | {"epochs": given.epochs}
    start = time.process_time()
    run = fit(data=data, model=model, seed=given.seed, in_memory=True, quiet=True, **own)
    seconds = time.process_time() - start
    evidence = log_evidence(run.pair, run.audit, data.test, samples=given.samples)
    z = codes_of(run, as_rows(cells, data))
    note = corrected(run, z, cells) if told else ""
    return Found(z, seconds, evidence.log_p.numpy(), note)


def corrected(run: Run, z: NDArray[Any], cells: Cells) -> str:
    """Distance of cells decoded under the other batch from their true shares in each batch."""
    off = {"own": [], "other": []}  # type: dict[str, list[float]]
    for batch in range(BATCHES):
        rows = cells.batch == batch
        mean = decoded(run, z[rows], 1 - batch)
        share = np.log(mean / mean.sum(1, keepdims=True))
        for name, of in (("own", batch), ("other", 1 - batch)):
            truth = np.log(cells.share[cells.type[rows], of])
            off[name].append(float(np.sqrt(np.square(share - truth).mean())))
    there, here = np.mean(off["other"]), np.mean(off["own"])
    return (
        f"Cells decoded under the other batch are {there:.2f} from their true shares in that "
        f"batch, and {here:.2f} from those in their own batch (root mean square of log share)."
    )


def scvi(cells: Cells, given: argparse.Namespace) -> Found:
    """SCVI, in its own environment.

    Raises:
        WorkerFailed: if it cannot be installed, or fails.
    """
    data = as_data(cells)
    with tempfile.TemporaryDirectory() as folder:
        rows = {name: split.annotations.numbers for name, split in data.splits.items()}
        np.savez(
            f"{folder}/cells.npz", x=cells.x, batch=cells.batch, size_factor=cells.size_factor,
            train=rows["train"], test=rows["test"],
        )  # fmt: skip
        command = [
            *python_of(SCVI), "-m", f"{__package__}.contenders.{SCVI.module}",
            f"{folder}/cells.npz", f"{folder}/out.npz", f"--samples={given.samples}",
            f"--seed={given.seed}",
        ]  # fmt: skip
        if given.epochs is not None:
            command.append(f"--epochs={given.epochs}")
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ)
        if done.returncode:
            raise WorkerFailed((done.stderr.strip() or "no message").splitlines()[-1])
        out = np.load(f"{folder}/out.npz")
        note = f"scvi-tools {out['version']}"
        return Found(out["z"], float(out["seconds"]), out["log_p"], note)


CASES: dict[str, str] = {
    "pca": "PCA of log(1 + x)",
    "pca-sized": "PCA of log(1 + x / size factor)",
    "untold": "`VAE`, without size factors or batch",
    "told": "`ConditionalVAE`, size factors, batch given to the decoder",
    "scvi": "SCVI, size factors, batch given to the decoder",
}


def _found(name: str, cells: Cells, given: argparse.Namespace) -> Found:
    makers: dict[str, Callable[[], Found]] = {
        "pca": partial(pca, cells, sized=False),
        "pca-sized": partial(pca, cells, sized=True),
        "untold": partial(ours, cells, given, told=False),
        "told": partial(ours, cells, given, told=True),
        "scvi": partial(scvi, cells, given),
    }
    return makers[name]()


def _line(name: str, found: Found, cells: Cells) -> str:
    judged = asdict(Judged.of(found.z, cells))
    log_p = "" if found.log_p is None else _with_error(found.log_p)
    figures = " | ".join(f"{judged[key]:.3f}" for key in ("library", "batch", "type"))
    return f"| {CASES[name]} | {figures} | {log_p} | {found.seconds:.1f} |"


def _with_error(log_p: NDArray[Any]) -> str:
    return f"{log_p.mean():,.2f} +- {log_p.std(ddof=1) / len(log_p) ** 0.5:.2f}"


def _beside(scvi: NDArray[Any], told: NDArray[Any]) -> str:
    return (
        f"Log p(x) of SCVI minus that of the `ConditionalVAE`, paired by cell, is "
        f"{_with_error(scvi - told)} nats."
    )


def _table(lines: Sequence[str], notes: Sequence[str], given: argparse.Namespace) -> str:
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    command = f"python -m tests.benchmarks.cells --cells {given.cells} --genes {given.genes}"
    return "\n".join(
        [
            "# Simulated cells",
            "",
            f"`{command} --seed {given.seed}`, {date}, {machine()}; log p(x) given size factor and "
            f"batch if the method uses them, {given.samples} importance samples.",
            "",
            "| | log total: R^2 | batch: accuracy above guessing | type: adjusted Rand index | "
            "held-out log p(x), nats | CPU seconds |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
            *notes,
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit each case, and write the table after each."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.cells",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cells", type=int, default=2_000)
    parser.add_argument("--genes", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="default: that of each method")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--table", type=Path, default=Path(__file__).with_suffix(".md"))
    given = parser.parse_args(arguments)
    cells = simulated(given.cells, given.genes, given.seed)
    lines, notes, log_p = [], [], {}
    for name in given.only:
        try:
            found = _found(name, cells, given)
        except WorkerFailed as failure:
            lines.append(f"| {CASES[name]} | not run: {failure} | | | | |")
        else:
            lines.append(_line(name, found, cells))
            notes += [found.note] if found.note else []
            if name in ("told", "scvi") and found.log_p is not None:
                log_p[name] = found.log_p
                notes += [_beside(**log_p)] if len(log_p) == 2 else []
        table = _table(lines, notes, given)
        given.table.write_text(table.rstrip() + "\n")
    print(table)


if __name__ == "__main__":
    main()
