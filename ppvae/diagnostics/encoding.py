"""Encoded data: loc and scale of q(z | x), log p(x) and class, as arrays and as a table."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data import Split
from ppvae.data.options import Schema
from ppvae.diagnostics.bound.embedding import embed
from ppvae.diagnostics.evidence.importance_sampling import Weighing, log_evidence
from ppvae.programs import Pair
from ppvae.programs.classification import classify, has_classes
from ppvae.programs.facts import Audit
from ppvae.programs.streams import Stream, seeded

if TYPE_CHECKING:  # slow to import
    from pandas import DataFrame

type Array = NDArray[Any]

_CLASSES = "class_probability"

_BATCH = 128
"""Rows per batch of importance sampling."""


PIECE = 4096
"""Rows per piece: whole batches of `embed` and of `log_evidence`."""


class Encoding:
    """Encoding of rows in pieces; each piece depends on the seed only.

    Args:
        pair: model and guide.
        audit: their audit.
        rows: the data.
        samples: importance samples per datum for log p(x); 0: no log p(x).
        seed: seed of all draws.
        device: where the pair is.
    """

    def __init__(
        self,
        pair: Pair,
        audit: Audit,
        rows: Split,
        *,
        samples: int = 100,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.pair, self.audit, self.rows = pair, audit, rows
        self._samples, self._seed, self.device = samples, seed, torch.device(device)
        self._weighing: Weighing | None = None
        if audit.has_evidence and samples > 0:
            self._weighing = Weighing(pair, audit, rows, samples, _BATCH, self.device, None)

    @property
    def pieces(self) -> list[Tensor]:
        """The rows of each piece."""
        return list(torch.arange(len(self.rows)).split(PIECE))

    def piece(
        self, number: int, on_rows: Callable[[int], None] = lambda _: None
    ) -> dict[str, Array]:
        """The encoded rows of a piece: see `encoded`."""
        pair, audit, device, rows = self.pair, self.audit, self.device, self.pieces[number]
        seed = Stream.CODES.seed(self._seed, number) if number else self._seed
        embedding = embed(pair, audit, self.rows, rows, seed=seed, device=device)
        several = len(embedding.loc) > 1
        found: dict[str, Array] = {}
        for site in embedding.loc:
            suffix = f"_{site}" if several else ""
            found[f"loc{suffix}"] = embedding.loc[site].numpy()
            found[f"scale{suffix}"] = embedding.scale[site].numpy()
        if self._weighing is not None:
            first, count = number * PIECE // _BATCH, -(-len(rows) // _BATCH)
            evidence = log_evidence(
                pair, audit, self.rows, samples=self._samples, batch_size=_BATCH, seed=self._seed,
                device=device, on_rows=on_rows, weighing=self._weighing,
                batches=range(first, first + count),
            )  # fmt: skip
            found["log_p"] = evidence.log_p.numpy()
            found["log_p_error"] = evidence.error.numpy()
            found["elbo"] = evidence.elbo.numpy()
        else:
            on_rows(len(rows))
        if has_classes(audit):
            with seeded(seed, device):
                batches = self.rows.batches(rows.split(512), device=device)
                told = [classify(pair, batch).cpu() for batch in batches]
            found[_CLASSES] = torch.cat(told).numpy()
        return found


def encoded(
    encoding: Encoding, on_rows: Callable[[int], None] = lambda _: None
) -> dict[str, Array]:
    """Encode all rows, in order.

    The result has ``loc`` and ``scale``, ``(data, latent)`` each (named ``loc_SITE`` and
    ``scale_SITE`` for several latents); ``log_p``, its standard error ``log_p_error`` and ``elbo``,
    ``(data,)`` in nats, if there are samples and the guide has a density per datum;
    ``class_probability``, ``(data, classes)``, if a class is among the latents; and the `known`
    values of the rows.

    Args:
        encoding: the rows and how to encode them.
        on_rows: called with the number of rows finished, for a progress bar.
    """
    pieces = [encoding.piece(number, on_rows) for number in range(len(encoding.pieces))]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]} | known(
        encoding.rows
    )


def known(rows: Split) -> dict[str, Array]:
    """Known values of rows before they are encoded.

    ``y`` if the data has it; label codes ``label`` if known; ``row``, the number of each row in the
    file or array that it was read from, from 0; and ``name``, its name, if rows have names.
    """
    told, found = rows.annotations, {}
    if "y" in rows.beside:
        found["y"] = rows.beside["y"].cpu().numpy()
    if told.label is not None:
        found["label"] = told.label.numpy()
    found["row"] = told.numbers.numpy()
    if told.index is not None:
        found["name"] = told.index
    return found


def encoded_table(found: Mapping[str, Array], schema: Schema, index: Any = None) -> "DataFrame":
    """The result of `encoded` as a table with one row per datum, with names.

    Its index is the names of the rows, else their numbers. Columns are ``split`` if known;
    ``label``, by name, missing if unknown; covariates, by name; and then the results: ``loc_0``,
    ``loc_1`` and ``loc_2`` for a three-dimensional ``loc``, and one column per class probability,
    by name.

    Args:
        found: the result of `encoded`.
        schema: names of labels and covariates.
        index: other names of the rows.
    """
    import pandas as pd

    labels = schema.labels
    covariates = [name for each in schema.covariates for name in each.names]
    first = ("split", "y", "label")
    columns: dict[str, Any] = {}
    for name in sorted(found.keys() - {"row", "name"}, key=[*first, *found].index):
        values = found[name]
        if name in ("y", "label") and labels is not None and values.dtype.kind == "i":
            columns["label"] = pd.Categorical.from_codes(values, pd.Index(list(labels)))
        elif values.ndim == 1:
            columns[name] = values
        else:
            flat = values.reshape(len(values), -1)
            ends: Sequence[Any] = range(flat.shape[1])
            if name == _CLASSES and labels is not None:
                ends = labels
            names = [f"{name}_{end}" for end in ends]
            if name == "y" and len(covariates) == len(names):
                names = covariates
            columns |= dict(zip(names, flat.T, strict=True))
    if index is None:
        key = "name" if "name" in found else "row"
        index = pd.Index(found[key].tolist(), name=key)  # keep the type of numbers and dates
    return pd.DataFrame(columns, index=index)


def joined(parts: Mapping[str, Mapping[str, Array]]) -> tuple[dict[str, Array], Array]:
    """Results of the splits of a data set, with ``split``, in the order of its rows.

    If the splits were published, or are separate files, each has its own row numbers, and they are
    concatenated.

    Returns:
        The joined results; and the place there of each row of the concatenated splits.
    """
    found = {
        name: np.concatenate([part[name] for part in parts.values()])
        for name in next(iter(parts.values()))
    }
    found["split"] = np.repeat(list(parts), [len(part["row"]) for part in parts.values()])
    rows = found["row"]
    order = np.arange(len(rows))
    if len(parts) > 1 and len(np.unique(rows)) == len(rows):
        order = np.argsort(rows)
        found = {name: values[order] for name, values in found.items()}
    return found, np.argsort(order)
