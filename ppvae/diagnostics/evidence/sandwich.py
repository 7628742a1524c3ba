"""How far off is annealed importance sampling? log p(x) from both sides, on simulated data.

On data simulated from the model, where a draw of the exact posterior is at hand, a walk from it
backwards gives an upper bound on log p(x), beside the lower bound of the walk there (Grosse,
Ghahramani and Adams, 2015).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.data import Split
from ppvae.diagnostics.evidence.annealing import BACKWARD, FORWARD, PILOT, SIMULATION, AnnealingPlan
from ppvae.diagnostics.evidence.hmc import AnnealingPath, PathDensity, Start
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.diagnostics.shared.simulation import simulate
from ppvae.errors import check_at_least
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.streams import Stream


@dataclass(frozen=True)
class Sandwich:
    """Two bounds on log p(x) of data that were simulated from the model.

    Both are stochastic: they hold in expectation, and those of a single datum may cross.

    Attributes:
        lower: log of the mean weight of chains that walk to the posterior: ``(data,)``, in nats.
        upper: minus the log of the mean inverse weight of chains that walk from it: ``(data,)``,
            in nats.
        x: the simulated data: ``(data, *shape)``.
        acceptance: as in `ppvae.diagnostics.evidence.annealing.Annealed`, over both directions:
            ``(temperatures - 2,)``.
        schedule: the temperatures, from 0 to 1: ``(temperatures,)``, float64.
        chains: number of chains of each datum, in each direction.
    """

    lower: Tensor
    upper: Tensor
    x: Tensor
    acceptance: Tensor
    schedule: Tensor
    chains: int

    @property
    def gap(self) -> Tensor:
        """``upper - lower`` of each datum, in nats."""
        return self.upper - self.lower

    @property
    def mean(self) -> float:
        """Mean of `gap` over data, in nats per datum.

        In expectation neither bound is further than this from the mean of log p(x).
        """
        return Estimate.of(self.gap).mean

    @property
    def standard_error(self) -> float:
        """Standard error of `mean` over data, which the chains' own noise is part of."""
        return Estimate.of(self.gap).standard_error


def sandwich(
    pair: Pair,
    audit: Audit,
    split: Split,
    *,
    count: int = 64,
    temperatures: int = 500,
    chains: int = 8,
    leapfrog: int = 10,
    start: Start = "prior",
    batch_size: int = 64,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
    compile: bool | None = None,
) -> Sandwich:
    """Bound log p(x) from both sides, on data simulated from the model; moves nothing.

    Each datum is drawn with its latents, (z*, x*) ~ p(x, z), so that z* is a draw of the exact
    posterior p(z | x*). Chains that start there and walk the path of `anneal` backwards, by the
    same transitions, gather weights whose inverse has the mean 1 / p(x*): minus the log of a mean
    of inverse weights is in expectation an upper bound. All chains of a datum share its z*, which
    leaves the bound as valid and makes it less sharp than independent ones would.

    It holds for simulated data alone; of real data no exact draw of the posterior is known. There
    annealing is still a lower bound, and the gap here says how far off to expect it, as far as data
    and model are alike.

    Args:
        pair: model and guide.
        audit: their audit.
        split: gives shapes, and labels, covariates and masks; x itself is not looked at. Its rows
            are taken in turn, from the first, again where there are fewer than ``count``.
        count: number of data to simulate.
        temperatures: as in `anneal`.
        chains: chains of each datum, in each direction.
        leapfrog: as in `anneal`.
        start: the path's other end.
        batch_size: data at once.
        seed: of the noise; the caller's random state is left alone.
        device: where the chains walk.
        on_rows: hears of numbers of data as the work proceeds, ``count`` in all.
        compile: as in `anneal`.

    Raises:
        InputError: as `anneal`, and as `ppvae.diagnostics.shared.simulation.simulate`.
    """
    check_at_least(1, count=count)
    plan = AnnealingPlan(temperatures, chains, leapfrog)
    device = torch.device(device)
    rows = torch.arange(count) % len(split)
    if compile is None:
        compile = device.type != "mps" and plan.pays(count * math.prod(split.shape), walks=2)
    density = PathDensity(pair, audit, start, compile=compile)
    lowers, uppers, simulated, accepted = [], [], [], []
    with evaluating(pair), Stream.ANNEALING.drawn(seed, device) as noise:
        for number, like in enumerate(split.batches(rows.split(batch_size), device=device)):
            tick = plan.ticks(like, 2, on_rows)
            noise.at(number, SIMULATION)
            batch, latents = simulate(pair, audit, like, check=number == 0)
            # The pilot must not know z*: given x*, its step sizes are independent of it.
            noise.at(number, PILOT)
            path = AnnealingPath(pair, audit, batch, start, density)
            step = plan.tuned(path, tick)
            noise.at(number, FORWARD)
            to, there = plan.forward(path, step, tick)
            noise.at(number, BACKWARD)
            fro, back = plan.backward(path, latents, step, tick)
            lowers.append((to.logsumexp(0) - math.log(chains)).cpu())
            uppers.append((math.log(chains) - (-fro).logsumexp(0)).cpu())
            accepted.append((there + back).cpu() / 2)
            simulated.append(batch["x"].cpu())
    return Sandwich(
        lower=torch.cat(lowers),
        upper=torch.cat(uppers),
        x=torch.cat(simulated),
        acceptance=torch.cat(accepted, dim=1).mean(1),
        schedule=plan.schedule,
        chains=chains,
    )
