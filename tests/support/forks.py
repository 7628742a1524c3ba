"""A process that is forked off a test: it begins with all that the test holds."""

import multiprocessing
import warnings
from collections.abc import Callable


def run_forked(target: Callable[[], object]) -> int | None:
    """Run it in a process that is forked off; how that ended, as ``Process.exitcode`` says it.

    JAX and Python warn of forks where another test has started threads: this process does no more
    than the target, and needs none of them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = multiprocessing.get_context("fork").Process(target=target)
        child.start()
        child.join()
    return child.exitcode
