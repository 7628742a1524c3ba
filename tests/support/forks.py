"""A process forked from a test, with all state of the test."""

import multiprocessing
import warnings
from collections.abc import Callable


def run_forked(target: Callable[[], object]) -> int | None:
    """Run ``target`` in a forked process, and return its ``Process.exitcode``.

    JAX and Python warn of forks if another test has started threads. The target uses none of them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = multiprocessing.get_context("fork").Process(target=target)
        child.start()
        child.join()
    return child.exitcode
