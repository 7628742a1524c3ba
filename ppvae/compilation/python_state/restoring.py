"""Restoring of containers, attributes, closures and globals."""

from collections import deque
from types import CellType
from typing import Any, NamedTuple

from ppvae.compilation.python_state.positions import set_random_state

ABSENT = object()
"""Placeholder for a missing value."""


class Names(NamedTuple):
    """Some names of a dictionary or a class."""

    owner: Any

    def get(self) -> dict[str, Any]:
        """All values of the owner, by name."""
        return dict(vars(self.owner) if isinstance(self.owner, type) else self.owner)

    def put(self, name: str, value: Any) -> None:
        """Set a value of the owner."""
        if isinstance(self.owner, type):
            setattr(self.owner, name, value)
        else:
            self.owner[name] = value


class Slot(NamedTuple):
    """An attribute that is not in a ``__dict__``."""

    owner: Any
    name: str


def put_back(thing: Any, before: Any, *, counts: bool) -> None:
    """Restore a container, `Names`, a `Slot`, a closure's cell or a random generator.

    With ``counts`` only changed numbers and strings are restored.
    """
    if isinstance(thing, (Slot, CellType)):
        owner, name = thing if isinstance(thing, Slot) else (thing, "cell_contents")
        now = getattr(owner, name, ABSENT)
        if before is not ABSENT and _is_due(now, before, counts=counts):
            setattr(owner, name, before)
    elif isinstance(thing, Names):
        own = thing.get()
        for name, old in before.items():
            if _is_due(own.get(name, ABSENT), old, counts=counts):
                thing.put(name, old)
    elif isinstance(thing, dict):
        _put_back_dict(thing, before, counts=counts)
    elif isinstance(thing, (list, deque, set)):
        _put_back_members(thing, before, counts=counts)
    elif before is not None:
        set_random_state(thing, before)


def _put_back_dict(thing: dict[Any, Any], before: dict[Any, Any], *, counts: bool) -> None:
    if counts:
        thing.update({k: v for k, v in before.items() if _is_count(thing.get(k), v)})
    elif list(map(id, thing.values())) != list(map(id, before.values())):
        thing.clear()
        thing.update(before)


def _put_back_members(thing: Any, before: tuple[Any, ...], *, counts: bool) -> None:
    now, kept = tuple(thing), before
    if counts:
        if len(now) != len(before) or isinstance(thing, set):
            return
        kept = tuple(o if _is_count(n, o) else n for n, o in zip(now, before, strict=True))
    if list(map(id, now)) != list(map(id, kept)):
        thing.clear()
        (thing.update if isinstance(thing, set) else thing.extend)(kept)


def _is_due(now: Any, before: Any, *, counts: bool) -> bool:
    return now is not before and (not counts or _is_count(now, before))


def _is_count(now: Any, before: Any) -> bool:
    return now is not before and type(now) is type(before) and type(now) in (bool, int, float, str)
