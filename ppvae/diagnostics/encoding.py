"""Each datum encoded: loc and scale of q(z | x), log p(x), the class; as arrays and as a table."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

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
    data has it, and the codes ``label`` where they are known beside it.

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
    if rows.annotations.label is not None:
        found["label"] = rows.annotations.label.numpy()
    return found


def encoded_table(
    found: Mapping[str, NDArray[Any]], index: Any, schema: Schema, split: Any = None
) -> "DataFrame":
    """What `encoded` found as a table of one row per datum, with names.

    Columns are ``split`` where it is given; ``label``, by name, missing where it is not known;
    covariates, by name; and then what was found: of ``loc`` of three dimensions ``loc_0``,
    ``loc_1`` and ``loc_2``, of class probabilities those of each class, by its name.

    Args:
        found: what `encoded` found.
        index: names of the rows.
        schema: names of labels and covariates.
        split: the part of the data of each row.
    """
    import pandas as pd

    labels = schema.labels
    covariates = [name for each in schema.covariates for name in each.names]
    columns: dict[str, Any] = {} if split is None else {"split": split}
    for name in sorted(found, key=lambda name: name not in ("y", "label")):
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
    return pd.DataFrame(columns, index=index)
