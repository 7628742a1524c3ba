"""A walk through all that a program can reach: attributes, containers, closures, globals."""

import functools
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import BuiltinFunctionType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ppvae.compilation.python_state import leaves
from ppvae.compilation.python_state.code_names import is_dunder, is_library, names_in
from ppvae.compilation.python_state.leaves import LONG, PLAIN
from ppvae.compilation.python_state.positions import RANDOM, position_of, random_state
from ppvae.compilation.python_state.restoring import ABSENT, Names, Slot

_MOST = 50_000
"""Largest number of values visited; the comparison with the program has to find the others."""

_APART = (
    "_io", "_thread", "_weakref", "_weakrefset", "concurrent", "contextvars", "io", "logging",
    "multiprocessing", "pyro.nn.module._Context", "threading", "torch._C", "torch.distributed",
    "torch.fx", "torch.optim", "torch.utils.data", "typing", "weakref",
)  # fmt: skip
"""Modules and classes whose objects do not affect what a program computes, such as optimizers."""

_CHILDREN = ("_parameters", "_buffers", "_modules")


class Node(NamedTuple):
    """A value that was reached: its parent, the step from there, and its content."""

    parent: int
    label: str
    leaf: tuple[Any, ...]


class Reached:
    """The values found by a walk, in lists by the way they are checked again.

    Attributes:
        nodes: every value, in the order of the walk.
        sized: containers whose length is checked.
        empty: containers that must stay empty.
        iterables: containers whose members are checked.
        cells: of closures.
        functions: whose code and defaults are checked.
        gets: the ``get`` method of each dictionary in which names are looked up.
        names: those names.
        slots: attributes that are not in a ``__dict__``.
        objects: whose class is checked.
        tensors: whose version is checked.
        asked: functions whose results are checked.
        copies: things that can be restored, each with its content.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.sized: list[Any] = []
        self.empty: list[Any] = []
        self.iterables: list[Iterable[Any]] = []
        self.cells: list[Any] = []
        self.functions: list[FunctionType] = []
        self.gets: list[Callable[[str], Any]] = []
        self.names: list[tuple[str, ...]] = []
        self.slots: list[tuple[Any, str]] = []
        self.objects: list[Any] = []
        self.tensors: list[Tensor] = []
        self.asked: list[Callable[[], Any]] = []
        self.copies: list[tuple[Any, Any]] = []


class Walk:
    """Visits all values from some roots, breadth first: the path of a value is its shortest one.

    Args:
        roots: where to start, by the names with which paths begin.

    Attributes:
        found: the values that were reached.
    """

    def __init__(self, roots: Mapping[str, Any]) -> None:
        self.found = Reached()
        self._queue: deque[tuple[Any, int, str]] = deque()
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []  # keeps objects alive whose ids are in use
        self._named: set[str] = set()
        self._methods: list[tuple[str, Any, int, str]] = []
        self._inputs = {
            id(value)
            for root in roots.values()
            if isinstance(root, nn.Module)
            for module in root.modules()
            for own in (module._parameters, module._buffers, vars(module))
            for value in own.values()
            if isinstance(value, Tensor)
        }
        for label, root in roots.items():
            self._queue.append((root, -1, label))
        self._go()

    def _go(self) -> None:
        while self._queue:
            while self._queue and len(self.found.nodes) < _MOST:
                self._visit(*self._queue.popleft())
            # Only methods that some code names; the reached code runs no others.
            called = [method for method in self._methods if method[0] in self._named]
            self._methods = [method for method in self._methods if method[0] not in self._named]
            for _, value, parent, label in called:
                self._queue.append((value, parent, label))
            if len(self.found.nodes) >= _MOST:
                return

    def _visit(self, value: Any, parent: int, label: str) -> None:
        nodes, kind = self.found.nodes, type(value)
        enter: Callable[[Any, int], None] | None = None
        here = len(nodes)
        if kind in PLAIN or isinstance(value, (np.generic, BaseException, torch.Size)):
            leaf: tuple[Any, ...] = (kind, value)
        elif id(value) in self._seen:
            leaf = ("again", self._seen[id(value)])
        else:
            self._seen[id(value)] = here
            self._alive.append(value)
            leaf, enter = self._read(value)
        nodes.append(Node(parent, label, leaf))
        if enter is not None:
            enter(value, here)

    def _read(self, value: Any) -> tuple[tuple[Any, ...], Callable[[Any, int], None] | None]:
        """The content of a value, and the method that visits the values in it."""
        kind = type(value)
        if isinstance(value, ModuleType):
            return (value.__name__,), None
        if isinstance(value, type):
            return ("class", value), self._class
        if isinstance(value, Tensor):
            return self._tensor(value), None
        if isinstance(value, np.ndarray):
            self.found.asked.append(functools.partial(leaves.array, value))
            return (kind, leaves.array(value)), None
        if isinstance(value, (dict, list, tuple, set, frozenset, deque)):
            return leaves.container(value), self._container
        if isinstance(value, FunctionType):
            return ("function", value.__code__), self._function
        if isinstance(value, (MethodType, BuiltinFunctionType)):
            name = None if isinstance(value, MethodType) else value.__name__
            return ("method", name), self._method
        if isinstance(value, functools.partial):
            return (kind,), self._partial
        if isinstance(value, (property, staticmethod, classmethod, functools.cached_property)):
            return (kind,), self._descriptor
        if (ask := position_of(value)) is not None:
            self.found.asked.append(ask)
            return (kind, ask()), self._iterator
        if f"{kind.__module__}.{kind.__qualname__}".startswith(_APART):
            return (kind,), None
        return (kind,), self._instance

    def _method(self, value: Any, here: int) -> None:
        if isinstance(value, MethodType):
            self._queue.append((value.__func__, here, ""))
        if not isinstance(value.__self__, ModuleType):
            self._queue.append((value.__self__, here, ""))

    def _partial(self, value: Any, here: int) -> None:
        self._queue += [(part, here, "") for part in (value.func, value.args, value.keywords)]

    def _descriptor(self, value: Any, here: int) -> None:
        parts = (getattr(value, name, None) for name in ("fget", "__func__", "func"))
        self._queue += [(part, here, "") for part in parts if part is not None]

    def _iterator(self, value: Any, here: int) -> None:
        if isinstance(value, RANDOM):
            self.found.copies.append((value, random_state(value)))
        if isinstance(value, GeneratorType) and value.gi_frame is not None:
            for name, child in value.gi_frame.f_locals.items():
                self._queue.append((child, here, f".{name}"))

    def _instance(self, value: Any, here: int) -> None:
        kind = type(value)
        self.found.objects.append(value)
        own = getattr(value, "__dict__", None)
        if type(own) is dict:
            self._attributes(own, here, value)
        for owner in kind.__mro__:
            slots = vars(owner).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else tuple(slots):
                child = getattr(value, name, ABSENT)
                self.found.slots.append((value, name))
                self.found.copies.append((Slot(value, name), child))
                if child is not ABSENT:
                    self._queue.append((child, here, f".{name}"))
        if not is_library(kind.__module__):
            self._queue.append((kind, here, ""))

    def _attributes(self, own: dict[str, Any], here: int, owner: Any) -> None:
        """The attributes of an object; those of a module by the names that users know."""
        caches = any(name.startswith("_cached") for name in own)
        if caches and is_library(type(owner).__module__):
            # The last result of a transform of torch's or Pyro's, which affects no other result.
            names = tuple(name for name in own if not name.startswith("_cached"))
            self._look_up(own, names)
            own = {name: own[name] for name in names}
        else:
            self._watch(own)
        self.found.nodes.append(Node(here, "", ("attributes", tuple(own))))
        place = len(self.found.nodes) - 1
        for name, child in own.items():
            if name in _CHILDREN and isinstance(owner, nn.Module) and type(child) is dict:
                self._watch(child)
                self._alive.append(child)
                self.found.nodes.append(Node(place, "", ("attributes", tuple(child))))
                inner = len(self.found.nodes) - 1
                for own_name, part in child.items():
                    self._queue.append((part, inner, f".{own_name}"))
            else:
                self._queue.append((child, place, f".{name}"))

    def _container(self, value: Any, here: int) -> None:
        """Watch a container, and visit its members."""
        kind, is_long = type(value), len(value) > LONG
        if not isinstance(value, (tuple, frozenset)):
            if is_long:
                self.found.sized.append(value)
            else:
                self._watch(value)
        if not is_long and isinstance(value, dict):
            for i, (key, child) in enumerate(value.items()):
                word = repr(key) if isinstance(key, (str, int, float, bool)) else str(i)
                self._queue.append((child, here, f"[{word}]"))
                if type(key) not in PLAIN:
                    self._queue.append((key, here, f"[{word}]"))
        elif not is_long:
            for i, child in enumerate(value):
                self._queue.append((child, here, f"[{i}]"))
        if type(own := getattr(value, "__dict__", None)) is dict and own:
            self._queue.extend((child, here, f".{name}") for name, child in own.items())
            self._watch(own)
        if not is_library(kind.__module__):
            self._queue.append((kind, here, ""))

    def _watch(self, container: Any) -> None:
        to = self.found
        (to.sized if container else to.empty).append(container)
        if isinstance(container, dict):
            to.copies.append((container, dict(container)))
        else:
            to.copies.append((container, tuple(container)))
        if container:  # a changed key with the same value is left to the comparison
            is_dict = isinstance(container, dict)
            to.iterables.append(container.values() if is_dict else container)

    def _look_up(self, owner: Any, names: tuple[str, ...]) -> None:
        """Watch some names of a dictionary or a class."""
        own = owner if isinstance(owner, dict) else vars(owner)
        self.found.gets.append(own.get)
        self.found.names.append(names)
        self.found.copies.append((Names(owner), {name: own[name] for name in names if name in own}))

    def _tensor(self, value: Tensor) -> tuple[Any, ...]:
        if id(value) in self._inputs or isinstance(value, nn.Parameter):
            return type(value), "input"
        self.found.tensors.append(value)
        return type(value), value.requires_grad, leaves.numbers(value)

    def _class(self, value: type, here: int) -> None:
        for owner in value.__mro__:
            if owner is not value and not is_library(owner.__module__):
                self._queue.append((owner, here, ""))
        if is_library(value.__module__):
            return
        own = vars(value)
        self.found.sized.append(own)
        names = tuple(
            name
            for name, child in own.items()
            if not is_dunder(name) or isinstance(child, FunctionType)
        )
        self._look_up(value, names)
        self.found.nodes.append(Node(here, "", ("attributes", names)))
        place = len(self.found.nodes) - 1
        for name in names:
            child, label = own[name], f".{name}"
            if isinstance(child, FunctionType) and not is_dunder(name) and name != "forward":
                self._methods.append((name, child, place, label))
            else:
                self._queue.append((child, place, label))

    def _function(self, value: FunctionType, here: int) -> None:
        to = self.found
        to.functions.append(value)
        for child in (value.__defaults__, value.__kwdefaults__):
            if child:
                self._queue.append((child, here, ""))
        if own := vars(value):
            self._watch(own)
            self._queue.extend((child, here, f".{name}") for name, child in own.items())
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                child = cell.cell_contents
            except ValueError:  # not filled yet
                continue
            to.cells.append(cell)
            to.copies.append((cell, child))
            self._queue.append((child, here, f"closure {name!r} of {value.__name__}"))
        module = value.__globals__.get("__name__")
        if is_library(module):
            return
        found, attributes, imported = names_in(value.__code__)
        self._named |= attributes
        names = tuple(name for name in found if name in value.__globals__)
        self._look_up(value.__globals__, tuple(found))
        for name in names:
            child = value.__globals__[name]
            self._global(child, here, f"global {name!r}", attributes)
        for name in imported:
            self._global(sys.modules.get(name), here, f"module {name!r}", attributes)

    def _global(self, value: Any, here: int, label: str, attributes: frozenset[str]) -> None:
        """A global or, for a user's module, its names that the code may use."""
        if not isinstance(value, ModuleType):
            self._queue.append((value, here, label))
        elif not is_library(value.__name__):
            own = vars(value)
            names = tuple(sorted(name for name in attributes if name in own))
            self._look_up(own, names)
            for name in names:
                self._global(own[name], here, f"{value.__name__}.{name}", attributes - {name})
