"""Default fits of tables of real numbers, compared with probabilistic PCA.

``uv run python -m tests.benchmarks.tables_of_numbers`` fits scikit-learn's wine, breast cancer and
diabetes, and a table like the Palmer penguins (`tests.support.penguins`), with
``likelihood="Gaussian"`` and all other defaults. A seed determines the order of the rows, of which
a tenth is held out, and weights and noise. The difference of log p(x), by importance sampling, to
probabilistic PCA with as many latents (at most columns - 1) is paired by row and taken from
``summary.json``. Finished fits are read. The table is written to
``tests/benchmarks/tables_of_numbers.md`` after each row: mean over seeds and its standard error.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from ppvae.data import from_arrays
from ppvae.fit import fit
from tests.benchmarks.over_seeds import over_seeds
from tests.benchmarks.provenance import provenance
from tests.support.penguins import penguins

TABLES: dict[str, Callable[[], NDArray[np.float64]]] = {
    "wine": lambda: load_wine().data,
    "breast cancer": lambda: load_breast_cancer().data,
    "diabetes": lambda: load_diabetes().data,
    "penguins-like": penguins,
}


def _summary(name: str, latents: int, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """The summary of a fit, read or fitted."""
    out: Path = given.out / f"{name.replace(' ', '-')}-{latents}-{seed}"
    if not (out / "summary.json").is_file():
        rows = np.random.default_rng(seed).permutation(TABLES[name]())
        data = from_arrays(rows[: given.rows].astype(np.float32))
        more = {} if given.epochs is None else {"epochs": given.epochs}
        fit(
            data=data, likelihood="Gaussian", latent_dim=latents, seed=seed, out=out,
            overwrite=True, device="cpu", compile="off", **more,
        )  # fmt: skip
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


def _row(name: str, latents: int, summaries: Sequence[dict[str, Any]]) -> str:
    pca = [summary["baselines"]["pca"] for summary in summaries]
    ours = [of["mean"] + of["difference"] for of in pca]
    figures = [ours, [of["mean"] for of in pca], [of["difference"] for of in pca]]
    rows, columns = TABLES[name]().shape
    cells = " | ".join(map(over_seeds, figures))
    return f"| {name} | {rows} x {columns} | {latents} | {cells} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit each table, and write the results after each."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.tables_of_numbers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--latents", type=int, nargs="+", default=[2, 20])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--rows", type=int, default=None)
    parser.add_argument("--out", type=Path, default=Path("runs/tables"))
    parser.add_argument("--table", type=Path, default=Path(__file__).with_suffix(".md"))
    given = parser.parse_args(arguments)
    source = provenance(parser.prog, arguments)
    lines = [
        "# Tables of numbers",
        "",
        f"{source}. Log p(x) in nats per "
        "datum, held out, of standardized columns; mean over seeds "
        f"{', '.join(map(str, given.seeds))} and its standard error.",
        "",
        "| table | rows x columns | latents | default fit | probabilistic PCA | difference |",
        "|---|---|---|---|---|---|",
    ]
    for latents in given.latents:
        for name in given.only:
            summaries = [_summary(name, latents, seed, given) for seed in given.seeds]
            lines.append(_row(name, latents, summaries))
            given.table.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
