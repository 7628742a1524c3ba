"""Error of annealed importance sampling: log p(x) from both sides, on simulated data.

For data simulated from the model, an exact draw from the posterior is known, and annealing
backwards from it gives an upper bound on log p(x), in addition to the lower bound (Grosse,
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
        lower: log of the mean weight of chains towards the posterior: ``(data,)``, in nats.
        upper: minus the log of the mean inverse weight of chains from the posterior: ``(data,)``,
            in nats.
        x: the simulated data: ``(data, *shape)``.
        acceptance: as in `ppvae.diagnostics.evidence.annealing.Annealed`, over both directions:
            ``(temperatures - 2,)``.
        schedule: the temperatures, from 0 to 1: ``(temperatures,)``, float64.
        chains: number of chains per datum, in each direction.
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

        In expectation neither bound is farther than this from the mean of log p(x).
        """
        return Estimate.of(self.gap).mean

    @property
    def standard_error(self) -> float:
        """Standard error of `mean` over data, including the noise of chains."""
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
    """Bound log p(x) from both sides, on data simulated from the model.

    Each datum is drawn with its latents, (z*, x*) ~ p(x, z), so z* is a draw from the exact
    posterior p(z | x*). For chains that start there and follow the path of `anneal` backwards, with
    the same transitions, the mean of the inverse weights is 1 / p(x*): minus the log of their mean
    is in expectation an upper bound. All chains of a datum share its z*, so the bound is valid but
    looser than with independent draws.

    It holds for simulated data only; for real data no exact draw from the posterior is known. There
    annealing is still a lower bound, and the gap estimates its error, as far as data and model are
    alike.

    Args:
        pair: model and guide.
        audit: their audit.
        split: gives shapes, labels, covariates and masks; x is not used. Its rows are taken in
            order, and repeated if there are fewer than ``count``.
        count: number of data to simulate.
        temperatures: as in `anneal`.
        chains: chains per datum, in each direction.
        leapfrog: as in `anneal`.
        start: the other end of the path.
        batch_size: data per batch.
        seed: seed of the noise; the caller's random state is unchanged.
        device: device of the chains.
        on_rows: called with numbers of finished data, whose total is ``count``.
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
            # The pilot must not depend on z*: given x*, its step sizes are independent of it.
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
