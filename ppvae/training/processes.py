"""Processes of a fit, each on its device."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, cast, override

import torch

from ppvae.errors import InputError
from ppvae.settings import Device, Precision
from ppvae.training.devices import fabric_precision, one_device
from ppvae.training.ranks import ranks
from ppvae.training.rendezvous import fresh_store
from ppvae.training.world import LAUNCHER, World, is_first_here

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy


START_UP = 300.0
"""Seconds that processes wait for each other at the start, since some are started by hand."""

_LONG = timedelta(days=7)
"""Maximum wait later on: `ranks` detects dead processes."""


@dataclass(frozen=True)
class Processes:
    """The processes of a fit.

    Attributes:
        devices: on each machine.
        nodes: machines.
        world: the processes of a launcher, if there is one; else this process starts those of its
            machine.
    """

    devices: int
    nodes: int
    world: World | None

    @classmethod
    def of(cls, devices: int | None, nodes: int | None, begun: tuple[int, int] = (1, 1)) -> Self:
        """The processes of a requested fit.

        Args:
            devices: processes per machine; ``None``: those of the launcher, or ``begun``.
            nodes: number of machines, with the same default.
            begun: processes per machine, and machines, of a resumed fit.

        Raises:
            InputError: if a launcher has started other numbers, or machines do not know each other.
        """
        world = World.told()
        if world is None:
            asked = cls(devices or begun[0], nodes or begun[1], None)
            _check_machines(asked.nodes)
            return asked
        for name, value, there in (
            ("devices", devices, world.local_size), ("nodes", nodes, world.nodes)
        ):  # fmt: skip
            if value not in (None, there):
                what = "processes on this machine" if name == "devices" else "machines"
                raise InputError(
                    f"`{name}` is {value}, but {world.by} has {there} {what}: leave it out, or "
                    "start as many"
                )
        if world.local_size * world.nodes != world.size:
            raise InputError(
                f"{world.by} has {world.size} processes, {world.local_size} of them on this "
                "machine, but all machines need equal numbers"
            )
        return cls(world.local_size, world.nodes, world)

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.devices * self.nodes

    @property
    def may_restart(self) -> bool:
        """Whether a launcher starts them again when one of them dies."""
        return self.world is not None and self.world.may_restart


def one_process(device: Device, precision: Precision) -> "Fabric":
    """Fabric for this process only, whatever a launcher has started."""
    return launch(device, precision, Processes(1, 1, None))


def launch(
    device: Device, precision: Precision, processes: Processes, *, oversubscribe: bool = False
) -> "Fabric":
    """Start the processes, each on its device, or join those of a launcher.

    Args:
        device: the kind of device.
        precision: precision of networks and densities; for mixed precision see
            `ppvae.networks.mixed_precision`.
        processes: the processes.
        oversubscribe: whether more processes than cores are allowed.

    Raises:
        InputError: for a device that is not available, too many processes, or a device that does
            not support the precision.
    """
    one, world, devices = one_device(device), processes.world, processes.devices
    kind = one.type
    if processes.size > 1:
        if kind == "mps":
            raise InputError(
                f"a fit of {processes.size} processes cannot share a Metal device; take "
                "`device='cpu'`, or one process"
            )
        if world is None:
            _check_no_session(devices)
        if world is None or kind != "cpu":
            _check_room(kind, devices, oversubscribe=oversubscribe)

    from lightning_fabric import Fabric  # late: it takes seconds to import

    fabric = Fabric(
        accelerator=device,
        devices=devices,
        num_nodes=processes.nodes,
        strategy=_tied_ddp(world) if processes.size > 1 else "auto",
        plugins=[_environment(world)],
        precision=fabric_precision(precision, one),
    )
    with _in_time(processes):
        fabric.launch()
    if processes.size > 1 and (world is not None or processes.nodes > 1):
        ranks.connect(fabric)
    # Equal runs give equal weights: do not choose algorithms by timing.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return fabric


def _environment(world: World | None) -> "ClusterEnvironment":
    """Fabric's view of the processes; its own detection would also accept a SLURM batch job."""
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if world is None or world.size == 1:
        return LightningEnvironment()
    return SLURMEnvironment(auto_requeue=False) if world.by == "srun" else TorchElasticEnvironment()


