"""The processes of one fit: as many as there is room for, each on its device."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast, override

import torch

from ppvae.errors import InputError
from ppvae.settings import Device, Precision
from ppvae.training.devices import fabric_precision, one_device
from ppvae.training.ranks import LAUNCHER, ranks

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy


def launch(
    device: Device, devices: int, precision: Precision, *, oversubscribe: bool = False
) -> "Fabric":
    """Start as many processes as there are to be, each on its device.

    Args:
        device: the kind of device.
        devices: number of processes.
        precision: of networks and densities; mixed precision is `ppvae.networks.mixed_precision`'s.
        oversubscribe: whether there may be more processes than cores.

    Raises:
        InputError: for a device that is not there, more processes than there is room for, or a
            device that cannot compute in that precision.
    """
    one = one_device(device)
    kind, word = one.type, fabric_precision(precision, one)
    if devices > 1:
        _check_no_session(devices)
        _check_room(kind, devices, oversubscribe=oversubscribe)

    from lightning_fabric import Fabric  # late: it takes seconds to import

    fabric = Fabric(
        accelerator=device,
        devices=devices,
        strategy=_tied_ddp() if devices > 1 else "auto",
        precision=word,
    )
    fabric.launch()
    # Equal runs give equal weights: the fastest algorithm is not chosen by timing it.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return fabric


def _tied_ddp() -> "DDPStrategy":
    """Fabric's strategy for several processes, with a launcher that ties their lives.

    Fabric's own would kill the launching process without a word. Where a cluster has started the
    processes, their lives are the cluster's affair.
    """
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
    from lightning_fabric.utilities.distributed import _set_num_threads_if_needed

    class Launcher(_SubprocessScriptLauncher):
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

    class TiedDDP(DDPStrategy):
        @override
        def _configure_launcher(self) -> None:
            environment = cast("ClusterEnvironment", self.cluster_environment)
            self._launcher = Launcher(environment, self.num_processes, self.num_nodes)

    return TiedDDP()


def _check_script(devices: int) -> None:
    """Refuse several processes where there is no script for them to run."""
    import __main__

    if __main__.__spec__ is None and getattr(__main__, "__file__", None) is None:
        raise InputError(
            f"`devices` is {devices}: each process starts this script anew, and there is none; "
            "write the lines to a file, or take python -m ppvae.fit"
        )


def _check_no_session(devices: int) -> None:
    """Refuse several processes in an interactive session, of which they could not start anew."""
    if hasattr(sys, "ps1"):
        raise InputError(
            f"`devices` is {devices}, and this is an interactive session, of which each process "
            "would have to start anew; take `devices=1` here, or a script"
        )


def _check_room(kind: str, devices: int, *, oversubscribe: bool) -> None:
    """Refuse more processes than a kind of device has room for."""
    if kind != "cpu":
        count = torch.accelerator.device_count()
        if devices > count:
            raise InputError(f"`devices` is {devices}, and there are {count}; ask for no more")
        return
    from joblib import cpu_count  # it knows of affinity, and of a container's quota

    cores = cpu_count()
    if devices > cores and not oversubscribe:
        raise InputError(
            f"`devices` is {devices}, and this process may use {cores} cores; ask for no more, or "
            "give `oversubscribe=True`"
        )
