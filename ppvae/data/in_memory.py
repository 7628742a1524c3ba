"""A split that is held in memory, on one device."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self, cast, final, override

import torch
from torch import Tensor

from ppvae.data.annotations import Annotations
from ppvae.data.binarization import Binarization
from ppvae.data.scaling import AS_IS, Scaling
from ppvae.data.split import Batch, Feed, Split

# Rows binarized at a time: bounds the float noise beside a set that is stored in bytes.
_CHUNK = 4096


@final
@dataclass(frozen=True, eq=False)
class InMemorySplit(Split):
    """Rows in memory; made by :meth:`of`.

    Args:
        x: (N, *shape): bytes and truth values as they were read, anything else already scaled.
        extras: what a batch has beside ``x``, (N, ...) each; see `Split`.
        scaling: what is still to be done to ``x`` when a batch is read.
        binarization: as above.
        origin: all that was or will be done to raw values, or None of rows as they are.
        known: what is known of the rows beside.
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
        """Make a split of raw ``x``, doing once all that need not be done in each batch."""
        still = scaling or AS_IS
        if x.dtype not in (torch.uint8, torch.bool) or still.loc is not None:
            # Bytes stay bytes, a quarter of the memory; anything else gains nothing by waiting, and
            # what was not observed is 0 after it is standardized.
            x, still = still.apply(x), AS_IS
        if "mask" in extras:
            x = x.masked_fill(~extras["mask"], 0)
        known = Annotations.of(len(x)) if known is None else known
        return cls(x, extras, still, binarization, scaling, known)._settled()

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
        return replace(self, binarization=self.binarization.frozen(seed))._settled()

    def _batch(self, rows: Tensor, device: torch.device | str, binarization: Binarization) -> Batch:
        here = rows.to(self.x.device)
        x = binarization(self.scaling.apply(self.x[here].to(device)), rows)
        extras = {name: value[here].to(device) for name, value in self.extras.items()}
        return {"x": x} | extras

    def _settled(self) -> Self:
        """Return the same split, with a binarization that is fixed already done."""
        if not self.binarization.is_fixed or self.binarization.how == "none":
            return self
        binary = torch.empty(self.x.shape, dtype=torch.uint8, device=self.x.device)
        for rows in torch.split(torch.arange(len(self)), _CHUNK):
            binary[rows] = self._batch(rows, self.x.device, self.binarization)["x"].to(torch.uint8)
        return replace(self, x=binary, scaling=AS_IS, binarization=Binarization())
