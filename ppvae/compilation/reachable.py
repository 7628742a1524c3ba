"""What a program can reach in Python: attributes, containers, closures, globals that it names.

A graph holds for as long as all of this is as it was when the graph was traced. It is looked at in
two ways. Whether something is no longer the same object is asked before each call of a graph, and
costs tens of microseconds. Whether it has another value is asked where something else was found,
and around a call of the program itself, to learn what the program changes by running.

No list of this kind is complete: a program may look up a global by a word, or read a file. So a
graph is compared with its program besides (`ppvae.compilation.captured`).
"""

import dis
import functools
import itertools
import operator
import random
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
)
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Snapshot"]

_MOST = 50_000
"""Values that are looked at; what lies beyond is left to the comparison with the program."""

_LONG = 10_000
"""Length above which a container is watched by its length, and no longer element by element."""

_SAMPLE = 4_096
"""Numbers of an array that are compared, evenly over it."""

_LIBRARIES = frozenset(
    {
        "builtins", "functorch", "jax", "lightning_fabric", "matplotlib", "numpy", "numpyro",
        "pandas", "ppvae", "pyro", "scipy", "sklearn", "torch", "torchvision", "triton", "zuko",
    }
)  # fmt: skip
"""Packages whose code does not change while a program runs; what they made is looked at."""

_APART = (
    "_io", "_thread", "_weakref", "_weakrefset", "concurrent", "contextvars", "io", "logging",
    "multiprocessing", "pyro.nn.module._Context", "threading", "torch._C", "torch.distributed",
    "torch.fx", "torch.optim", "torch.utils.data", "typing", "weakref",
)  # fmt: skip
"""Modules and classes whose objects take no part in what a program computes: optimizers do not."""

_PLAIN = frozenset(
    {
        type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range,
        slice, CodeType, torch.dtype, torch.device, torch.layout, torch.memory_format,
    }
)  # fmt: skip

_ABSENT = object()


class _Node(NamedTuple):
    """A value that was reached: from where, by what, and what it is."""

    parent: int
    label: str
    leaf: tuple[Any, ...]


class Snapshot:
    """All that is reached from some roots, as it is now.

    Parameters and buffers of the roots' modules are left out, for they are inputs of a graph: of
    these it is noted which are one and the same.

    Args:
        roots: where to begin, by the words that a path begins with.
    """

    def __init__(self, roots: Mapping[str, Any]) -> None:
        self._nodes: list[_Node] = []
        # What is asked for at each check.
        self._sized: list[Any] = []
        self._empty: list[Any] = []
        self._iterables: list[Iterable[Any]] = []
        self._cells: list[Any] = []
        self._functions: list[FunctionType] = []
        self._gets: list[Callable[[str], Any]] = []
        self._names: list[tuple[str, ...]] = []
        self._slots: list[tuple[Any, str]] = []
        self._objects: list[Any] = []
        self._tensors: list[Tensor] = []
        self._asked: list[Callable[[], Any]] = []
        self._copies: list[tuple[Any, Any]] = []
        _Walk(self, roots).go()
        # The answers.
        self._lengths = list(map(len, self._sized))
        self._held = list(self._holding())
        self._types = list(map(type, self._objects))
        self._versions = list(map(_version, self._tensors))
        self._answers = [ask() for ask in self._asked]

    def _holding(self) -> Iterator[Any]:
        return itertools.chain(
            itertools.chain.from_iterable(self._iterables),
            map(_contents, self._cells),
            itertools.chain.from_iterable(map(_essence, self._functions)),
            itertools.chain.from_iterable(map(map, self._gets, self._names)),
            itertools.starmap(_slot, self._slots),
        )

    def holds(self) -> bool:
        """Whether everything is still the very same object, with the same content."""
        try:
            return (
                not any(self._empty)
                and list(map(len, self._sized)) == self._lengths
                and all(map(operator.is_, self._holding(), self._held))
                and all(map(operator.is_, map(type, self._objects), self._types))
                and list(map(_version, self._tensors)) == self._versions
                and [ask() for ask in self._asked] == self._answers
            )
        except (RuntimeError, ValueError):  # a closure was emptied, a dictionary changed meanwhile
            return False

    def difference(self, later: "Snapshot") -> str:
        """The path of the first value that differs from this in ``later``; ``""``: none does."""
        for i, (one, other) in enumerate(zip(self._nodes, later._nodes, strict=False)):
            if one[:2] != other[:2]:
                return self._path(i)
            if not _equal(one.leaf, other.leaf):
                return self._path(i) + _changed_key(one.leaf, other.leaf)
        if len(self._nodes) == len(later._nodes):
            return ""
        longer = max(self, later, key=lambda snapshot: len(snapshot._nodes))
        return longer._path(min(len(self._nodes), len(later._nodes)))

    def _path(self, i: int) -> str:
        parent, label, _ = self._nodes[i]
        is_begin = parent < 0 or (label and label[0] not in ".[")
        return label if is_begin else self._path(parent) + label

    def modules(self) -> list[nn.Module]:
        """All modules of torch's that were reached."""
        return [thing for thing in self._objects if isinstance(thing, nn.Module)]

    def put_back(self, *, counts: bool = False) -> None:
        """Make containers, attributes, closures, globals and random states what they were.

        Iterators and generators cannot be put back, nor can what arrays and tensors hold.

        Args:
            counts: put back numbers and words alone, where others are in their places: all the
                rest was made by a first call.
        """
        for thing, before in self._copies:
            _put_back(thing, before, counts=counts)


