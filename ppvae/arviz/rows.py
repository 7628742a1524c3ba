"""Rows of data in a tree: those of the run, or others that its programs can take."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ppvae.data import Batch, Split, as_split
from ppvae.distributions.support import first_outside_support
from ppvae.errors import InputError, check_at_least
from ppvae.programs.facts import Audit
from ppvae.programs.streams import Stream
from ppvae.run import Run
from ppvae.run.data import OR_OTHERS


def find_data(run: Run, data: Any) -> Split:
    """The requested data, in the shape that the run was fitted to.

    Raises:
        InputError: for data of another shape, or data that cannot become a split.
    """
    if data is None:
        return run.data(way_out=OR_OTHERS).test
    if isinstance(data, str | Path):
        return run.new_data(data)
    split = data if isinstance(data, Split) else _split(data)
    run.check_scaled_alike(split)
    if split.shape != run.data_shape:
        shape = ", ".join(("rows", *map(str, run.data_shape)))
        raise InputError(
            f"data has shape {split.shape} in each row, and the run was fitted to "
            f"{run.data_shape}; give x as ({shape})"
        )
    return split


def example(source: Split, audit: Audit, device: torch.device) -> Batch:
    """A few rows, on which the sites of the programs are found."""
    batch = take(source, np.arange(min(3, len(source))), audit)
    return {name: value.to(device) for name, value in batch.items()}


def row_numbers(rows: int | Sequence[int], size: int, seed: int) -> NDArray[np.int64]:
    """Numbers of the requested rows, out of ``size``; a number of rows is drawn by the seed.

    Raises:
        InputError: for rows that do not exist, or are requested twice.
    """
    if isinstance(rows, int | np.integer):
        check_at_least(1, rows=rows)
        return Stream.SHOWN_ROWS.rows(size, rows, seed, 0).numpy()
    numbers = np.asarray(rows, dtype=np.int64)
    if numbers.ndim != 1 or not numbers.size or len(np.unique(numbers)) < len(numbers):
        raise InputError(f"rows is {rows!r:.80}; give a number, or different numbers of rows")
    if numbers.min() < 0 or numbers.max() >= size:
        raise InputError(
            f"rows has numbers from {numbers.min()} to {numbers.max()}, and those of the data are "
            f"0 to {size - 1}"
        )
    return numbers


def take(source: Split, numbers: NDArray[np.int64], audit: Audit) -> Batch:
    """The rows with these numbers.

    Raises:
        InputError: for values outside of the likelihood's support.
    """
    batch = source.take(torch.from_numpy(numbers))
    for site, (family, support) in audit.supports.items():
        outside = first_outside_support(support, batch["x"], batch.get("mask"))
        if outside is not None:
            raise InputError(
                f"row {numbers[outside.row]} of data holds {outside.value:.4g}, and {family} (site "
                f"'{site}') does not take it; give x as the model sees it, scaled and binarized "
                "like the run's own data"
            )
    return batch


def row_labels(run: Run, batch: Batch) -> NDArray[Any] | None:
    """The label of each row: its name, or its code where codes have no names."""
    y = batch.get("y")
    if y is None or y.is_floating_point() or y.dim() > 1:
        return None
    names = run.label_names
    if names is None:
        return np.asarray(y)
    return np.array([names[i] if 0 <= i < len(names) else str(i) for i in y.tolist()])


def _split(data: Any) -> Split:
    """A batch, or its x alone, as a split."""
    if not isinstance(data, Mapping):
        data = {"x": data}
    if "x" not in data:
        raise InputError(
            f"data is a batch of {', '.join(map(str, data)) or 'nothing'}; it needs 'x'"
        )
    try:
        parts = {
            name: torch.as_tensor(data[name]).detach().cpu()
            for name in ("x", "y", "mask", "size_factor")
            if name in data
        }
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"data is {data!r:.80}, which cannot become a tensor; give an array, a batch, a "
            "split or a path"
        ) from error
    if "y" in parts:
        y = parts["y"]
        parts["y"] = y.float() if y.is_floating_point() else y.long()
    if "size_factor" in parts:
        parts["size_factor"] = parts["size_factor"].float()
    if "mask" in parts:
        parts["mask"] = parts["mask"].bool()
    sizes = {name: tuple(part.shape) for name, part in parts.items()}
    if not sizes["x"] or 0 in sizes["x"] or len({shape[:1] for shape in sizes.values()}) > 1:
        raise InputError(f"data is a batch of shapes {sizes}; its parts must have the same rows")
    return as_split(**parts)
