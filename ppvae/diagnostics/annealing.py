"""What is log p(x), when the guide cannot be trusted as a proposal? Annealed importance sampling.

Chains walk from a density that can be drawn from to p(x, z), one Hamiltonian step a temperature,
and the weights that they gather on the way have p(x) as their mean, however short the walk (Neal,
2001; Wu et al., 2017). On data simulated from the model, where a draw of the exact posterior is at
hand, the walk backwards gives an upper bound, and the two say how far off such an answer is
(Grosse, Ghahramani and Adams, 2015).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast, get_args

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import biject_to, constraints
from torch.distributions.transforms import IndependentTransform, Transform, identity_transform

from ppvae.audit import Audit
from ppvae.data import Batch, Split
from ppvae.densities import Densities
from ppvae.errors import InputError
from ppvae.evaluation import fold_seed
from ppvae.programs import Pair, frozen

__all__ = ["Annealed", "Sandwich", "Start", "anneal", "sandwich", "schedule"]

Start = Literal["prior", "guide"]
"""Where chains start: at draws of p(z), or of q(z | x)."""

CHUNK = 2**23
"""Numbers of x times chains held at once: 32 MiB of float32 a tensor of that shape."""

ACCEPTANCE = 0.65
"""Share of proposals accepted that step sizes are tuned to (Neal, 2011; Beskos et al., 2013)."""

JITTER = 0.2
"""Largest relative change of a trajectory's step, drawn anew for each: a trajectory of always the
same length may be a whole number of periods long, and end where it began (Neal, 2011)."""

PILOT_CHAINS = 8
PILOT_WARM_UP = 20
PILOT_TEMPERATURES = 30
"""The fewest temperatures of a pilot run; a long path's pilot has a fifth of the path's own."""

_GAIN = 0.8
"""Change of a log step size over the acceptance missed; more than that in the warm-up."""

_STREAM = 6
_PILOT, _FORWARD, _SIMULATION, _BACKWARD = range(4)


@dataclass(frozen=True)
class Annealed:
    """log p(x) of each datum, by annealed importance sampling.

    All are ``(data,)`` and in nats where nothing else is said.

    Attributes:
        log_p: log of the mean weight of the chains: in expectation a lower bound on log p(x), which
            rises with temperatures and with chains.
        error: standard error of ``log_p``, by the delta method over chains; it misleads where few
            chains carry the sum, and is NaN where there is one chain.
        effective: effective sample size of the chains, (sum w)^2 / sum w^2, between 1 and
            ``chains``.
        acceptance: mean probability that a proposal was accepted, over chains and data, at each
            temperature between the first and the last: ``(temperatures - 2,)``.
        step_size: step of the leapfrog at the same temperatures, in units of the unconstrained
            latents: ``(temperatures - 2, data)``.
        schedule: the temperatures, from 0 to 1: ``(temperatures,)``, float64.
        chains: number of chains of each datum.
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
        return float(self.log_p.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of `mean` over data, which the chains' own noise is part of."""
        return _standard_error(self.log_p)


@dataclass(frozen=True)
class Sandwich:
    """Two bounds on log p(x) of data that were simulated from the model.

    Both are stochastic: they hold in expectation, and those of a single datum may cross.

    Attributes:
        lower: log of the mean weight of chains that walk to the posterior: ``(data,)``, in nats.
        upper: minus the log of the mean inverse weight of chains that walk from it: ``(data,)``,
            in nats.
        x: the simulated data: ``(data, *shape)``.
        acceptance: as in `Annealed`, over both directions: ``(temperatures - 2,)``.
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
        return float(self.gap.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of `mean` over data, which the chains' own noise is part of."""
        return _standard_error(self.gap)


def schedule(temperatures: int) -> Tensor:
    """Temperatures from exactly 0 to exactly 1, dense at both ends: ``(temperatures,)``, float64.

    They are a sigmoid's values between -4 and 4, stretched to [0, 1] (Wu et al., 2017).

    Raises:
        InputError: for fewer than 2.
    """
    if temperatures < 2:
        raise InputError(f"temperatures is {temperatures}; a path has at least 2, its two ends")
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
) -> Annealed:
    """Estimate log p(x) of each datum by annealed importance sampling; moves nothing.

    A chain starts at a draw of f_0 and goes through the temperatures t = 0, ..., 1. At each it
    multiplies its weight by f_t / f_before, taken at the place where it is, and then makes one
    Hamiltonian transition that leaves f_t invariant: a fresh momentum, ``leapfrog`` steps of the
    leapfrog, and a Metropolis test. The path is

    - from the prior, f_t = p(z) p(x | z)^t: it does without the guide, and so serves one that has a
      point mass;
    - from the guide, f_t = q(z | x)^(1 - t) p(x, z)^t: the shorter way where the guide is near the
      posterior, and the longer one where it is narrow and beside it.

    With two temperatures nothing moves: that is importance sampling.

    The mean of a weight is p(x) exactly, with any number of temperatures and however badly the
    chains mix: since each transition leaves its f_t invariant, the weight is that of importance
    sampling on whole walks, whose target walks backwards from the posterior. This asks for
    transitions that know nothing of the chains they move. So the step sizes, one for each datum and
    temperature, are tuned in a pilot run with chains and noise of its own, and frozen before the
    chains that count are drawn. The log of a mean of such weights is in expectation a lower bound.

    Latents with a constrained support move in the coordinates that
    ``torch.distributions.biject_to`` has for it, under the density that they have there.

    The price is ``(temperatures - 2) * leapfrog + 1`` gradients of the density a chain, and for
    the pilot's 8 chains of each datum a fifth of that, or 50 times ``leapfrog`` if that is more.
    Memory does not grow with ``chains``: they walk in groups of bounded size.

    Args:
        pair: model and guide.
        audit: what the audit found of them.
        split: the data.
        temperatures: their number, 0 and 1 among them.
        chains: chains of each datum.
        leapfrog: steps in a trajectory.
        start: where chains start.
        batch_size: data at once.
        seed: of the noise; the caller's random state is left alone.
        device: where the chains walk.
        on_rows: hears of numbers of data as the work proceeds, all rows in all, for a progress bar.

    Raises:
        InputError: for a latent that is discrete, has no bijection to the reals, has a support that
            other latents decide, or is shared by all data; for a start from a guide that has a
            point mass or auxiliary sites; for numbers out of their range.
    """
    course = _Course(schedule(temperatures), chains, leapfrog)
    device = torch.device(device)
    weights, accepted, steps = [], [], []
    with _set_apart(pair, device):
        torch.manual_seed(fold_seed(seed, _STREAM))  # for data that is binarized anew
        indices = torch.arange(len(split)).split(batch_size)
        for number, batch in enumerate(split.batches(indices, device=device)):
            rows, groups = len(batch["x"]), course.groups(batch)
            tick = _Ticks(rows, course.pilot_length + course.length * len(groups), on_rows)
            torch.manual_seed(fold_seed(seed, _STREAM, number, _PILOT))
            bridge = _Bridge(pair, audit, batch, start)
            step = course.tuned(bridge, tick)
            torch.manual_seed(fold_seed(seed, _STREAM, number, _FORWARD))
            walk = _joined([course.forward(bridge, n, step, tick) for n in groups])
            weights.append(walk.log_weight.cpu())
            accepted.append(walk.acceptance.cpu())
            steps.append(step.cpu())
            tick.finish()
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
        schedule=course.schedule,
        chains=chains,
    )


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
) -> Sandwich:
    """Bound log p(x) from both sides, on data simulated from the model; moves nothing.

    Each datum is drawn with its latents, (z*, x*) ~ p(x, z), so that z* is a draw of the exact
    posterior p(z | x*). Chains that start there and walk `anneal`'s path backwards, by the same
    transitions, gather weights whose inverse has the mean 1 / p(x*): minus the log of a mean of
    inverse weights is in expectation an upper bound. All chains of a datum share its z*, which
    leaves the bound as valid and makes it less sharp than independent ones would.

    It holds for simulated data alone; of real data no exact draw of the posterior is known. There
    `anneal` is still a lower bound, and the gap here says how far off to expect it, as far as data
    and model are alike.

    Args:
        pair: model and guide.
        audit: what the audit found of them.
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

    Raises:
        InputError: as `anneal`; where no site, or more than one, observes x itself; where x or the
            latents decide something beside, so that a draw of the program is no draw of p(x, z).
    """
    if count < 1:
        raise InputError(f"count is {count}; it must be at least 1")
    course = _Course(schedule(temperatures), chains, leapfrog)
    device = torch.device(device)
    lowers, uppers, simulated, accepted = [], [], [], []
    with _set_apart(pair, device):
        torch.manual_seed(fold_seed(seed, _STREAM))
        indices = (torch.arange(count) % len(split)).split(batch_size)
        for number, like in enumerate(split.batches(indices, device=device)):
            rows, groups = len(like["x"]), course.groups(like)
            tick = _Ticks(rows, course.pilot_length + 2 * course.length * len(groups), on_rows)
            latents, batch = _simulate(
                pair, audit, like, fold_seed(seed, _STREAM, number, _SIMULATION)
            )
            # The pilot must not know z*: given x*, its step sizes are independent of it.
            torch.manual_seed(fold_seed(seed, _STREAM, number, _PILOT))
            bridge = _Bridge(pair, audit, batch, start)
            step = course.tuned(bridge, tick)
            torch.manual_seed(fold_seed(seed, _STREAM, number, _FORWARD))
            to = _joined([course.forward(bridge, n, step, tick) for n in groups])
            torch.manual_seed(fold_seed(seed, _STREAM, number, _BACKWARD))
            back = _joined([course.backward(bridge, latents, n, step, tick) for n in groups])
            lowers.append((to.log_weight.logsumexp(0) - math.log(chains)).cpu())
            uppers.append((math.log(chains) - (-back.log_weight).logsumexp(0)).cpu())
            accepted.append((to.acceptance + back.acceptance).cpu() / 2)
            simulated.append(batch["x"].cpu())
            tick.finish()
    return Sandwich(
        lower=torch.cat(lowers),
        upper=torch.cat(uppers),
        x=torch.cat(simulated),
        acceptance=torch.cat(accepted, dim=1).mean(1),
        schedule=course.schedule,
        chains=chains,
    )


