"""Snapshots of the Python state that a program reaches: attributes, containers, closures, globals.

A graph is valid as long as all of this is the same as when it was traced. That is checked in two
ways. Before each call of a graph: is everything still the same object? This takes tens of
microseconds. If not, and after each call of the program itself: has any value changed? So it is
known what a program changes when it runs.

A snapshot is never complete: a program may look up a global by a computed name, or read a file. So
a graph is also compared with its program (`ppvae.compilation.guard`).
"""

import itertools
import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ppvae.compilation.python_state.leaves import changed_key, equal
from ppvae.compilation.python_state.restoring import ABSENT, put_back
from ppvae.compilation.python_state.walk import Walk


class Snapshot:
    """All that can be reached from some roots, at present.

    Parameters and buffers of the roots' modules are left out, as they are inputs of a graph; only
    their identities are recorded.

    Args:
        roots: where to start, by the names with which paths begin.
    """

    def __init__(self, roots: Mapping[str, Any]) -> None:
        self._found = found = Walk(roots).found
        self._lengths = list(map(len, found.sized))
        self._held = list(self._holding())
        self._types = list(map(type, found.objects))
        self._versions = list(map(_version, found.tensors))
        self._answers = [ask() for ask in found.asked]

    def _holding(self) -> Iterator[Any]:
        return itertools.chain(
            itertools.chain.from_iterable(self._found.iterables),
            map(_contents, self._found.cells),
            itertools.chain.from_iterable(map(_essence, self._found.functions)),
            itertools.chain.from_iterable(map(map, self._found.gets, self._found.names)),
            itertools.starmap(_slot, self._found.slots),
        )

    def holds(self) -> bool:
        """Whether everything is still the same object, with the same content."""
        try:
            return (
                not any(self._found.empty)
                and list(map(len, self._found.sized)) == self._lengths
                and all(map(operator.is_, self._holding(), self._held))
                and all(map(operator.is_, map(type, self._found.objects), self._types))
                and list(map(_version, self._found.tensors)) == self._versions
                and [ask() for ask in self._found.asked] == self._answers
            )
        except (RuntimeError, ValueError):  # a closure was emptied, or a dictionary changed
            return False

    def difference(self, later: "Snapshot") -> str:
        """The path of the first value that differs from this in ``later``; ``""``: none."""
        for i, (one, other) in enumerate(zip(self._found.nodes, later._found.nodes, strict=False)):
            if one[:2] != other[:2]:
                return self._path(i)
            if not equal(one.leaf, other.leaf):
                return self._path(i) + changed_key(one.leaf, other.leaf)
        if len(self._found.nodes) == len(later._found.nodes):
            return ""
        longer = max(self, later, key=lambda snapshot: len(snapshot._found.nodes))
        return longer._path(min(len(self._found.nodes), len(later._found.nodes)))

    def _path(self, i: int) -> str:
        parent, label, _ = self._found.nodes[i]
        is_begin = parent < 0 or (label and label[0] not in ".[")
        return label if is_begin else self._path(parent) + label

    def modules(self) -> list[nn.Module]:
        """All torch modules that were reached."""
        return [thing for thing in self._found.objects if isinstance(thing, nn.Module)]

    def tensors(self) -> list[Tensor]:
        """All tensors that were reached and are neither parameters nor buffers of the roots."""
        return list(self._found.tensors)

    def put_back(self, *, counts: bool = False) -> None:
        """Restore containers, attributes, closures, globals and random states.

        Iterators and generators cannot be restored, nor the content of arrays and tensors. For
        ``counts`` see `preserved`.
        """
        for thing, before in self._found.copies:
            put_back(thing, before, counts=counts)


@contextmanager
def preserved(roots: Mapping[str, Any], *, counts: bool = False) -> Iterator[None]:
    """Context that restores the Python state reached from some roots, including buffers.

    Args:
        roots: programs, or modules made from them, by name.
        counts: restore only numbers, strings and buffers, as the first call created the rest.
    """
    before = Snapshot(roots)
    tensors = _copies(before)
    places = _places(before.modules())
    try:
        yield
    finally:
        with torch.no_grad():
            for own, name, value in places:
                own[name] = value
            for tensor, content in tensors:
                if tensor.shape == content.shape and not torch.equal(tensor, content):
                    tensor.copy_(content)
        before.put_back(counts=counts)


def _places(modules: Sequence[nn.Module]) -> list[tuple[dict[str, Any], str, Tensor]]:
    """Buffers, and tensors that are plain attributes, each with its place."""
    return [
        (own, name, value)
        for module in modules
        for own in (module._buffers, vars(module))
        for name, value in own.items()
        if isinstance(value, Tensor) and not is_lazy(value)
    ]


def _copies(before: Snapshot) -> list[tuple[Tensor, Tensor]]:
    """Tensors that are not parameters, each with a copy."""
    found = [value for _, _, value in _places(before.modules())] + before.tensors()
    return [(value, value.detach().clone()) for value in found]


_contents = operator.attrgetter("cell_contents")
_essence = operator.attrgetter("__code__", "__defaults__", "__kwdefaults__")


def _slot(thing: Any, name: str) -> Any:
    return getattr(thing, name, ABSENT)


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version
