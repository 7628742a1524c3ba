"""SCVI of scvi-tools on cells: ``python -m tests.benchmarks.contenders.scvi_model CELLS OUT``.

`tests.benchmarks.cells` runs it in its own environment, on a file of counts ``x``, ``size_factor``,
``batch``, and the rows ``train`` and ``test``. As in our fit, counts are negative binomials with
mean size factor times rate and one dispersion per gene, and only the decoder takes the batch. All
else is SCVI's default. It writes ``z``, the posterior means of all cells, and ``log_p`` of each
test cell by importance sampling.
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
    parser.add_argument("--epochs", type=int, help="default: that of SCVI")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    # Imported here: only this contender's environment has them.
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
