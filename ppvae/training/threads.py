"""Number of threads of a fit on a CPU: one, if steps are too small to share.

Threads wait for each other, spinning, at the end of every operation: for small matrices this costs
more than they save, and far more under other load.
"""

import os
from typing import Any

import torch

from ppvae.errors import InputError
from ppvae.training.sizes import Sizes

_SHARED = 1e8
"""Operations of the bound per batch from which a second thread saves time on an idle machine."""

MOST = 4_096
"""More threads than any machine has cores."""


def threads_for(sizes: Sizes, device: torch.device) -> int:
    """Number of threads of a fit, by its sizes.

    ``OMP_NUM_THREADS``, or a device other than the CPU, overrides the rule.
    """
    is_small = sizes.batch * sizes.work < _SHARED
    if device.type == "cpu" and is_small and "OMP_NUM_THREADS" not in os.environ:
        return 1
    return torch.get_num_threads()


def take_threads_of_fit(recorded: Any) -> None:
    """Set torch's threads to those of the fit of a run, or fewer if there are fewer.

    ``OMP_NUM_THREADS`` overrides it.

    Args:
        recorded: threads of the fit, from ``config.yaml``.

    Raises:
        InputError: as `take_threads`.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        take_threads(min(_checked(recorded), torch.get_num_threads()))


def take_threads(count: Any) -> None:
    """Set torch's threads; `ppvae.programs.isolation.alone` restores them.

    Raises:
        InputError: if that is not a number of threads, as in a damaged ``config.yaml``.
    """
    if _checked(count) != torch.get_num_threads():
        torch.set_num_threads(count)


def _checked(count: Any) -> int:
    if type(count) is not int or not 1 <= count <= MOST:
        raise InputError(f"`threads` is {count!r}; it must be from 1 to {MOST:,}")
    return count
