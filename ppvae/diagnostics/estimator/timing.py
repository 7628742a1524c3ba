"""Timing of estimates, in turns, so that other load affects all of them."""

import math
import time
from collections.abc import Hashable, Mapping, Sequence

import torch

from ppvae.bounds.objective import Bound
from ppvae.data import Batch
from ppvae.programs import Pair, evaluating
from ppvae.programs.streams import Stream


def now(device: torch.device) -> float:
    """Time in seconds, after all work of the device is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def gradient_times[K: Hashable](
    pair: Pair, bounds: Mapping[K, Bound], batch: Batch, rounds: int, seed: int
) -> dict[K, list[float]]:
    """Milliseconds of value and gradient in each round, after one warm-up round."""
    weights = [p for p in pair.parameters() if p.requires_grad]
    device = batch["x"].device
    times: dict[K, list[float]] = {key: [] for key in bounds}
    keys = list(bounds)
    with evaluating(pair), torch.enable_grad(), Stream.ESTIMATORS.drawn(seed, device):
        for number in range(rounds + 1):
            # Back and forth, so that a drift within a round favours none.
            for key in keys if number % 2 else reversed(keys):
                start = now(device)
                objective = bounds[key](batch).objective
                torch.autograd.grad(objective, weights, allow_unused=True)
                if number:
                    times[key].append(1e3 * (now(device) - start))
    return times


def median(sample: Sequence[float]) -> tuple[float, float]:
    """Median, and its standard error for normal values, from their quartiles."""
    values = torch.tensor(sample, dtype=torch.float64)
    low, middle, high = values.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    scale = float(high - low) / 1.349
    return float(middle), math.sqrt(math.pi / 2) * scale / math.sqrt(len(values))