class _Walk:
    """Fills a snapshot, breadth first: the shortest path to a value is the one it is known by."""

    def __init__(self, snapshot: Snapshot, roots: Mapping[str, Any]) -> None:
        self._to = snapshot
        self._queue: deque[tuple[Any, int, str]] = deque()
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []  # whose numbers are in use
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

    def go(self) -> None:
        """Visit all there is."""
        while self._queue:
            while self._queue and len(self._to._nodes) < _MOST:
                self._visit(*self._queue.popleft())
            # Methods that some code names: the others are not run by what was reached.
            called = [method for method in self._methods if method[0] in self._named]
            self._methods = [method for method in self._methods if method[0] not in self._named]
            for _, value, parent, label in called:
                self._queue.append((value, parent, label))
            if len(self._to._nodes) >= _MOST:
                return

    def _visit(self, value: Any, parent: int, label: str) -> None:
        here, kind = len(self._to._nodes), type(value)

        def node(*leaf: Any) -> None:
            self._to._nodes.append(_Node(parent, label, leaf))

        if kind in _PLAIN or isinstance(value, (np.generic, BaseException, torch.Size)):
            node(kind, value)
            return
        if id(value) in self._seen:
            node("again", self._seen[id(value)])
            return
        self._seen[id(value)] = here
        self._alive.append(value)
        if isinstance(value, ModuleType):
            node(value.__name__)
        elif isinstance(value, type):
            node("class", value)
            self._class(value, here)
        elif isinstance(value, Tensor):
            node(*self._tensor(value))
        elif isinstance(value, np.ndarray):
            node(kind, _array(value))
            self._to._asked.append(functools.partial(_array, value))
        elif isinstance(value, (dict, list, tuple, set, frozenset, deque)):
            node(*self._container(value, here))
        elif isinstance(value, FunctionType):
            node("function", value.__code__)
            self._function(value, here)
        elif isinstance(value, (MethodType, BuiltinFunctionType)):
            owner = value.__self__
            function = value.__func__ if isinstance(value, MethodType) else value.__name__
            node("method", None if isinstance(value, MethodType) else function)
            if isinstance(value, MethodType):
                self._queue.append((function, here, ""))
            if not isinstance(owner, ModuleType):
                self._queue.append((owner, here, ""))
        elif isinstance(value, functools.partial):
            node(kind)
            self._queue += [(part, here, "") for part in (value.func, value.args, value.keywords)]
        elif isinstance(value, (property, staticmethod, classmethod, functools.cached_property)):
            node(kind)
            parts = (getattr(value, name, None) for name in ("fget", "__func__", "func"))
            self._queue += [(part, here, "") for part in parts if part is not None]
        elif (ask := _position_of(value)) is not None:
            node(kind, ask())
            self._to._asked.append(ask)
            if isinstance(value, _RANDOM):
                self._to._copies.append((value, _state_of(value)))
            if isinstance(value, GeneratorType) and value.gi_frame is not None:
                for name, child in value.gi_frame.f_locals.items():
                    self._queue.append((child, here, f".{name}"))
        elif f"{kind.__module__}.{kind.__qualname__}".startswith(_APART):
            node(kind)
        else:
            node(kind)
            self._instance(value, here)

    def _instance(self, value: Any, here: int) -> None:
        kind = type(value)
        self._to._objects.append(value)
        own = getattr(value, "__dict__", None)
        if type(own) is dict:
            self._attributes(own, here, value)
        for owner in kind.__mro__:
            slots = vars(owner).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else tuple(slots):
                child = _slot(value, name)
                self._to._slots.append((value, name))
                self._to._copies.append((_Slot(value, name), child))
                if child is not _ABSENT:
                    self._queue.append((child, here, f".{name}"))
        if not _is_library(kind.__module__):
            self._queue.append((kind, here, ""))

    def _attributes(self, own: dict[str, Any], here: int, owner: Any) -> None:
        """What an object has of its own; of a module, by the names that its users know."""
        is_library = _is_library(type(owner).__module__)
        if is_library and any(name.startswith("_cached") for name in own):
            # What a transform of torch's or Pyro's last computed, and gives no answer by.
            names = tuple(name for name in own if not name.startswith("_cached"))
            self._look_up(own, names)
            own = {name: own[name] for name in names}
        else:
            self._watch(own)
        self._to._nodes.append(_Node(here, "", ("attributes", tuple(own))))
        place = len(self._to._nodes) - 1
        for name, child in own.items():
            if name in _CHILDREN and isinstance(owner, nn.Module) and type(child) is dict:
                self._watch(child)
                self._alive.append(child)
                self._to._nodes.append(_Node(place, "", ("attributes", tuple(child))))
                inner = len(self._to._nodes) - 1
                for own_name, part in child.items():
                    self._queue.append((part, inner, f".{own_name}"))
            else:
                self._queue.append((child, place, f".{name}"))

    def _container(self, value: Any, here: int) -> tuple[Any, ...]:
        """Watch a container, and go on to what it has; what it is in itself."""
        kind, is_long = type(value), len(value) > _LONG
        if not isinstance(value, (tuple, frozenset)):
            if is_long:
                self._to._sized.append(value)
            else:
                self._watch(value)
        if not is_long and isinstance(value, dict):
            for i, (key, child) in enumerate(value.items()):
                word = repr(key) if isinstance(key, (str, int, float, bool)) else str(i)
                self._queue.append((child, here, f"[{word}]"))
                if type(key) not in _PLAIN:
                    self._queue.append((key, here, f"[{word}]"))
        elif not is_long:
            for i, child in enumerate(value):
                self._queue.append((child, here, f"[{i}]"))
        if type(own := getattr(value, "__dict__", None)) is dict and own:
            self._queue.extend((child, here, f".{name}") for name, child in own.items())
            self._watch(own)
        if not _is_library(kind.__module__):
            self._queue.append((kind, here, ""))
        if isinstance(value, dict) and not is_long:
            return kind, len(value), tuple(k if type(k) in _PLAIN else type(k) for k in value)
        if isinstance(value, (set, frozenset)) and not is_long:
            return kind, len(value), frozenset(v for v in value if type(v) in _PLAIN)
        return kind, len(value)

    def _watch(self, container: Any) -> None:
        to = self._to
        (to._sized if container else to._empty).append(container)
        if isinstance(container, dict):
            to._copies.append((container, dict(container)))
        else:
            to._copies.append((container, tuple(container)))
        if container:  # a key that changes while its value does not is left to the comparison
            is_dict = isinstance(container, dict)
            to._iterables.append(container.values() if is_dict else container)

    def _look_up(self, owner: Any, names: tuple[str, ...]) -> None:
        """Watch some names of a dictionary or a class."""
        own = owner if isinstance(owner, dict) else vars(owner)
        get = own.get
        self._to._gets.append(get)
        self._to._names.append(names)
        self._to._copies.append((_Names(owner), {name: own[name] for name in names if name in own}))

    def _tensor(self, value: Tensor) -> tuple[Any, ...]:
        if id(value) in self._inputs or isinstance(value, nn.Parameter):
            return type(value), "input"
        self._to._tensors.append(value)
        return type(value), value.requires_grad, _numbers(value)

    def _class(self, value: type, here: int) -> None:
        for owner in value.__mro__:
            if owner is not value and not _is_library(owner.__module__):
                self._queue.append((owner, here, ""))
        if _is_library(value.__module__):
            return
        own = vars(value)
        self._to._sized.append(own)
        names = tuple(
            name
            for name, child in own.items()
            if not _is_dunder(name) or isinstance(child, FunctionType)
        )
        self._look_up(value, names)
        self._to._nodes.append(_Node(here, "", ("attributes", names)))
        place = len(self._to._nodes) - 1
        for name in names:
            child, label = own[name], f".{name}"
            if isinstance(child, FunctionType) and not _is_dunder(name) and name != "forward":
                self._methods.append((name, child, place, label))
            else:
                self._queue.append((child, place, label))

    def _function(self, value: FunctionType, here: int) -> None:
        to = self._to
        to._functions.append(value)
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
            to._cells.append(cell)
            to._copies.append((cell, child))
            self._queue.append((child, here, f"closure {name!r} of {value.__name__}"))
        module = value.__globals__.get("__name__")
        if _is_library(module):
            return
        found, attributes, imported = _names_in(value.__code__)
        self._named |= attributes
        names = tuple(name for name in found if name in value.__globals__)
        self._look_up(value.__globals__, tuple(found))
        for name in names:
            child = value.__globals__[name]
            self._global(child, here, f"global {name!r}", attributes)
        for name in imported:
            self._global(sys.modules.get(name), here, f"module {name!r}", attributes)

    def _global(self, value: Any, here: int, label: str, attributes: frozenset[str]) -> None:
        """A global, or, where it is a user's module, what the code may name of it."""
        if not isinstance(value, ModuleType):
            self._queue.append((value, here, label))
        elif not _is_library(value.__name__):
            own = vars(value)
            names = tuple(sorted(name for name in attributes if name in own))
            self._look_up(own, names)
            for name in names:
                self._global(own[name], here, f"{value.__name__}.{name}", attributes - {name})


