"""Distributed training by Fabric's private launcher; its processes end with the first of them."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast, override

from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from lightning_fabric.utilities.distributed import _set_num_threads_if_needed

from ppvae.errors import InputError
from ppvae.training.ranks import LAUNCHER, ranks

if TYPE_CHECKING:
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment

__all__ = ["TiedDDP"]


class TiedDDP(DDPStrategy):
    """Fabric's strategy for several processes, with the launcher below."""

    @override
    def _configure_launcher(self) -> None:
        environment = cast("ClusterEnvironment", self.cluster_environment)
        self._launcher = _Launcher(environment, self.num_processes, self.num_nodes)


class _Launcher(_SubprocessScriptLauncher):
    """Fabric's launcher, which would kill the launching process without a word, but for its watch.

    Where a cluster has started the processes, their lives are the cluster's affair.
    """

    @override
    def launch(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        environment = self.cluster_environment
        environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not environment.creates_processes_externally:
            _check_script(self.num_processes)
            os.environ[LAUNCHER] = str(os.getpid())
            self._call_children_scripts()
            ranks.watch(self.procs)
        ranks.tie()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*args, **kwargs)


def _check_script(devices: int) -> None:
    """Refuse several processes where there is no script for them to run."""
    import __main__

    if __main__.__spec__ is None and getattr(__main__, "__file__", None) is None:
        raise InputError(
            f"`devices` is {devices}: each process starts this script anew, and there is none; "
            "write the lines to a file, or take python -m ppvae.fit"
        )
