"""The guard of a graph: when it is compared with its program, and for which state it is valid.

There is no list of what a program reads. Program and graph are computed on the same input, from the
same buffers, with the same noise, and their values and gradients are compared
(`ppvae.compilation.disagreement`). A program that changes Python state when it runs has no valid
graph.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pyro.poutine import runtime
from torch import nn
from torch.nn.modules import module as torch_module

from ppvae.compilation.graphs import NotStatic, drawn_elsewhere
from ppvae.compilation.python_state.snapshot import Snapshot
from ppvae.compilation.tensors import Parts

CHECK = 512
"""Calls between comparisons of a graph with its program, after the first ones."""

MOST = 8
"""Largest number of graphs of one module, after which it counts as changing with every call."""


class Unfaithful(NotStatic):
    """A program has no valid graph in any state; the message says why."""


def is_handled() -> bool:
    """Whether a handler of Pyro is active around the current call, which a graph would ignore."""
    return bool(runtime._PYRO_STACK)


class Watched:
    """A module, with all that it reaches in Python, and the number of its current state.

    Args:
        module: the program, or a module made from it.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._states: list[tuple[int, Snapshot, Parts]] = []

    def state(self) -> tuple[int, Parts]:
        """The number of the module's current state, and its parameters and buffers.

        Raises:
            NotStatic: if there were too many states.
        """
        states = self._states
        for place, (number, snapshot, parts) in enumerate(states):
            if snapshot.holds():
                if place:
                    states.insert(0, states.pop(place))
                return number, parts
        fresh, path = self._snapshot(), ""
        for place, (number, snapshot, parts) in enumerate(states):
            difference = snapshot.difference(fresh)
            if not difference:
                states.pop(place)
                states.insert(0, (number, fresh, parts))
                return number, parts
            path = path or difference
        if len(states) == MOST:
            raise NotStatic(f"its inputs or settings have changed {MOST} times, last {tidy(path)}")
        states.insert(0, (len(states), fresh, Parts(self._module)))
        return states[0][0], states[0][2]

    def run(self, program: Callable[[], Any]) -> tuple[Any, str]:
        """The result of ``program()``, and which part of the module's state it changed, or ""."""
        drawn, before = drawn_elsewhere(), self._states[0][1]
        result = program()
        if drawn != drawn_elsewhere():
            return result, "the random state of Python or NumPy"
        return result, self._moved(before)

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Context after which all changes of Python state are undone, as far as possible.

        Raises:
            NotStatic: if something was changed.
        """
        before = self._states[0][1]
        try:
            yield
        finally:
            path = self._moved(before)
            if path:
                before.put_back()
        if path:
            raise Unfaithful(_moves(path))

    def _moved(self, before: Snapshot) -> str:
        if before.holds():
            return ""
        fresh = self._snapshot()
        path = before.difference(fresh)
        if path:
            return tidy(path)
        number, _, parts = self._states[0]
        self._states[0] = (number, fresh, parts)  # the same values in new objects
        return ""

    def _snapshot(self) -> Snapshot:
        hooks = {name: v for name, v in vars(torch_module).items() if name.startswith("_global_")}
        return Snapshot({"": self._module, "torch's hooks on every module": hooks})


class Guard[Graph: Counted]:
    """The graphs of a module, by signature; decides for each call whether a graph answers alone.

    Args:
        module: the program, or a module made from it.
        check: compare graph and program every so many calls, in addition to the first ones; 0: at
            the first only.
    """

    def __init__(self, module: nn.Module, check: int) -> None:
        self.watched = Watched(module)
        self._check, self._is_settled = check, False
        self._graphs: dict[Hashable, Graph] = {}

    def get(self, signature: Hashable) -> Graph | None:
        """The graph of a signature, if there is one."""
        return self._graphs.get(signature)

    def trusts(self, graph: Graph | None) -> bool:
        """Whether a graph answers its next call without comparison; if so, the call is counted."""
        if graph is None or _is_due(graph.calls + 1, self._check):
            return False
        graph.calls += 1
        return True

    def check_number(self) -> None:
        """Refuse a further graph if there are too many.

        Raises:
            NotStatic: if there are.
        """
        if len(self._graphs) == MOST:
            raise NotStatic(f"its inputs or settings have changed {MOST} times")

    def add(self, signature: Hashable, trace: Callable[[], Graph]) -> Graph:
        """Trace a graph, which must leave the module as it is, and keep it."""
        with self.watched.untouched():
            graph = trace()
        self._graphs[signature] = graph
        return graph

    def settles(self, moved: str) -> bool:
        """Whether a call of the program was the very first, and changed state that is made once.

        ``moved`` is the changed state, or "".

        Raises:
            Unfaithful: if a later call changed something.
        """
        if moved and self._is_settled:
            raise Unfaithful(_moves(moved))
        self._is_settled = True
        return bool(moved)

    def settle(self) -> None:
        """From now on, no call counts as the first."""
        self._is_settled = True

    def clear(self) -> None:
        """Discard the graphs."""
        self._graphs.clear()


class Counted(Protocol):
    """A graph that counts its calls."""

    calls: int


def _is_due(call: int, check: int) -> bool:
    """Whether a graph is compared at call number ``call``, counted from 1; see `Guard`."""
    if check == 0:
        return call == 1
    return call <= 3 or call & (call - 1) == 0 or call % check == 0


def _moves(path: str) -> str:
    """The sentence about a program that changes state when it runs."""
    return f"running it changes {path}, which a graph would freeze"


def tidy(path: str) -> str:
    """A path in the user's terms."""
    path = path.removeprefix(".").removeprefix("module.").removeprefix("pair.")
    return path or "its structure"