# The walk: positions are (chains, data, dimensions), log-densities and weights (chains, data).


@dataclass(frozen=True)
class _Point:
    """Where chains are, and log f_t = base + t * slope there, with its gradient.

    Both parts are kept, so that a change of temperature costs nothing.
    """

    position: Tensor
    base: Tensor
    slope: Tensor
    base_gradient: Tensor
    slope_gradient: Tensor

    def log_density(self, t: float) -> Tensor:
        return self.base + t * self.slope

    def gradient(self, t: float) -> Tensor:
        return self.base_gradient.add(self.slope_gradient, alpha=t)

    def moved(self, to: "_Point", where: Tensor) -> "_Point":
        wide = where.unsqueeze(-1)
        return _Point(
            torch.where(wide, to.position, self.position),
            torch.where(where, to.base, self.base),
            torch.where(where, to.slope, self.slope),
            torch.where(wide, to.base_gradient, self.base_gradient),
            torch.where(wide, to.slope_gradient, self.slope_gradient),
        )


@dataclass(frozen=True)
class _Walk:
    """What chains bring home.

    Attributes:
        log_weight: estimates of log p(x): ``(chains, data)``.
        acceptance: probability of acceptance, mean over chains: ``(temperatures - 2, data)``.
    """

    log_weight: Tensor
    acceptance: Tensor


