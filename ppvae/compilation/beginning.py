"""The state from which a program and its graph both start: random numbers and buffers."""

from types import TracebackType
from typing import NamedTuple

import torch
from torch import Tensor

from ppvae.compilation.graphs import NotStatic
from ppvae.compilation.tensors import Parts
from ppvae.programs.streams import OpenStream, Stream, set_state, state


class Noise:
    """The state of torch's generators: the CPU's, and that of one device."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._state = device, state(device)

    def go_back(self) -> None:
        """Restore this state."""
        set_state(self._device, self._state)

    def other(self, number: int) -> None:
        """Set another state, one for each ``number``."""
        OpenStream(self._device, Stream.CHECK).at(number)


class Begun(NamedTuple):
    """Noise and buffers before a call."""

    noise: Noise
    buffers: list[Tensor]

    @classmethod
    def now(cls, parts: Parts) -> "Begun":
        """The current ones of a module's parts."""
        return cls(Noise(parts.device), [b.detach().clone() for b in parts.buffers()])

    def copies(self) -> list[Tensor]:
        """Copies of the buffers, which may be changed."""
        return [buffer.clone() for buffer in self.buffers]

    def put_back(self, parts: Parts) -> None:
        """Restore noise and buffers."""
        self.noise.go_back()
        _fill(parts, self.buffers)


class Rerun:
    """A context in which a graph is computed from the state where its program started.

    At the end noise and buffers are those of the graph; after `NotStatic`, those of the program.

    Attributes:
        buffers: copies of the buffers at the start, which the graph may change.
    """

    def __init__(self, parts: Parts, begun: Begun) -> None:
        self._parts, self._after = parts, Noise(parts.device)
        self._drawn = self._after
        self.buffers = begun.copies()
        begun.noise.go_back()

    def computed(self) -> None:
        """Record the noise after the graph, which has just been computed."""
        self._drawn = Noise(self._parts.device)

    def __enter__(self) -> "Rerun":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is None:
            _fill(self._parts, self.buffers)
            self._drawn.go_back()
        elif issubclass(kind, NotStatic):
            self._after.go_back()


def _fill(parts: Parts, values: list[Tensor]) -> None:
    with torch.no_grad():
        for buffer, value in zip(parts.buffers(), values, strict=True):
            buffer.copy_(value)
