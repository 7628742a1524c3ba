"""Annealed importance sampling: log p(x) when the guide is a poor proposal.

Chains move from a density that can be sampled to p(x, z), one Hamiltonian transition per
temperature, and the mean of their weights is p(x), however short the path (Neal, 2001; Wu et al.,
2017).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ppvae.data import Batch, Split
from ppvae.diagnostics.evidence.hmc import (
    AnnealingPath,
    PathDensity,
    Point,
    Start,
    transition,
)
from ppvae.diagnostics.evidence.importance_sampling import CHUNK
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.errors import InputError, check_at_least
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.streams import Stream

ACCEPTANCE = 0.65
"""Target acceptance rate of the step sizes (Neal, 2011; Beskos et al., 2013)."""

GAIN = 0.8
"""Change of a log step size per deviation of the acceptance rate; more in the warm-up."""

PILOT_CHAINS = 8
PILOT_WARM_UP = 20
PILOT_TEMPERATURES = 30
"""Minimum number of temperatures of a pilot run; a long path has a fifth of its own."""

PAYS = 2**29
"""Numbers of x times data times gradients from which compiling a graph saves time."""

PILOT, FORWARD, SIMULATION, BACKWARD = range(4)

Tick = Callable[[], None]
"""Called at each temperature, for a progress bar."""


@dataclass(frozen=True)
class Annealed:
    """log p(x) of each datum, by annealed importance sampling.

    All are ``(data,)`` and in nats unless stated otherwise.

    Attributes:
        log_p: log of the mean weight of the chains: in expectation a lower bound on log p(x), which
            rises with temperatures and with chains.
        error: standard error of ``log_p``, by the delta method over chains; it is unreliable if few
            chains dominate the sum, and NaN for one chain.
        effective: effective sample size of the chains, (sum w)^2 / sum w^2, between 1 and
            ``chains``.
        acceptance: mean probability that a proposal was accepted, over chains and data, at each
            temperature between the first and the last: ``(temperatures - 2,)``.
        step_size: step of the leapfrog at the same temperatures, in units of the unconstrained
            latents: ``(temperatures - 2, data)``.
        schedule: the temperatures, from 0 to 1: ``(temperatures,)``, float64.
        chains: number of chains per datum.
    """

    log_p: Tensor
    error: Tensor
    effective: Tensor
    acceptance: Tensor
    step_size: Tensor
    schedule: Tensor
    chains: int

    @property
    def mean(self) -> float:
        """Mean of ``log_p`` over data, in nats per datum."""
        return Estimate.of(self.log_p).mean

    @property
    def standard_error(self) -> float:
        """Standard error of `mean` over data, including the noise of chains."""
        return Estimate.of(self.log_p).standard_error


def schedule(temperatures: int) -> Tensor:
    """Temperatures from exactly 0 to exactly 1, dense at both ends: ``(temperatures,)``, float64.

    They are values of a sigmoid between -4 and 4, rescaled to [0, 1] (Wu et al., 2017).

    Raises:
        InputError: for fewer than 2.
    """
    if temperatures < 2:
        raise InputError(f"temperatures is {temperatures}; a path needs at least 2, its two ends")
    t = torch.linspace(-4, 4, temperatures, dtype=torch.float64).sigmoid()
    t = (t - t[0]) / (t[-1] - t[0])
    t[0], t[-1] = 0.0, 1.0
    return t


def anneal(
    pair: Pair,
    audit: Audit,
    split: Split,
    *,
    temperatures: int = 500,
    chains: int = 8,
    leapfrog: int = 10,
    start: Start = "prior",
    batch_size: int = 64,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
    compile: bool | None = None,
) -> Annealed:
    """Estimate log p(x) of each datum by annealed importance sampling, without changing any state.

    A chain starts at a draw from f_0 and goes through the temperatures t = 0, ..., 1. At each it
    multiplies its weight by f_t / f_before at its current position, and then makes one Hamiltonian
    transition that leaves f_t invariant: a new momentum, ``leapfrog`` leapfrog steps, and a
    Metropolis test. The path is

    - from the prior, f_t = p(z) p(x | z)^t: it does not need the guide, and so works for a point
      mass;
    - from the guide, f_t = q(z | x)^(1 - t) p(x, z)^t: shorter if the guide is near the posterior,
      longer if it is narrow and misses it.

    With two temperatures there is no transition: that is importance sampling.

    The mean of the weights is exactly p(x), for any number of temperatures and however badly the
    chains mix: since each transition leaves its f_t invariant, the weight is that of importance
    sampling of whole paths, whose target goes backwards from the posterior. This requires
    transitions that do not depend on the chains they move. So the step sizes, one per datum and
    temperature, are tuned in a separate pilot run, and fixed before the chains are drawn. The log
    of a mean of such weights is in expectation a lower bound.

    Latents with a constrained support move in the unconstrained coordinates of
    ``torch.distributions.biject_to``.

    The cost is ``(temperatures - 2) * leapfrog + 1`` gradients of the density per chain, and for
    the pilot's 8 chains per datum a fifth of that, or 50 times ``leapfrog`` if that is more. Memory
    does not grow with ``chains``: they run in groups of bounded size.

    Args:
        pair: model and guide.
        audit: their audit.
        split: the data.
        temperatures: their number, including 0 and 1.
        chains: chains per datum.
        leapfrog: steps per trajectory.
        start: where chains start.
        batch_size: data per batch.
        seed: seed of the noise; the caller's random state is unchanged.
        device: device of the chains.
        on_rows: called with numbers of finished data, whose total is all rows, for a progress bar.
        compile: whether density and gradient are one native graph; by default if that saves time.
            Programs that cannot be a graph run eagerly.

    Raises:
        InputError: for a latent that is discrete, has no bijection to the reals, has a support that
            depends on other latents, or is shared by all data; for a start from a guide with a
            point mass or auxiliary sites; for numbers out of range.
    """
    plan = AnnealingPlan(temperatures, chains, leapfrog)
    device = torch.device(device)
    if compile is None:
        numbers = len(split) * math.prod(split.shape)
        compile = device.type != "mps" and plan.pays(numbers, walks=1)
    density = PathDensity(pair, audit, start, compile=compile)
    weights, accepted, steps = [], [], []
    with evaluating(pair), Stream.ANNEALING.drawn(seed, device) as noise:
        for number, batch in enumerate(split.chunks(batch_size, device)):
            tick = plan.ticks(batch, 1, on_rows)
            noise.at(number, PILOT)
            path = AnnealingPath(pair, audit, batch, start, density)
            step = plan.tuned(path, tick)
            noise.at(number, FORWARD)
            log_weight, acceptance = plan.forward(path, step, tick)
            weights.append(log_weight.cpu())
            accepted.append(acceptance.cpu())
            steps.append(step.cpu())
    log_weight = torch.cat(weights, dim=1)
    squares = log_weight.softmax(0).square().sum(0)
    # Var(w) / (K mean(w)^2), from K sum w^2 / (sum w)^2 - 1.
    relative = (chains * squares - 1).clamp(min=0) / (chains - 1 if chains > 1 else math.nan)
    return Annealed(
        log_p=log_weight.logsumexp(0) - math.log(chains),
        error=relative.sqrt(),
        effective=1 / squares,
        acceptance=torch.cat(accepted, dim=1).mean(1),
        step_size=torch.cat(steps, dim=1),
        schedule=plan.schedule,
        chains=chains,
    )


class AnnealingPlan:
    """Temperatures, number of chains and length of trajectories, as in `anneal`.

    Attributes:
        schedule: the temperatures.
    """

    def __init__(self, temperatures: int, chains: int, leapfrog: int) -> None:
        self.schedule = schedule(temperatures)
        check_at_least(1, chains=chains, leapfrog=leapfrog)
        self._chains, self._leapfrog = chains, leapfrog
        # No transition at 0, where chains start, nor at 1, where they have their weight.
        self._transitions = temperatures - 2
        self._pilot = max(PILOT_TEMPERATURES, self._transitions // 5)

    @property
    def _piloted(self) -> int:
        """Number of transitions of the pilot."""
        return PILOT_WARM_UP + self._pilot if self._transitions else 0

    def pays(self, numbers: int, walks: int) -> bool:
        """Whether compiling density and gradient saves time, by sizes.

        Args:
            numbers: numbers of x over all data.
            walks: number of runs of all chains, without the pilot.
        """
        walked = PILOT_CHAINS * self._piloted + walks * self._chains * self._transitions
        gradients = self._leapfrog * walked
        return numbers * gradients >= PAYS

    def ticks(self, batch: Batch, walks: int, on_rows: Callable[[int], None]) -> Tick:
        """Spread the rows of a batch over the pilot and ``walks`` runs, for progress."""
        total = self._piloted + walks * len(self._groups(batch)) * (self._transitions + 1)
        rows, made = len(batch["x"]), 0

        def tick() -> None:
            nonlocal made
            made += 1
            done = rows * made // total - rows * (made - 1) // total
            if done:
                on_rows(done)

        return tick

    def tuned(self, path: AnnealingPath, tick: Tick) -> Tensor:
        """Step sizes by temperature and datum, from a pilot run: ``(temperatures - 2, data)``.

        The step adapts to the acceptance along a coarser path, separately for each datum, and is
        interpolated to the temperatures of the path.
        """
        length = self._pilot
        point = path.draw(PILOT_CHAINS)
        _, rows, dimensions = point.position.shape
        # The step for a normal start, up to a factor (Beskos et al., 2013).
        log_step = torch.full_like(point.base[0], -0.25 * math.log(dimensions))
        if not self._transitions:
            return log_step.new_empty(0, rows)
        temperatures: list[float] = schedule(length + 2)[1:-1].tolist()
        log_steps = []
        for i, t in enumerate([temperatures[0]] * PILOT_WARM_UP + temperatures):
            gain = max(GAIN, (1 + i) ** -0.5)
            point, probability = transition(path, point, t, log_step.exp(), self._leapfrog)
            log_step = log_step + gain * (probability.mean(0) - ACCEPTANCE)
            log_steps.append(log_step)
            tick()
        known = torch.stack(log_steps[PILOT_WARM_UP:])
        # Both are values of one sigmoid: interpolate by the place on the path.
        place = torch.linspace(0, length + 1, self._transitions + 2, dtype=torch.float64)[1:-1] - 1
        place = place.clamp(0, length - 1)
        low = place.long().clamp(max=length - 2)
        share = (place - low).to(known).unsqueeze(-1)
        return torch.lerp(known[low], known[low + 1], share).exp()

    def forward(self, path: AnnealingPath, steps: Tensor, tick: Tick) -> tuple[Tensor, Tensor]:
        """Run chains from the start to p(x, z).

        Returns:
            log weights, ``(chains, data)``, and the mean probability of acceptance over chains,
            ``(temperatures - 2, data)``.
        """
        return self._walk(path, path.draw, self.schedule.tolist(), steps, tick)

    def backward(
        self, path: AnnealingPath, latents: Mapping[str, Tensor], steps: Tensor, tick: Tick
    ) -> tuple[Tensor, Tensor]:
        """Run chains from one draw of the posterior to the start: `forward` reversed in time."""

        def place(n: int) -> Point:
            return path.place({name: v.expand(n, *v.shape[1:]) for name, v in latents.items()})

        temperatures = self.schedule.flip(0).tolist()
        log_weight, accepted = self._walk(path, place, temperatures, steps.flip(0), tick)
        return log_weight, accepted.flip(0)

    def _walk(
        self,
        path: AnnealingPath,
        start: Callable[[int], Point],
        temperatures: list[float],
        steps: Tensor,
        tick: Tick,
    ) -> tuple[Tensor, Tensor]:
        log_weights, accepted = [], torch.zeros_like(steps)
        for chains in self._groups(path.batch):
            point = start(chains)
            log_weight = torch.zeros_like(point.base)
            for i, (before, t) in enumerate(pairwise(temperatures)):
                log_weight = log_weight.add(point.slope, alpha=abs(t - before))
                if i < len(steps):
                    point, probability = transition(path, point, t, steps[i], self._leapfrog)
                    accepted[i] += probability.sum(0)
                tick()
            log_weights.append(log_weight)
        return torch.cat(log_weights), accepted / self._chains

    def _groups(self, batch: Batch) -> list[int]:
        """Sizes of groups of chains, so that memory is bounded."""
        at_once = max(1, CHUNK // batch["x"].numel())
        return [min(at_once, self._chains - i) for i in range(0, self._chains, at_once)]
