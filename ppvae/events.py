"""The rows of ``metrics.csv`` as TensorBoard events."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Events"]


class Events:
    """A writer of events.

    Args:
        folder: the run directory; events go to its folder ``tensorboard``.
        step: steps taken before: what a killed process wrote of later ones is not shown.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the figures of some rows."""
        for row in rows:
            for name in (
                "elbo", "reconstruction", "kl", "objective", "beta", "lr", "active_units"
            ):  # fmt: skip
                if row[name] is not None:
                    self._writer.add_scalar(f"{name}/{row['split']}", row[name], row["step"])

    def close(self) -> None:
        """Write what is left, and close."""
        self._writer.close()