def _joined(walks: Sequence[_Walk]) -> _Walk:
    """The groups of one batch as one."""
    sizes = [len(walk.log_weight) for walk in walks]
    mean = sum(n * walk.acceptance for n, walk in zip(sizes, walks, strict=True)) / sum(sizes)
    return _Walk(torch.cat([walk.log_weight for walk in walks]), torch.as_tensor(mean))


class _Bridge:
    """The densities f_t of one batch, in unconstrained coordinates, between the start and p(x, z).

    Raises:
        InputError: if there is no such path.
    """

    def __init__(self, pair: Pair, audit: Audit, batch: Batch, start: Start) -> None:
        if start not in get_args(Start):
            raise InputError(f"start is '{start}'; take 'prior' or 'guide'")
        self._from_guide = start == "guide"
        if self._from_guide and not audit.is_bound:
            raise InputError(
                "a guide with a point mass has no density to start from; take start='prior'"
            )
        self._densities = Densities(pair, audit, batch)
        self._chart = _Chart(pair, audit, batch)
        self._latents = frozenset(audit.latents)

    def draw(self, chains: int) -> _Point:
        """Chains at the start."""
        if self._from_guide:
            latents = self._densities.draw(chains).latents
            others = sorted(latents.keys() - self._latents)
            if others:
                raise InputError(
                    f"the guide draws '{others[0]}' beside the model's latents, so that the "
                    "density of its start is not known; take start='prior'"
                )
        else:
            latents = self._densities.draw_prior(chains).latents
        return self.place(latents)

    def place(self, latents: Mapping[str, Tensor]) -> _Point:
        """Chains at given latents, in the shapes of `ppvae.densities.Draws.latents`."""
        return self.at(self._chart.position(latents))

    def at(self, position: Tensor) -> _Point:
        """Score a position: one pass through the programs, and one back."""
        position = position.detach().requires_grad_()
        # A trajectory that diverges is turned down for its density; validation would raise.
        with torch.enable_grad(), pyro.validation_enabled(False):
            latents, log_volume = self._chart.latents(position)
            draws = self._densities.at(latents, guide=self._from_guide)
            # Two parts without a common term: the way back goes through each network once.
            if draws.log_guide is None:
                first, second = draws.log_prior + log_volume, draws.log_likelihood
            else:
                first, second = draws.log_guide + log_volume, draws.log_joint + log_volume
            gradients = _gradient(first, position), _gradient(second, position)
        first, second = first.detach(), second.detach()
        if self._from_guide:
            return _Point(
                position.detach(), first, second - first, gradients[0], gradients[1] - gradients[0]
            )
        return _Point(position.detach(), first, second, *gradients)


