"""Positions of iterators and random generators, read without advancing them."""

import functools
import itertools
import operator
import random
import warnings
from collections.abc import Callable
from types import GeneratorType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppvae.compilation.python_state.code_names import is_library
from ppvae.compilation.python_state.leaves import PLAIN

RANDOM = (
    random.Random, np.random.Generator, np.random.RandomState, np.random.BitGenerator,
    torch.Generator,
)  # fmt: skip
"""Kinds of random generators."""

_DEPTH = 4
"""Depth of nested iterators that are inspected."""


def position_of(value: Any) -> Callable[[], Any] | None:
    """A function for the position of an iterator or random generator; ``None`` if it is neither."""
    if isinstance(value, RANDOM):
        return functools.partial(_comparable_state, value)
    if isinstance(value, GeneratorType):
        return functools.partial(_stands, value)
    is_iterator = hasattr(type(value), "__next__") and hasattr(type(value), "__iter__")
    if is_iterator and is_library(type(value).__module__) and not hasattr(value, "__dict__"):
        return functools.partial(_left, value)
    return None


def _stands(generator: Any) -> Any:
    frame = generator.gi_frame
    if frame is None:
        return None
    known = {k: v for k, v in frame.f_locals.items() if type(v) in PLAIN}
    inner = generator.gi_yieldfrom
    return frame.f_lasti, known, None if inner is None else _left(inner)


def _left(iterator: Any, depth: int = 0) -> Any:
    """The rest of an iterator, without consuming any of it."""
    if isinstance(iterator, GeneratorType):
        return _stands(iterator)
    if isinstance(iterator, itertools.count):
        return repr(iterator)
    hint = operator.length_hint(iterator, -1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated in Python
            parts = iterator.__reduce__()
    except Exception:  # such as a file, or a library's iterator, without a known position
        return hint
    return hint, [
        part if type(part) in PLAIN else _left(part, depth + 1)
        for part in itertools.chain(*(p if isinstance(p, tuple) else (p,) for p in parts[1:]))
        if type(part) in PLAIN or (hasattr(part, "__next__") and depth < _DEPTH)
    ]


def random_state(value: Any) -> Any:
    """The state of a random generator, in its own format."""
    if isinstance(value, random.Random):
        return value.getstate() if type(value) is not random.SystemRandom else None
    if isinstance(value, np.random.RandomState):
        return value.get_state(legacy=False)
    if isinstance(value, torch.Generator):
        return value.get_state()
    owner = value.bit_generator if isinstance(value, np.random.Generator) else value
    return owner.state


def _comparable_state(value: Any) -> Any:
    """The same state in a form that can be compared."""

    def comparable(state: Any) -> Any:
        if isinstance(state, dict):
            return {key: comparable(each) for key, each in state.items()}
        if isinstance(state, Tensor):
            state = state.numpy()
        return state.tobytes() if isinstance(state, np.ndarray) else state

    return comparable(random_state(value))


def set_random_state(generator: Any, state: Any) -> None:
    """Set a random generator to a `random_state`."""
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, (torch.Generator, np.random.RandomState)):
        generator.set_state(state)
    else:
        owner = generator
        if isinstance(generator, np.random.Generator):
            owner = generator.bit_generator
        owner.state = state
