"""The guard of a graph: does it still compute what its program computes?

Nothing that a program reads is listed here. Program and graph are computed on the same input, from
the same buffers, under the same noise, and their values and gradients are compared.

How far two ways to compute the same may part by rounding is known roughly for each type of numbers.
Where they part further, the program is computed once more, with weights that are off by a rounding
error: what that changes is rounding too, however large (the gradient of a bias before a batch
normalization, for one, is nothing but rounding). A rejection that turns out otherwise once in a
blue moon is forgiven: a difference counts where it shows under other noise as well.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from pyro.poutine import runtime
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn.modules import module as torch_module

from ppvae.compilation.graphs import NotStatic, drawn_elsewhere
from ppvae.compilation.parts import Parts
from ppvae.compilation.reachable import Snapshot
from ppvae.programs.streams import OpenStream, Stream, generator, set_state, state

__all__ = [
    "CHECK",
    "MOST",
    "Noise",
    "Unfaithful",
    "Values",
    "Watched",
    "disagreement",
    "is_due",
    "is_handled",
    "moves",
    "rounding",
    "tidy",
]

CHECK = 512
"""Calls between two comparisons of a graph with its program, after the first ones."""

MOST = 8
"""Graphs of one module, after which it is taken to change with every call."""

Values = list[Tensor | None]


class Unfaithful(NotStatic):
    """A program has no graph that holds, whatever is around it; the message says why."""


def is_due(call: int, check: int) -> bool:
    """Whether a graph is compared at its call number ``call``: 1, 2, 3, powers of two, and so on.

    Args:
        call: counted from 1.
        check: compare every so many calls besides; 0: at the first alone.
    """
    if check == 0:
        return call == 1
    return call <= 3 or call & (call - 1) == 0 or call % check == 0


def is_handled() -> bool:
    """Whether some handler of Pyro's is around what is called now, which a graph passes over."""
    return bool(runtime._PYRO_STACK)


class Watched:
    """A module, with all that it reaches in Python: in which of its states is it?

    Args:
        module: the program, or what is made of it.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._states: list[tuple[int, Snapshot, Parts]] = []

    def state(self) -> tuple[int, Parts]:
        """The number of the state that the module is in, and its parameters and buffers.

        Raises:
            NotStatic: if it has been in too many.
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
        """What ``program()`` gives, and what of the module's state it changed; ``""``: nothing."""
        drawn, before = drawn_elsewhere(), self._states[0][1]
        result = program()
        if drawn != drawn_elsewhere():
            return result, "the random state of Python or NumPy"
        return result, self._moved(before)

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """What is run meanwhile leaves no trace, as far as it can be put back.

        Raises:
            NotStatic: if it changed what it should not have.
        """
        before = self._states[0][1]
        try:
            yield
        finally:
            path = self._moved(before)
            if path:
                before.put_back()
        if path:
            raise Unfaithful(moves(path))

    def _moved(self, before: Snapshot) -> str:
        if before.holds():
            return ""
        fresh = self._snapshot()
        path = before.difference(fresh)
        if path:
            return tidy(path)
        number, _, parts = self._states[0]
        self._states[0] = (number, fresh, parts)  # made anew, and the same
        return ""

    def _snapshot(self) -> Snapshot:
        hooks = {name: v for name, v in vars(torch_module).items() if name.startswith("_global_")}
        return Snapshot({"": self._module, "torch's hooks on every module": hooks})


def moves(path: str) -> str:
    """The sentence about a program that changes something by running."""
    return f"running it changes {path}, which a graph would freeze"


def tidy(path: str) -> str:
    """A path in the words of whoever wrote the programs."""
    path = path.removeprefix(".").removeprefix("module.").removeprefix("pair.")
    return path or "its structure"


