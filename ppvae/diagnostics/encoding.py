"""Each datum encoded: loc and scale of q(z | x), log p(x), the class; as arrays and as a table."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ppvae.data import Split
from ppvae.data.options import Schema
from ppvae.diagnostics.bound.embedding import embed
from ppvae.diagnostics.evidence.importance_sampling import log_evidence
from ppvae.programs import Pair
from ppvae.programs.classification import classify, has_classes
from ppvae.programs.facts import Audit

if TYPE_CHECKING:  # slow to import
    from pandas import DataFrame

_CLASSES = "class_probability"


def encoded(
    pair: Pair,
    audit: Audit,
    rows: Split,
    *,
    samples: int = 100,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
) -> dict[str, NDArray[Any]]:
    """Encode each row, in the order of the rows.

    The result has ``loc`` and ``scale``, ``(data, latent)`` each (named ``loc_SITE`` and
    ``scale_SITE`` where there are several latents); ``log_p``, its standard error ``log_p_error``
    and ``elbo``, ``(data,)`` in nats, where there are samples and the guide has a density by datum;
    ``class_probability``, ``(data, classes)``, where a class is among the latents; ``y`` where the
    data has it, and the codes ``label`` where they are known beside it. ``row`` is the number of
    each row in the file or array that it was read from, from 0, and ``name`` its name, where rows
    have such.

    Args:
        pair: model and guide.
        audit: what the audit found of them.
        rows: the data.
        samples: importance samples for log p(x) of each datum; 0: no log p(x).
        seed: of all draws.
        device: where the pair is.
        on_rows: called with the number of rows finished, for a progress bar.
    """
    embedding = embed(pair, audit, rows, seed=seed, device=device)
    several = len(embedding.loc) > 1
    found: dict[str, NDArray[Any]] = {}
    for site in embedding.loc:
        suffix = f"_{site}" if several else ""
        found[f"loc{suffix}"] = embedding.loc[site].numpy()
        found[f"scale{suffix}"] = embedding.scale[site].numpy()
    if audit.has_evidence and samples > 0:
        evidence = log_evidence(
            pair, audit, rows, samples=samples, seed=seed, device=device, on_rows=on_rows
        )
        found["log_p"] = evidence.log_p.numpy()
        found["log_p_error"] = evidence.error.numpy()
        found["elbo"] = evidence.elbo.numpy()
    if has_classes(audit):
        told = [classify(pair, batch).cpu() for batch in rows.chunks(512, device)]
        found[_CLASSES] = torch.cat(told).numpy()
    if "y" in rows.extra_names:
        found["y"] = torch.cat([batch["y"] for batch in rows.chunks(4096)]).numpy()
    known = rows.annotations
    if known.label is not None:
        found["label"] = known.label.numpy()
    found["row"] = known.numbers.numpy()
    if known.index is not None:
        found["name"] = known.index
    return found


def encoded_table(
    found: Mapping[str, NDArray[Any]], schema: Schema, index: Any = None
) -> "DataFrame":
    """What `encoded` found as a table of one row per datum, with names.

    Its index is the names of the rows, else their numbers. Columns are ``split`` where it is known;
    ``label``, by name, missing where it is not known; covariates, by name; and then what was found:
    of ``loc`` of three dimensions ``loc_0``, ``loc_1`` and ``loc_2``, of class probabilities those
    of each class, by its name.

    Args:
        found: what `encoded` found.
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
        index = pd.Index(found[key].tolist(), name=key)  # numbers and dates as what they are
    return pd.DataFrame(columns, index=index)


def joined(parts: Mapping[str, Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """What `encoded` found in parts of one data set, with ``split``, in the order of its rows.

    Where the parts were published, or came in files of their own, each has its own numbers, and one
    part follows the other.
    """
    found = {
        name: np.concatenate([part[name] for part in parts.values()])
        for name in next(iter(parts.values()))
    }
    found["split"] = np.repeat(list(parts), [len(part["row"]) for part in parts.values()])
    rows = found["row"]
    if len(parts) > 1 and len(np.unique(rows)) == len(rows):
        order = np.argsort(rows)
        found = {name: values[order] for name, values in found.items()}
    return found