def _gradient(values: Tensor, position: Tensor) -> Tensor:
    """The derivative of values by position, each value being of its own chain and datum."""
    if not values.requires_grad:  # a density that is flat in z
        return torch.zeros_like(position)
    (gradient,) = torch.autograd.grad(
        values.sum(), position, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return gradient


class _Course:
    """How chains are walked: temperatures, number of chains, length of trajectories."""

    def __init__(self, temperatures: Tensor, chains: int, leapfrog: int) -> None:
        for name, value in (("chains", chains), ("leapfrog", leapfrog)):
            if value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1")
        self.schedule, self.chains, self.leapfrog = temperatures, chains, leapfrog
        self._temperatures: list[float] = temperatures.tolist()

    @property
    def length(self) -> int:
        """Transitions of a chain: none at 0, where it starts, nor at 1, where it has its weight."""
        return len(self._temperatures) - 2

    @property
    def pilot_length(self) -> int:
        """Transitions of the pilot, its warm-up counted."""
        return PILOT_WARM_UP + max(PILOT_TEMPERATURES, self.length // 5) if self.length else 0

    def groups(self, batch: Batch) -> list[int]:
        """Numbers of chains that walk together, so that memory is bounded."""
        at_once = max(1, CHUNK // batch["x"].numel())
        return [min(at_once, self.chains - i) for i in range(0, self.chains, at_once)]

    def forward(self, bridge: _Bridge, chains: int, steps: Tensor, tick: "_Ticks") -> _Walk:
        """Walk from the start to p(x, z)."""
        return self._walk(bridge, bridge.draw(chains), self._temperatures, steps, tick)

    def backward(
        self,
        bridge: _Bridge,
        latents: Mapping[str, Tensor],
        chains: int,
        steps: Tensor,
        tick: "_Ticks",
    ) -> _Walk:
        """Walk from one draw of the posterior to the start: `forward` reversed in time."""
        place = {name: v.expand(chains, *v.shape[1:]) for name, v in latents.items()}
        walk = self._walk(
            bridge, bridge.place(place), self._temperatures[::-1], steps.flip(0), tick
        )
        return _Walk(walk.log_weight, walk.acceptance.flip(0))

    def _walk(
        self,
        bridge: _Bridge,
        point: _Point,
        temperatures: Sequence[float],
        steps: Tensor,
        tick: "_Ticks",
    ) -> _Walk:
        log_weight = torch.zeros_like(point.base)
        accepted = torch.empty_like(steps)
        for i, (before, t) in enumerate(pairwise(temperatures)):
            log_weight = log_weight.add(point.slope, alpha=abs(t - before))
            if i < len(steps):
                point, probability = self._transition(bridge, point, t, steps[i])
                accepted[i] = probability.mean(0)
                tick()
        return _Walk(log_weight, accepted)

    def _transition(
        self, bridge: _Bridge, point: _Point, t: float, step: Tensor
    ) -> tuple[_Point, Tensor]:
        """One Hamiltonian transition that leaves f_t invariant, and its chance of acceptance.

        It is reversible, so that the same transitions serve on the way back.
        """
        jitter = 1 + JITTER * (2 * torch.rand_like(point.base) - 1)
        step = (step * jitter).unsqueeze(-1)
        momentum = torch.randn_like(point.position)
        before = point.log_density(t) - 0.5 * momentum.square().sum(-1)
        momentum = momentum + 0.5 * step * point.gradient(t)
        proposal = point
        for i in range(self.leapfrog):
            proposal = bridge.at(proposal.position + step * momentum)
            is_last = i == self.leapfrog - 1
            momentum = momentum + (0.5 if is_last else 1.0) * step * proposal.gradient(t)
        after = proposal.log_density(t) - 0.5 * momentum.square().sum(-1)
        # Not a number: the trajectory left for infinity, and is turned down.
        probability = (after - before).clamp(max=0).exp().nan_to_num(nan=0)
        return point.moved(proposal, torch.rand_like(probability) < probability), probability

    def tuned(self, bridge: _Bridge, tick: "_Ticks") -> Tensor:
        """Step sizes by temperature and datum, from a pilot run: ``(temperatures - 2, data)``.

        The step follows the acceptance along a coarser path, at each datum by itself, and the
        path's own temperatures read it off between the pilot's.
        """
        length = self.pilot_length - PILOT_WARM_UP
        point = bridge.draw(PILOT_CHAINS)
        _, rows, dimensions = point.position.shape
        # The step that a normal start would take, but for a factor (Beskos et al., 2013).
        log_step = torch.full_like(point.base[0], -0.25 * math.log(dimensions))
        if self.length == 0:
            return log_step.new_empty(0, rows)
        temperatures: list[float] = schedule(length + 2)[1:-1].tolist()
        found = []
        for i, t in enumerate([temperatures[0]] * PILOT_WARM_UP + temperatures):
            gain = max(_GAIN, (1 + i) ** -0.5)
            point, probability = self._transition(bridge, point, t, log_step.exp())
            log_step = log_step + gain * (probability.mean(0) - ACCEPTANCE)
            found.append(log_step)
            tick()
        known = torch.stack(found[PILOT_WARM_UP:])
        # Both are values of one sigmoid: what is between is found by the place on the path.
        place = torch.linspace(0, length + 1, self.length + 2, dtype=torch.float64)[1:-1] - 1
        place = place.clamp(0, length - 1)
        low = place.floor().clamp(max=length - 2)
        share = (place - low).to(known).unsqueeze(-1)
        low = low.long().to(known.device)
        return torch.lerp(known[low], known[low + 1], share).exp()


# The coordinates: every latent of a datum side by side, each in as many reals as it needs.


class _Chart:
    """The latents of the model as one vector of reals a datum, and back."""

    def __init__(self, pair: Pair, audit: Audit, batch: Batch) -> None:
        self._bijections = _bijections(pair, audit, batch)
        # Counted from the left, where particles are: a bijection may change the event's shape.
        self._data_axis = 1 + audit.max_plate_nesting + (audit.data_dim or 0)
        self._shapes: dict[str, torch.Size] = {}

    def position(self, latents: Mapping[str, Tensor]) -> Tensor:
        """Latents by site as ``(chains, data, dimensions)``."""
        columns = []
        for name, bijection in self._bijections.items():
            free = latents[name] if bijection is None else bijection.inv(latents[name])
            if not free.isfinite().all():
                raise InputError(
                    f"a draw of site '{name}' lies outside the support that the model gives it, "
                    "or on its edge, and no chain can start there; take start='prior', or a prior "
                    "that keeps off the edge"
                )
            free = free.movedim(self._data_axis, 1)
            self._shapes[name] = free.shape[2:]
            columns.append(free.flatten(2) if free.dim() > 2 else free.unsqueeze(-1))
        return torch.cat(columns, dim=-1)

    def latents(self, position: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The inverse of `position`, and the log-determinant of its Jacobian per chain and datum.

        Shapes are those of the positions that were made before.
        """
        log_volume = torch.zeros_like(position[..., 0])
        sizes = [shape.numel() for shape in self._shapes.values()]
        latents = {}
        for part, (name, shape) in zip(
            position.split(sizes, -1), self._shapes.items(), strict=True
        ):
            free = part.unflatten(-1, shape) if shape else part.squeeze(-1)
            free = free.movedim(1, self._data_axis)
            bijection = self._bijections[name]
            if bijection is None:
                latents[name] = free
                continue
            latents[name] = bijection(free)
            term = bijection.log_abs_det_jacobian(free, latents[name]).movedim(self._data_axis, 1)
            log_volume = log_volume + term.reshape(*term.shape[:2], -1).sum(-1)
        return latents, log_volume


def _bijections(pair: Pair, audit: Audit, batch: Batch) -> dict[str, Transform | None]:
    """From the reals to the support of each latent; ``None`` where that is the reals."""
    found: dict[str, Transform | None] = {}
    traces: Any = [poutine.trace(pair.call_model).get_trace(**batch) for _ in range(2)]
    for name in audit.latents:
        support, other = (_support(trace.nodes[name]["fn"]) for trace in traces)
        if support.is_discrete:
            raise InputError(
                f"site '{name}' is discrete, and Hamiltonian transitions move real numbers; sum it "
                "out in the model, or take log_evidence"
            )
        if not _same(support, other):
            raise InputError(
                f"the support of site '{name}' depends on other latents, so that a chain could "
                "not move them one by one; give it a fixed support, scaled by them afterwards"
            )
        try:
            bijection = biject_to(support)
        except NotImplementedError:
            raise InputError(
                f"site '{name}' has the support {support}, to which torch knows no bijection from "
                "the reals; register one with torch.distributions.biject_to"
            ) from None
        base = bijection
        while isinstance(base, IndependentTransform):
            base = base.base_transform
        found[name] = None if base == identity_transform else bijection
    return found


def _support(fn: Any) -> constraints.Constraint:
    """The support of a distribution; of a mixture, that which all its components have."""
    if isinstance(fn, (dist.MaskedDistribution, dist.ExpandedDistribution)):
        return _support(fn.base_dist)
    if isinstance(fn, torch.distributions.Independent):
        base = _support(fn.base_dist)
        return constraints.independent(base, fn.reinterpreted_batch_ndims)
    if isinstance(fn, torch.distributions.MixtureSameFamily):
        shared = _support(fn.component_distribution)
        if not any(isinstance(number, Tensor) for number in _numbers(shared)):
            return shared
    return cast("constraints.Constraint", fn.support)


def _numbers(constraint: Any) -> Iterator[Any]:
    """What a constraint is made of, down to its numbers and tensors."""
    if isinstance(constraint, constraints.Constraint):
        yield type(constraint)
        for value in vars(constraint).values():
            yield from _numbers(value)
    elif isinstance(constraint, (list, tuple)):
        for value in constraint:
            yield from _numbers(value)
    else:
        yield constraint


def _same(a: constraints.Constraint, b: constraints.Constraint) -> bool:
    """Whether two supports are one."""
    one, other = list(_numbers(a)), list(_numbers(b))
    return len(one) == len(other) and all(
        isinstance(x, Tensor) == isinstance(y, Tensor)
        and (torch.equal(x, y) if isinstance(x, Tensor) else x == y)
        for x, y in zip(one, other, strict=True)
    )


# Data from the model.


def _simulate(pair: Pair, audit: Audit, like: Batch, seed: int) -> tuple[dict[str, Tensor], Batch]:
    """Draw z* and x* from the model: latents with one particle, and a batch.

    What the model observes beside x stays observed. That (z*, x*) is a draw of p(x, z) asks that
    the program read x nowhere but where it observes it, and that what it observes beside not depend
    on z; both are looked at.
    """
    observed = _sites(pair.call_model, like)
    x = like["x"].to(pair.dtype)
    sites = [name for name in audit.supports if (observed[name]["value"] == x).all()]
    if len(sites) != 1:
        raise InputError(
            f"x itself is observed at {len(sites)} sites of the model ({', '.join(sites) or 'none'}"
            "), and is simulated from one; observe x whole, as in pyro.sample('x', ..., obs=x)"
        )
    (site,) = sites
    rest = {n: s for n, s in observed.items() if s["is_observed"] and n != site}
    free = poutine.condition(
        poutine.uncondition(pair.call_model), {name: s["value"] for name, s in rest.items()}
    )
    torch.manual_seed(seed)
    drawn = _sites(free, like)
    batch = {**like, "x": drawn[site]["value"]}
    torch.manual_seed(seed)
    if not torch.equal(_sites(free, batch)[site]["value"], batch["x"]):
        raise InputError(
            f"what the model draws at site '{site}' depends on the x it is given, so that one call "
            "does not simulate a datum; only a model that reads x where it observes it can be "
            "simulated"
        )
    for name, node in rest.items():
        if not torch.equal(node["log_prob"], drawn[name]["log_prob"]):
            raise InputError(
                f"site '{name}' is observed beside x and depends on the latents, so that draws of "
                "them do not come from the posterior given it; leave it out of the model"
            )
    if "mask" in batch:  # as data has it: zero where nothing was observed
        mask = batch["mask"].bool()
        batch["x"] = torch.where(mask, batch["x"], torch.zeros_like(batch["x"]))
    latents = {}
    for name in audit.latents:
        value, events = drawn[name]["value"], len(drawn[name]["fn"].event_shape)
        missing = 1 + audit.max_plate_nesting + events - value.dim()
        latents[name] = value.reshape((1,) * missing + value.shape)
    return latents, batch


def _sites(program: Callable[..., Any], batch: Batch) -> dict[str, Any]:
    """The random variables of one call, scored."""
    trace: Any = poutine.trace(program).get_trace(**batch)
    trace.compute_log_prob()
    return {
        name: node
        for name, node in trace.nodes.items()
        if node["type"] == "sample"
        and not site_is_subsample(node)
        and not node["infer"].get("_deterministic")
    }


class _Ticks:
    """Spreads the rows of a batch evenly over the transitions that are made for them."""

    def __init__(self, rows: int, transitions: int, on_rows: Callable[[int], None]) -> None:
        self._rows, self._transitions, self._on_rows = rows, transitions, on_rows
        self._made = self._told = 0

    def __call__(self) -> None:
        self._made += 1
        self._tell(self._rows * self._made // self._transitions)

    def finish(self) -> None:
        """Tell of rows for which there were no transitions to make."""
        self._tell(self._rows)

    def _tell(self, rows: int) -> None:
        if rows > self._told:
            self._on_rows(rows - self._told)
            self._told = rows


@contextmanager
def _set_apart(pair: Pair, device: torch.device) -> Iterator[None]:
    """The programs in evaluation, and the caller's random state as it was."""
    with frozen(pair), torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def _standard_error(values: Tensor) -> float:
    return float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan
