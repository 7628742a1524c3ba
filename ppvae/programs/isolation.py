"""Isolation of functions that run Pyro programs: one at a time per process, no side effects."""

import functools
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from ppvae.errors import InputError
from ppvae.programs.streams import restored

_turn = threading.RLock()
_holder = ""


def alone[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Decorator for functions that run Pyro programs: one thread at a time, no side effects.

    Pyro's handlers and parameter store, and the seeded generators, are one per process: two fits
    in two threads would see each other's sites and draws.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        global _holder
        if not _turn.acquire(blocking=False):
            raise InputError(
                f"{function.__name__} was called while another thread of this process is in "
                f"{_holder}, and Pyro's handlers are one per process; take turns, or use one "
                "process for each"
            )
        before, _holder = _holder, function.__name__
        try:
            if before:  # nested in another such function, which restores the state
                return function(*args, **kwargs)
            with _restored(), _enough_memory():
                return function(*args, **kwargs)
        finally:
            _holder = before
            _turn.release()

    return wrapped


def in_turn[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Decorator like `alone`, but it waits for another thread instead of refusing."""
    apart = alone(function)

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with _turn:
            return apart(*args, **kwargs)

    return wrapped


@contextmanager
def _enough_memory() -> Iterator[None]:
    """Convert an out-of-memory error to one sentence."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        is_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not is_memory and "can't allocate memory" not in reason:
            raise
        raise InputError(
            f"memory ran out ({reason}); take fewer particles or draws, a smaller batch_size, or "
            "smaller networks"
        ) from error


@contextmanager
def _restored() -> Iterator[None]:
    """Restore the process-wide settings that fits and the libraries they import may change."""
    environment, path, depth = dict(os.environ), list(sys.path), sys.getrecursionlimit()
    threads = torch.get_num_threads()
    cudnn = torch.backends.cudnn
    flags = cudnn.benchmark, cudnn.deterministic
    loggers = {name: _state(logger) for name, logger in _loggers().items()}
    with warnings.catch_warnings(), restored():
        try:
            yield
        finally:
            for name, logger in _loggers().items():
                if name in loggers:
                    logger.level, logger.propagate, logger.disabled, handlers = loggers[name]
                    logger.handlers[:] = handlers
            cudnn.benchmark, cudnn.deterministic = flags
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            sys.setrecursionlimit(depth)
            sys.path[:] = path
            for name in os.environ.keys() - environment.keys():
                del os.environ[name]
            for name, value in environment.items():
                if os.environ.get(name) != value:
                    os.environ[name] = value


def _loggers() -> dict[str, logging.Logger]:
    known = logging.Logger.manager.loggerDict.items()
    return {"": logging.getLogger()} | {
        name: logger for name, logger in known if isinstance(logger, logging.Logger)
    }


def _state(logger: logging.Logger) -> tuple[int, bool, bool, list[logging.Handler]]:
    return logger.level, logger.propagate, logger.disabled, list(logger.handlers)