@contextmanager
def _in_time(processes: Processes) -> Iterator[None]:
    """End this process if the others do not join, since some may be started by hand."""

    def where() -> str:
        return f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"

    def say(sentence: str) -> None:
        if is_first_here():
            sys.stderr.write(f"{sentence}\n")
            sys.stderr.flush()

    def hint() -> None:
        say(f"waiting for the other processes, {processes.size} in all, at {where()}")

    def give_up() -> None:
        say(
            f"error: not all of {processes.size} processes joined at {where()} within "
            f"{START_UP:.0f} s; check that each machine has started its own, and can connect to "
            "that port"
        )
        os._exit(2)

    timers = [threading.Timer(10.0, hint), threading.Timer(START_UP, give_up)]
    if processes.size == 1 or (processes.nodes == 1 and processes.world is None):
        timers = []
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def _check_machines(nodes: int) -> None:
    """Refuse several machines that do not know each other."""
    names = "MASTER_ADDR", "MASTER_PORT", "NODE_RANK"
    missing = [name for name in names if name not in os.environ]
    if nodes == 1 or not missing:
        rank = os.environ.get("NODE_RANK", "0")
        if nodes > 1 and not (rank.isdecimal() and int(rank) < nodes):
            raise InputError(
                f"`nodes` is {nodes}, but NODE_RANK is {rank}: it is the number of this machine, "
                f"from 0 to {nodes - 1}"
            )
        return
    raise InputError(
        f"`nodes` is {nodes}, and the environment has no {', '.join(missing)}: start it on each "
        "machine by torchrun, or set MASTER_ADDR and MASTER_PORT to the address and a free port of "
        "the first, and NODE_RANK to the machine's number from 0; for this machine only give "
        "`nodes=1`"
    )


def _tied_ddp(world: World | None) -> "DDPStrategy":
    """Fabric's strategy for several processes, with a launcher that ends all if one dies.

    Fabric's own launcher would kill the launching process silently. Processes started by a cluster
    are managed by it. Those of ``torchrun`` meet anew each time they are started.
    """
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
    from lightning_fabric.utilities.distributed import (
        _init_dist_connection,
        _set_num_threads_if_needed,
    )

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

        @override
        def _setup_distributed(self) -> None:
            if world is not None and world.by == "torchrun":
                store = fresh_store(world.rank, world.size, _LONG)
                environment = cast("ClusterEnvironment", self.cluster_environment)
                backend = self._get_process_group_backend()
                _init_dist_connection(environment, backend, store=store, timeout=_LONG)
            super()._setup_distributed()  # which leaves a connection that there is

    return TiedDDP(timeout=_LONG)


def _check_script(devices: int) -> None:
    """Refuse several processes without a script to run."""
    import __main__

    if __main__.__spec__ is None and getattr(__main__, "__file__", None) is None:
        raise InputError(
            f"`devices` is {devices}: each process runs the script again, but there is none; "
            "write the lines to a file, or use python -m ppvae.fit"
        )


def _check_no_session(devices: int) -> None:
    """Refuse several processes in an interactive session, which they could not run again."""
    if hasattr(sys, "ps1"):
        raise InputError(
            f"`devices` is {devices}, but other processes cannot run an interactive session "
            "again; take `devices=1` here, or a script"
        )


def _check_room(kind: str, devices: int, *, oversubscribe: bool) -> None:
    """Refuse more processes than a kind of device has room for."""
    if kind != "cpu":
        count = torch.accelerator.device_count()
        if devices > count:
            raise InputError(
                f"`devices` is {devices}, but this process sees {count}; ask for no more. Under a "
                "launcher let each process see all devices of its machine (no gpus-per-task), "
                "and set LOCAL_WORLD_SIZE if you set RANK by hand"
            )
        return
    from joblib import cpu_count  # it respects affinity and container quotas

    cores = cpu_count()
    if devices > cores and not oversubscribe:
        raise InputError(
            f"`devices` is {devices}, but this process may use {cores} cores; ask for no more, or "
            "give `oversubscribe=True`"
        )
