"""Simulated cells: counts whose types, batches and library sizes are known."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from ppvae.data import Data, Split, as_split, load
from ppvae.diagnostics import embed
from ppvae.programs.generation import decode
from ppvae.run import Run

TYPES, BATCHES = 6, 2

_LAYER = {"class_path": "MLP", "init_args": {"hidden": [128]}}

SETTINGS: dict[str, Any] = {
    "likelihood": "NegativeBinomial", "latent_dim": 10, "encode_covariates": "off",
    "encoder": _LAYER, "decoder": _LAYER,
}  # fmt: skip
"""Settings under which codes of cells encode their types, and neither depth nor batch."""


@dataclass(frozen=True)
class Cells:
    """Counts of genes in cells, and the parameters of their simulation.

    Attributes:
        x: counts, ``(cells, genes)``.
        batch: of each cell, ``(cells,)``.
        type: of each cell, ``(cells,)``.
        library: the expected total of each cell, ``(cells,)``.
        share: each gene's share of a cell of a type in a batch, ``(types, batches, genes)``.
    """

    x: NDArray[np.int64]
    batch: NDArray[np.int64]
    type: NDArray[np.int64]
    library: NDArray[np.float64]
    share: NDArray[np.float64]

    @property
    def size_factor(self) -> NDArray[np.float32]:
        """Totals over their mean: 1 is an average cell."""
        total = self.x.sum(1)
        return (total / total.mean()).astype(np.float32)

    @property
    def one_hot(self) -> NDArray[np.float32]:
        """The batch as covariates, ``(cells, batches)``."""
        return np.eye(BATCHES, dtype=np.float32)[self.batch]

    def where(self, rows: Any) -> "Cells":
        """Some of the cells."""
        of_cells = {name: getattr(self, name)[rows] for name in ("x", "batch", "type", "library")}
        return replace(self, **of_cells)


def simulated(
    cells: int = 2_000, genes: int = 1_000, seed: int = 0, *, depth: float = 2.0
) -> Cells:
    """Simulate single-cell counts: negative binomials with log-normal library sizes.

    Log shares are normal over genes. A type changes one gene in ten by a normal of standard
    deviation 1.5, and a batch changes every gene by one of 0.5. Types are about equally frequent,
    and each batch has half of the cells. A cell has about ``depth`` counts per gene, with a
    standard deviation of 0.5 in the logarithm. The variance of a count with mean m is m + m^2 / r,
    where log r is normal over genes with mean log 2.
    """
    rng = np.random.default_rng(seed)
    batch, type_ = rng.integers(BATCHES, size=cells), rng.integers(TYPES, size=cells)
    markers = rng.normal(0, 1.5, (TYPES, genes)) * (rng.random((TYPES, genes)) < 0.1)
    log_share = rng.normal(0, 1, genes) + markers[:, None] + rng.normal(0, 0.5, (BATCHES, genes))
    share = np.exp(log_share)
    share /= share.sum(-1, keepdims=True)
    library = rng.lognormal(np.log(depth * genes), 0.5, cells)
    r = rng.lognormal(np.log(2), 0.5, genes)
    mean = library[:, None] * share[type_, batch]
    x = rng.poisson(rng.gamma(r, mean / r))
    return Cells(x, batch, type_, library, share)


@dataclass(frozen=True)
class Judged:
    """Scores of codes of cells: how well they encode type, batch and library size.

    Attributes:
        library: R^2 of a linear regression of the log total on the codes.
        batch: accuracy of predicting the batch from 15 nearest neighbours, in five folds, minus
            the share of the larger batch.
        type: adjusted Rand index of the types and as many k-means clusters.
    """

    library: float
    batch: float
    type: float

    @classmethod
    def of(cls, z: NDArray[Any], cells: Cells) -> Self:
        """Score codes, ``(cells, dimensions)``."""
        total = np.log(cells.x.sum(1))
        neighbours = KNeighborsClassifier(15)
        chance = np.bincount(cells.batch).max() / len(z)
        clusters = KMeans(TYPES, n_init=10, random_state=0).fit_predict(z)
        return cls(
            float(LinearRegression().fit(z, total).score(z, total)),
            float(cross_val_score(neighbours, z, cells.batch, cv=5).mean() - chance),
            float(adjusted_rand_score(cells.type, clusters)),
        )


def as_data(cells: Cells, *, sized: bool = True, told: bool = True) -> Data:
    """The cells as data of a fit.

    Args:
        cells: the cells.
        sized: with their size factors.
        told: with their batches, as covariates.
    """
    data = (cells.x, cells.one_hot) if told else cells.x
    return load(data, name="cells", size_factor="total" if sized else "none")


def as_rows(cells: Cells, data: Data) -> Split:
    """All cells in order, as the programs see them."""
    names = data.train.extra_names
    unit = data.source.size_unit if data.source is not None else None
    return as_split(
        torch.from_numpy(cells.x).float(),
        torch.from_numpy(cells.one_hot) if "y" in names else None,
        size_factor=None if unit is None else torch.from_numpy(cells.x.sum(1)).float() / unit,
    )


def codes_of(run: Run, cells: Split) -> NDArray[Any]:
    """The posterior means of a run's one latent, ``(cells, latent_dim)``."""
    return embed(run.pair, run.audit, cells).loc["z"].numpy()


def decoded(run: Run, z: NDArray[Any], batch: int) -> NDArray[Any]:
    """Mean counts of an average cell at each code, in a given batch: ``(cells, genes)``."""
    (genes,) = run.data_shape
    like = {
        "x": torch.zeros(len(z), genes),
        "y": torch.eye(BATCHES)[torch.full((len(z),), batch)],
    }
    return decode(run.pair, run.audit, like, {"z": torch.from_numpy(z)}).mean.numpy()
