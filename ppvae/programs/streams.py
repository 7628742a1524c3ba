"""Random numbers: named streams, each a function of a seed, and the state of the generators.

Only this file seeds, forks or reads torch's generators, that of the CPU and that of the device, if
there is one.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum, unique
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
import torch
from pyro.util import get_rng_state, set_rng_state
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@unique
class Stream(IntEnum):
    """Names of the random streams: with one seed, all draw different numbers.

    The values are part of what a seed means: a new stream takes a new value.
    """

    TRAINING = 0
    ORDER = 1
    EVALUATION = 2
    EVIDENCE = 3
    GRADIENT_NOISE = 4
    COMPARISON = 5
    ANNEALING = 6
    GAPS = 7
    EXACT_POSTERIOR = 8
    IMPORTANCE_WEIGHTS = 9
    CHAINS = 10
    CALIBRATION = 11
    PREDICTIVE = 12
    TERMS = 13
    CODES = 14
    PRIOR_GAIN = 15
    ESTIMATORS = 16
    DATATREE = 17
    EXAMINED_ROWS = 18
    IMPUTATION = 19
    AGGREGATE_PRIOR = 20
    CHECK = 21
    EVALUATED_ROWS = 22
    BASELINES = 23
    EXAMPLES = 24
    SHOWN_ROWS = 25
    DEFICITS = 26

    def seed(self, *parts: int) -> int:
        """The seed of a part of this stream, for a generator or for a stream within this one.

        Args:
            parts: the user's seed, and the numbers of the part.
        """
        seed, *numbers = parts
        return _fold(seed, self.value, *numbers)

    def rows(self, count: int, most: int, *parts: int) -> Tensor:
        """Random numbers of ``most`` rows out of ``count``, sorted; all if there are no more.

        Files are often sorted, so that their first rows do not represent the rest.

        Args:
            count: number of rows.
            most: largest number of rows taken.
            parts: the user's seed, and the numbers of the part.
        """
        if most >= count:
            return torch.arange(count)
        chance = generator(self.seed(*parts))
        return torch.randperm(count, generator=chance)[:most].sort().values

    def begin(self, *parts: int) -> None:
        """Seed torch's generators on every device with a part of this stream, permanently."""
        torch.manual_seed(self.seed(*parts))

    @contextmanager
    def drawn(self, seed: int, device: torch.device | str = "cpu") -> Iterator["OpenStream"]:
        """Draw from this stream inside of the block; afterwards restore the generators.

        Yields:
            an `OpenStream`, which can go to a numbered part of the stream, such as one per batch.
        """
        noise = OpenStream(torch.device(device), seed, self.value)
        with forked(device):
            noise.at()
            yield noise


class OpenStream:
    """A random stream in use.

    Args:
        device: its generator is used, besides the CPU's.
        parts: numbers from which its seed is made.
    """

    def __init__(self, device: torch.device, *parts: int) -> None:
        self._device, self._parts = device, parts

    def at(self, *numbers: int) -> None:
        """Go to the part of the stream with these numbers, independent of earlier draws."""
        _seed(_fold(*self._parts, *numbers), self._device)

    def within(self, *numbers: int) -> "OpenStream":
        """A separate stream at that part, for repeated draws."""
        return OpenStream(self._device, _fold(*self._parts, *numbers))


def _fold(*parts: int) -> int:
    """One seed from several numbers; neighbouring numbers give unrelated streams."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _seed(seed: int, device: torch.device) -> None:
    """Seed the CPU's generator and the device's; ``torch.manual_seed`` would seed all devices."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        with torch.accelerator.device_index(device.index):
            torch.get_device_module(device).manual_seed(seed)


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator independent of the global ones."""
    return torch.Generator(device).manual_seed(seed)


@contextmanager
def forked(device: torch.device | str = "cpu") -> Iterator[None]:
    """Restore the generators of the CPU and of ``device`` at the end."""
    device = torch.device(device)
    on_device = [] if device.type == "cpu" else [device]
    # By default torch forks the generators of CUDA, and not those of Metal.
    kind = device.type if on_device else "cuda"
    with torch.random.fork_rng(on_device, device_type=kind):
        yield


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Draw from generators seeded with ``seed``; restore them at the end."""
    with forked(device):
        _seed(seed, torch.device(device))
        yield


def seed_process(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch, on every device, permanently."""
    pyro.set_rng_seed(seed)


@contextmanager
def restored() -> Iterator[None]:
    """Restore the generators of Python, NumPy and torch, on every device, at the end."""
    before = get_rng_state()
    accelerator = torch.accelerator.current_accelerator()
    kind = "cuda" if accelerator is None else accelerator.type
    count = 0 if accelerator is None else torch.accelerator.device_count()
    try:
        with torch.random.fork_rng(range(count), device_type=kind):
            yield
    finally:
        set_rng_state(before)


def state(device: torch.device) -> dict[str, Tensor | None]:
    """The state of the CPU's generator, and of the device's if it is another."""
    is_cpu = device.type == "cpu"
    on_device = None if is_cpu else torch.get_device_module(device).get_rng_state(device)
    return {"cpu": torch.get_rng_state(), "device": on_device}


def set_state(device: torch.device, state: Mapping[str, Any]) -> None:
    """Restore a `state`."""
    torch.set_rng_state(state["cpu"])
    if state["device"] is not None and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state["device"], device)


def gather(fabric: "Fabric") -> list[dict[str, Tensor | None]]:
    """The random state of each process; collective, so every process must call it."""
    own, device = state(fabric.device), fabric.device
    if fabric.world_size == 1:
        return [own]
    every: list[dict[str, Tensor | None]] = [{} for _ in range(fabric.world_size)]
    for name, value in own.items():
        if value is None:
            for each in every:
                each[name] = None
            continue
        here = value.to(device)
        parts = [torch.empty_like(here) for _ in every]
        torch.distributed.all_gather(parts, here)
        for each, part in zip(every, parts, strict=True):
            each[name] = part.cpu()
    return every


def restore(fabric: "Fabric", states: Sequence[Mapping[str, Any]]) -> None:
    """Set this process's state from those of `gather`; a process without one keeps its own.

    Raises:
        ValueError: if no process has one.
    """
    if not isinstance(states, list) or not states:
        raise ValueError(f"random states of no process: {states!r}")
    if fabric.global_rank < len(states):
        set_state(fabric.device, states[fabric.global_rank])
