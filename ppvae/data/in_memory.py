"""A split in memory, on one device."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self, cast, final, override

import torch
from torch import Tensor

from ppvae.data.annotations import Annotations
from ppvae.data.binarization import Binarization
from ppvae.data.scaling import AS_IS, Scaling
from ppvae.data.split import Batch, Feed, Split

# Rows binarized together, which bounds the float noise next to a set stored in bytes.
_CHUNK = 4096


@final
@dataclass(frozen=True, eq=False)
class InMemorySplit(Split):
    """Rows in memory; made by :meth:`of`.

    Args:
        x: (N, *shape): bytes and truth values as read, anything else already scaled.
        extras: further fields of a batch, (N, ...) each; see `Split`.
        scaling: what is still applied to ``x`` when a batch is read.
        binarization: applied after it.
        origin: the whole scaling of raw values, or None for rows given as they are.
        known: annotations of the rows.
    """

    x: Tensor
    extras: Batch
    scaling: Scaling
    binarization: Binarization
    origin: Scaling | None
    known: Annotations

    @classmethod
    def of(
        cls,
        x: Tensor,
        extras: Batch,
        scaling: Scaling | None,
        binarization: Binarization,
        known: Annotations | None = None,
    ) -> Self:
        """Make a split from raw ``x``, with everything done once that batches share."""
        x, still = scaled_once(x, scaling or AS_IS, extras.get("mask"))
        known = Annotations.of(len(x)) if known is None else known
        return cls(x, extras, still, binarization, scaling, known).settled()

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    @override
    def extra_names(self) -> tuple[str, ...]:
        return tuple(self.extras)

    @property
    @override
    def annotations(self) -> Annotations:
        return self.known

    @property
    @override
    def read_as(self) -> Scaling | None:
        return self.origin

    @property
    @override
    def beside(self) -> Batch:
        return {name: value for name, value in self.extras.items() if name != "mask"}

    @override
    def __len__(self) -> int:
        return len(self.x)

    @override
    def to(self, device: torch.device | str) -> Self:
        extras = {name: value.to(device) for name, value in self.extras.items()}
        return replace(self, x=self.x.to(device), extras=extras)

    @override
    def feed(
        self, order: Sequence[Tensor], *, device: torch.device | str = "cpu"
    ) -> Iterator[Feed]:
        return iter(order)

    @override
    def batch(self, feed: Feed) -> Batch:
        return self._batch(cast("Tensor", feed), self.x.device, self.binarization)

    @override
    def batches(
        self, order: Sequence[Tensor], *, device: torch.device | str = "cpu"
    ) -> Iterator[Batch]:
        for rows in order:
            yield self._batch(rows, device, self.binarization)

    @override
    def take(self, indices: Tensor) -> Batch:
        return self._batch(indices, self.x.device, self.binarization.frozen(0))

    @override
    def frozen(self, seed: int) -> Self:
        if self.binarization.is_fixed:
            return self
        return replace(self, binarization=self.binarization.frozen(seed)).settled()

    @override
    def with_y(self, y: Tensor) -> Self:
        return replace(self, extras=self.extras | {"y": y.to(self.x.device)})

    def _batch(self, rows: Tensor, device: torch.device | str, binarization: Binarization) -> Batch:
        here = rows.to(self.x.device)
        x = binarization(self.scaling.apply(self.x[here].to(device)), rows)
        extras = {name: value[here].to(device) for name, value in self.extras.items()}
        return {"x": x} | extras

    def settled(self) -> Self:
        """Return the same split with a fixed binarization already applied."""
        if not self.binarization.is_fixed or self.binarization.how == "none":
            return self
        binary = torch.empty(self.x.shape, dtype=torch.uint8, device=self.x.device)
        for rows in torch.split(torch.arange(len(self)), _CHUNK):
            binary[rows] = self._batch(rows, self.x.device, self.binarization)["x"].to(torch.uint8)
        return replace(self, x=binary, scaling=AS_IS, binarization=Binarization())


def scaled_once(x: Tensor, scaling: Scaling, mask: Tensor | None) -> tuple[Tensor, Scaling]:
    """Scale raw ``x`` as far as useful before the device; return it and the remaining scaling.

    Bytes stay bytes, a quarter of the memory; other types gain nothing by waiting, and unobserved
    entries are 0 after standardizing.
    """
    if x.dtype not in (torch.uint8, torch.bool) or scaling.loc is not None:
        x, scaling = scaling.apply(x), AS_IS
    return (x if mask is None else x.masked_fill(~mask, 0)), scaling
