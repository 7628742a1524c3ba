"""Models that count their calls in Python state, which a graph could freeze."""

import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from tests.support.python_state import Model

__all__ = ["COUNTERS", "Counter"]


class Counter(NamedTuple):
    """A model that counts, and the name of its kind of counter; ``""``: a buffer of the graph."""

    make: Callable[[], nn.Module]
    path: str


def counting(thing: Callable[[], Any], turn: Callable[[Any], Any]) -> Callable[[], nn.Module]:
    """A model with an attribute that it changes at each call."""

    def make() -> nn.Module:
        model = Model(lambda self: turn(self.n))
        model.n = thing()
        return model

    return make


def threshold(n: list[int]) -> float:
    n[0] += 1
    return 1.0 if n[0] < 5 else 0.2


def stored(self: Any) -> float:
    self.calls += 1
    return 1.0 if self.calls < 5 else 0.2


def by_attribute() -> nn.Module:
    model = Model(stored)
    model.calls = 0
    return model


def generator() -> Iterator[float]:
    for i in itertools.count():
        yield 1.0 if i < 5 else 0.2


def wrapped(self: Any) -> float:
    global CALLS
    CALLS += 1
    return 1.0 if CALLS < 5 else 0.2


CALLS = 0


def by_a_global() -> nn.Module:
    global CALLS
    CALLS = 0
    return Model(wrapped)


def by_a_closure() -> nn.Module:
    count = 0

    def factor(self: Any) -> float:
        nonlocal count
        count += 1
        return 1.0 if count < 5 else 0.2

    return Model(factor)


def by_the_class() -> nn.Module:
    class Counted(Model):
        calls = 0

        def __init__(self) -> None:
            super().__init__(lambda _: stored(Counted))

    return Counted()


def by_a_function() -> nn.Module:
    def factor(self: Any) -> float:
        return stored(factor)

    cast("Any", factor).calls = 0
    return Model(factor)


def by_a_buffer(*, in_place: bool) -> Callable[[], nn.Module]:
    def factor(self: Any) -> Tensor:
        if in_place:
            self.count += 1
        else:
            self.count = self.count + 1
        return torch.where(self.count < 5, 1.0, 0.2)

    def make() -> nn.Module:
        model = Model(factor)
        model.register_buffer("count", torch.zeros(()))
        return model

    return make


def tick(value: float) -> float:
    return 1.0 if value < 5 else 0.2


COUNTERS: dict[str, Counter] = {
    "list": Counter(counting(lambda: [0], threshold), "model.n[0]"),
    "attribute": Counter(by_attribute, "model.calls"),
    "count": Counter(counting(itertools.count, lambda n: tick(next(n))), "model.n"),
    "cycle": Counter(counting(lambda: itertools.cycle([1.0, 0.2]), next), "model.n"),
    "list iterator": Counter(
        counting(lambda: iter([float(i) for i in range(99)]), lambda n: tick(next(n))), "model.n"
    ),
    "generator": Counter(counting(generator, next), "model.n"),
    "random.Random": Counter(counting(lambda: random.Random(0), lambda n: n.random()), "model.n"),
    "NumPy's generator": Counter(
        counting(lambda: np.random.default_rng(0), lambda n: float(n.random())), "model.n"
    ),
    "deque": Counter(
        counting(lambda: deque([1.0, 0.2, 0.7]), lambda n: n.rotate() or n[0]), "model.n[0]"
    ),
    "list that grows": Counter(counting(list, lambda n: n.append(0) or tick(len(n))), "model.n"),
    "global": Counter(by_a_global, "global 'CALLS'"),
    "closure": Counter(by_a_closure, "closure 'count' of factor"),
    "class": Counter(by_the_class, "model.calls"),
    "function": Counter(by_a_function, "model._factor.calls"),
    "buffer": Counter(by_a_buffer(in_place=True), ""),
    "buffer put anew": Counter(by_a_buffer(in_place=False), ""),
}
