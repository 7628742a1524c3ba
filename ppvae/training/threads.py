"""The number of threads of a fit on a CPU: one, where a step is too small to be shared.

Threads wait for each other at the end of every operation, and spin as they wait: what they save in
small matrices they lose there, and beside other work far more.
"""

import os
from typing import Any

import torch

from ppvae.errors import InputError
from ppvae.training.sizes import Sizes

_SHARED = 1e8
"""Operations of the bound on a batch from which on a second thread saves time, even beside none."""

MOST = 4_096
"""More threads than any machine has cores."""


def threads_for(sizes: Sizes, device: torch.device) -> int:
    """How many threads a fit takes: a rule of its sizes.

    Whoever sets ``OMP_NUM_THREADS`` has decided, and so has whoever computes elsewhere.
    """
    is_small = sizes.batch * sizes.work < _SHARED
    if device.type == "cpu" and is_small and "OMP_NUM_THREADS" not in os.environ:
        return 1
    return torch.get_num_threads()


def take_threads_of_fit(recorded: Any) -> None:
    """Have torch compute on a run with the threads of its fit, or all where these are fewer.

    Whoever sets ``OMP_NUM_THREADS`` has decided.

    Args:
        recorded: how many the fit took, as ``config.yaml`` keeps it.

    Raises:
        InputError: as `take_threads`.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        take_threads(min(_checked(recorded), torch.get_num_threads()))


def take_threads(count: Any) -> None:
    """Have torch compute with so many threads; `ppvae.programs.isolation.alone` puts it back.

    Raises:
        InputError: if that is no number of threads, as a damaged ``config.yaml`` may have it.
    """
    if _checked(count) != torch.get_num_threads():
        torch.set_num_threads(count)


def _checked(count: Any) -> int:
    if type(count) is not int or not 1 <= count <= MOST:
        raise InputError(f"`threads` is {count!r}; it must be from 1 to {MOST:,}")
    return count