class Noise:
    """The state of torch's generators: the CPU's, and that of one device.

    Args:
        device: where a program draws.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._state = device, state(device)

    def go_back(self) -> None:
        """Go on from here."""
        set_state(self._device, self._state)

    def other(self, number: int) -> None:
        """Go on from somewhere else."""
        OpenStream(self._device, Stream.CHECK).at(number)


def rounding(graph: GraphModule) -> float:
    """The relative error of the coarsest numbers that a graph computes with."""
    coarsest = 0.0
    for node in graph.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0:
            error = torch.finfo(value.dtype).eps
            if value.device.type == "cuda" and value.dtype == torch.float32:
                error = _TF32
            coarsest = max(coarsest, error)
    return coarsest or torch.finfo(torch.float32).eps


_TF32 = 2.0**-10
"""CUDA may compute products of single precision with fewer digits."""

_OTHERS = (1, 2)
"""Numbers of the noises under which a difference has to show again, once at least."""

_RESPONSE = 32.0
"""So many times what a rounding error in the weights changes, rounding may change."""


def disagreement(
    eager: Callable[[Sequence[Tensor], Sequence[Tensor]], Values],
    graph: Callable[[Sequence[Tensor]], Values],
    params: Sequence[Tensor],
    begun: tuple[Noise, Sequence[Tensor]],
    found: tuple[Values, Values],
    error: float,
) -> int | None:
    """The place of the first value that a graph gives otherwise than its program; ``None``: none.

    Args:
        eager: the program: values for parameters and buffers, which it may change.
        graph: the graph: values for buffers, which it may change, at the parameters as they are.
        params: the parameters.
        begun: noise and buffers from which both were computed.
        found: what the program gave, and the graph.
        error: relative error of rounding, see `rounding`.
    """
    noise, buffers = begun

    def differ(start: Callable[[], None], one: Values, other: Values) -> int | None:
        suspect = _apart(one, other, [error**_POWER * size for size in _sizes(one)])
        if not suspect:
            return None
        start()
        nearby = eager(_nudged(params, error), _clones(buffers))
        responses = _sizes([_less(a, b) for a, b in zip(one, nearby, strict=True)])
        allowed = [
            error**_POWER * size + _RESPONSE * response
            for size, response in zip(_sizes(one), responses, strict=True)
        ]
        return next(iter(_apart(one, other, allowed)), None)

    place = differ(noise.go_back, *found)
    if place is None:
        return None
    for number in _OTHERS:

        def start(number: int = number) -> None:
            noise.other(number)

        start()
        one = eager(params, _clones(buffers))
        start()
        if differ(start, one, graph(_clones(buffers))) is not None:
            return place
    return None


_POWER = 0.58
"""Values may part by this power of the rounding error, relative to their size: by 1e-4 in single
precision, by 1e-9 in double, by 6 % in bfloat16."""


def _clones(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


def _nudged(params: Sequence[Tensor], error: float) -> list[Tensor]:
    """The parameters, each off by about a rounding error."""
    draws, nudged = generator(0), []
    for p in params:
        value = p.detach()
        if value.is_floating_point():
            signs = torch.randint(0, 2, p.shape, generator=draws).to(value) * 2 - 1
            value = value * (1 + 4 * error * signs)
        nudged.append(value.clone().requires_grad_(p.requires_grad))
    return nudged


def _norms(values: Sequence[Tensor]) -> list[float]:
    """Norms, brought to the CPU at once."""
    if not values:
        return []
    norms = [v.detach().to(_precise(v)).norm().to("cpu", torch.float64) for v in values]
    numbers: list[float] = torch.stack(norms).tolist()
    return numbers


def _sizes(values: Values) -> list[float]:
    """The norm of each value, of its finite numbers alone."""
    there = [torch.zeros(1) if v is None else v for v in values]
    return [
        norm if math.isfinite(norm) else _norms([v.nan_to_num(0.0, 0.0, 0.0)])[0]
        for norm, v in zip(_norms(there), there, strict=True)
    ]


def _precise(value: Tensor) -> torch.dtype:
    return value.dtype if value.dtype in (torch.float32, torch.float64) else torch.float32


def _less(one: Tensor | None, other: Tensor | None) -> Tensor:
    """How two values differ; one that is not there counts as zero."""
    if one is None or other is None:
        value = one if other is None else other
        return torch.zeros(1) if value is None else value.detach()
    if one.shape != other.shape:
        return torch.full((1,), torch.inf)
    one, other = one.detach().to(_precise(one)), other.detach().to(_precise(other))
    return one - other


def _less_finite(one: Tensor | None, other: Tensor | None, less: Tensor) -> Tensor:
    """The same, nothing where both are NaN, or the same infinity."""
    if one is None or other is None or one.shape != other.shape:
        return less
    return less.masked_fill((one == other) | (one.isnan() & other.isnan()), 0.0)


def _apart(one: Values, other: Values, allowed: Sequence[float]) -> list[int]:
    """Places of the values that are further apart than allowed."""
    lesses = [_less(a, b) for a, b in zip(one, other, strict=True)]
    sizes = [
        norm if math.isfinite(norm) else _norms([_less_finite(a, b, less)])[0]
        for norm, a, b, less in zip(_norms(lesses), one, other, lesses, strict=True)
    ]
    return [
        i
        for i, (size, most) in enumerate(zip(sizes, allowed, strict=True))
        if not size <= most  # nor is NaN
    ]