_CHILDREN = ("_parameters", "_buffers", "_modules")

_contents = operator.attrgetter("cell_contents")
_essence = operator.attrgetter("__code__", "__defaults__", "__kwdefaults__")


def _slot(thing: Any, name: str) -> Any:
    return getattr(thing, name, _ABSENT)


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


@lru_cache(maxsize=4096)
def _is_library(module: str | None) -> bool:
    top = (module or "builtins").partition(".")[0]
    return top in _LIBRARIES or top in sys.stdlib_module_names


@lru_cache(maxsize=4096)
def _names_in(code: CodeType) -> tuple[tuple[str, ...], frozenset[str], tuple[str, ...]]:
    """Globals that code names, attributes that it names, and modules that it imports."""
    found: dict[str, None] = {}
    imported: dict[str, None] = {}
    attributes = set(code.co_names)
    for instruction in dis.get_instructions(code):
        if instruction.opname.endswith(("_GLOBAL", "_NAME")):
            where = imported if instruction.opname == "IMPORT_NAME" else found
            where[instruction.argrepr.replace("NULL", "").strip(" +")] = None
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner, more, others = _names_in(constant)
            found |= dict.fromkeys(inner)
            imported |= dict.fromkeys(others)
            attributes |= more
    return tuple(found), frozenset(attributes), tuple(imported)


