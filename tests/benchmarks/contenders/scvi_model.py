"""SCVI of scvi-tools on cells: ``python -m tests.benchmarks.contenders.scvi_model CELLS OUT``.

It is run in an environment of its own, by `tests.benchmarks.cells`, on what that wrote: counts
``x``, ``size_factor``, ``batch``, and which rows are ``train`` and ``test``. Counts are negative
binomials of mean size factor times rate, with one dispersion a gene, and the batch is told to the
decoder alone, as ours are; all else is SCVI's own. It writes ``z``, the posterior means of all
cells, and ``log_p``, that of each test cell by importance sampling.
"""

import argparse
import time
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np

__all__ = ["main"]


def main() -> None:
    """Fit, embed and score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", type=int, required=True)
    parser.add_argument("--epochs", type=int, help="default: SCVI's own")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    # Not at the top: only this contender's own environment has them.
    scvi, anndata = import_module("scvi"), import_module("anndata")
    warnings.filterwarnings("ignore")
    scvi.settings.seed = given.seed
    cells = np.load(given.cells)
    of_all = anndata.AnnData(
        cells["x"].astype(np.float32),
        obs={"batch": cells["batch"].astype(str), "size_factor": cells["size_factor"]},
    )
    train, test = (of_all[cells[part]].copy() for part in ("train", "test"))
    scvi.model.SCVI.setup_anndata(train, batch_key="batch", size_factor_key="size_factor")
    model = scvi.model.SCVI(train, gene_likelihood="nb", dispersion="gene")
    start = time.process_time()
    model.train(max_epochs=given.epochs, train_size=1.0, accelerator="cpu",
                enable_progress_bar=False)  # fmt: skip
    seconds = time.process_time() - start
    log_p = model.get_marginal_ll(test, n_mc_samples=given.samples, return_mean=False)
    np.savez(
        given.out,
        z=model.get_latent_representation(of_all),
        log_p=np.asarray(log_p),
        seconds=seconds,
        version=version("scvi-tools"),
    )


if __name__ == "__main__":
    main()