# Values that are compared.


def _equal(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    if one is other:
        return True
    return len(one) == len(other) and all(
        a is b or (type(a) is type(b) and bool(a == b or (a != a and b != b)))
        for a, b in zip(one, other, strict=True)
    )


def _changed_key(one: tuple[Any, ...], other: tuple[Any, ...]) -> str:
    """The attribute that one of two sets of attributes has more than the other, or ""."""
    if one[0] != "attributes" or other[0] != "attributes":
        return ""
    changed = [name for name in (*one[1], *other[1]) if (name in one[1]) != (name in other[1])]
    return f".{changed[0]}" if changed else ""


def _numbers(value: Tensor) -> tuple[Any, ...]:
    """What tells a tensor from another: type, place, and numbers of it."""
    about = (value.shape, value.dtype, value.device)
    try:
        flat = value.detach().reshape(-1)
        flat = flat[:: max(1, len(flat) // _SAMPLE)].cpu().contiguous()
        return *about, flat.view(torch.uint8).numpy().tobytes()
    except (RuntimeError, NotImplementedError, TypeError):  # sparse, or no numbers at all
        return *about, id(value)


def _array(value: Any) -> tuple[Any, ...]:
    return value.shape, value.dtype, value.flat[:: max(1, value.size // _SAMPLE)].tobytes()


def _position_of(value: Any) -> Callable[[], Any] | None:
    """What tells where an iterator or a random generator stands; ``None`` if it is neither."""
    if isinstance(value, _RANDOM):
        return functools.partial(_frozen_state, value)
    if isinstance(value, GeneratorType):
        return functools.partial(_stands, value)
    is_iterator = hasattr(type(value), "__next__") and hasattr(type(value), "__iter__")
    if is_iterator and _is_library(type(value).__module__) and not hasattr(value, "__dict__"):
        return functools.partial(_left, value)
    return None


def _stands(generator: Any) -> Any:
    frame = generator.gi_frame
    if frame is None:
        return None
    known = {k: v for k, v in frame.f_locals.items() if type(v) in _PLAIN}
    inner = generator.gi_yieldfrom
    return frame.f_lasti, known, None if inner is None else _left(inner)


def _left(iterator: Any, depth: int = 0) -> Any:
    """What is left in an iterator, without taking any of it."""
    if isinstance(iterator, GeneratorType):
        return _stands(iterator)
    if isinstance(iterator, itertools.count):
        return repr(iterator)
    hint = operator.length_hint(iterator, -1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python has begun to do without
            parts = iterator.__reduce__()
    except Exception:  # a file, an iterator of somebody's library: it does not say
        return hint
    return hint, [
        part if type(part) in _PLAIN else _left(part, depth + 1)
        for part in itertools.chain(*(p if isinstance(p, tuple) else (p,) for p in parts[1:]))
        if type(part) in _PLAIN or (hasattr(part, "__next__") and depth < _DEPTH)
    ]


_DEPTH = 4
"""Iterators within iterators that are looked into."""

_RANDOM = (
    random.Random, np.random.Generator, np.random.RandomState, np.random.BitGenerator,
    torch.Generator,
)  # fmt: skip


def _state_of(value: Any) -> Any:
    """The state of a random generator, in its own words."""
    if isinstance(value, random.Random):
        return value.getstate() if type(value) is not random.SystemRandom else None
    if isinstance(value, np.random.RandomState):
        return value.get_state(legacy=False)
    if isinstance(value, torch.Generator):
        return value.get_state()
    owner = value.bit_generator if isinstance(value, np.random.Generator) else value
    return owner.state


def _frozen_state(value: Any) -> Any:
    """The same, to compare."""

    def comparable(state: Any) -> Any:
        if isinstance(state, dict):
            return {key: comparable(each) for key, each in state.items()}
        if isinstance(state, Tensor):
            state = state.numpy()
        return state.tobytes() if isinstance(state, np.ndarray) else state

    return comparable(_state_of(value))


# Values that are put back.


class _Names(NamedTuple):
    """Some names of a dictionary or a class."""

    owner: Any

    def get(self) -> dict[str, Any]:
        return dict(vars(self.owner) if isinstance(self.owner, type) else self.owner)

    def put(self, name: str, value: Any) -> None:
        if isinstance(self.owner, type):
            setattr(self.owner, name, value)
        else:
            self.owner[name] = value


class _Slot(NamedTuple):
    """An attribute that is no item of a dictionary."""

    owner: Any
    name: str


def _put_back(thing: Any, before: Any, *, counts: bool) -> None:
    """Make ``thing`` what it was, or of it the numbers and words alone."""
    if isinstance(thing, (_Slot, CellType)):
        owner, name = thing if isinstance(thing, _Slot) else (thing, "cell_contents")
        now = getattr(owner, name, _ABSENT)
        if now is not before and before is not _ABSENT and (not counts or _is_count(now, before)):
            setattr(owner, name, before)
    elif isinstance(thing, _Names):
        own = thing.get()
        for name, old in before.items():
            now = own.get(name, _ABSENT)
            if now is not old and (not counts or _is_count(now, old)):
                thing.put(name, old)
    elif isinstance(thing, dict):
        if counts:
            changed = {k: v for k, v in before.items() if _is_count(thing.get(k), v)}
            thing.update(changed)
        elif list(map(id, thing.values())) != list(map(id, before.values())):
            thing.clear()
            thing.update(before)
    elif isinstance(thing, (list, deque, set)):
        now = tuple(thing)
        kept = before
        if counts and (len(now) != len(before) or isinstance(thing, set)):
            return
        if counts:
            kept = tuple(o if _is_count(n, o) else n for n, o in zip(now, before, strict=True))
        if list(map(id, now)) != list(map(id, kept)):
            thing.clear()
            (thing.update if isinstance(thing, set) else thing.extend)(kept)
    elif before is not None:
        _set_state(thing, before)


def _is_count(now: Any, before: Any) -> bool:
    return now is not before and type(now) is type(before) and type(now) in (bool, int, float, str)


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, (torch.Generator, np.random.RandomState)):
        generator.set_state(state)
    else:
        owner = generator
        if isinstance(generator, np.random.Generator):
            owner = generator.bit_generator
        owner.state = state
