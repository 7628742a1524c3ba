"""Where is the gap? What the encoder loses for each datum, and what the guide's family cannot say.

The bound misses log p(x) for two reasons (Cremer, Li and Duvenaud, 2018): log p(x) - ELBO[q_x] is
the sum of the *approximation gap* log p(x) - ELBO[q*], q* being the best member of the guide's
family for this very x, and of the *amortization gap* ELBO[q*] - ELBO[q_x], the price of one network
that answers for all x. To find q*, each datum's guide is refined on that datum alone.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.inspect import TrackProvenance
from pyro.ops.provenance import detach_provenance, get_provenance
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn
from torch.distributions import constraints, transform_to

from ppvae.audit import Audit
from ppvae.data import Batch, Split
from ppvae.densities import Densities
from ppvae.diagnostics.evidence import CHUNK
from ppvae.errors import InputError
from ppvae.evaluation import fold_seed
from ppvae.programs import Pair, frozen

__all__ = ["Gap", "Gaps", "How", "gaps"]

How = Literal["parameters", "weights"]
"""What is refined: the parameters of each datum's distributions, or all the guide's weights."""


@dataclass(frozen=True)
class _Search:
    """How q* is sought: steps of Adam, draws a step, and the first step's length."""

    steps: int
    particles: int
    lr: float

    def of_proposal(self) -> "_Search":
        """The shorter search, by shorter steps, from q* for a proposal with even weights."""
        return _Search(max(1, self.steps // 4), 2 * self.particles, self.lr / 3)


DEFAULTS: Mapping[How, _Search] = {
    "parameters": _Search(steps=250, particles=8, lr=0.3),
    "weights": _Search(steps=300, particles=16, lr=3e-3),
}
"""Enough steps to come within 0.02 nats of where many times as many lead, by parameters, and within
0.1 by weights, for a 784-400-20 network on MNIST. Parameters are in units of each datum's posterior
scale, so that some twenty of these can be travelled."""

FEWEST_STEPS = 8
"""The last quarter of the climb is halved, to see whether it still climbs."""


@dataclass(frozen=True)
class Gap:
    """A difference of two figures of each datum, in nats.

    Attributes:
        by_datum: ``(data,)``. It may come out below zero by as much as its error, and by more
            where the search for q* has failed.
        error: its Monte Carlo standard error, ``(data,)``.
    """

    by_datum: Tensor
    error: Tensor

    @property
    def mean(self) -> float:
        """Mean over data, in nats per datum."""
        return float(self.by_datum.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of `mean` over data, which the draws' own noise is part of."""
        if len(self.by_datum) < 2:
            return math.nan
        return float(self.by_datum.std() / math.sqrt(len(self.by_datum)))


@dataclass(frozen=True)
class Gaps:
    """log p(x), and the bounds of the encoder's guide and of the best: all ``(data,)``, in nats.

    Attributes:
        log_p: log p(x).
        log_p_error: its standard error.
        elbo: ELBO[q_x], the encoder's bound.
        elbo_error: its standard error.
        refined: ELBO[q*], by draws with the same noise.
        refined_error: its standard error.
        approximation: log p(x) - ELBO[q*].
        amortization: ELBO[q*] - ELBO[q_x].
        total: log p(x) - ELBO[q_x].
        how: what was refined.
        estimator: where ``log_p`` comes from, in words.
        climb: the refined bound, mean over data, at each step of the search: ``(steps,)``.
    """

    log_p: Tensor
    log_p_error: Tensor
    elbo: Tensor
    elbo_error: Tensor
    refined: Tensor
    refined_error: Tensor
    approximation: Gap
    amortization: Gap
    total: Gap
    how: How
    estimator: str
    climb: Tensor

    @property
    def still_climbing(self) -> float:
        """What the last quarter of the search gained, in nats per datum.

        Its second half's mean less its first half's. Far above `still_climbing_error`, and not
        small beside the gaps, it says that more steps would move nats from the approximation gap
        to the amortization gap.
        """
        before, after = self._last_quarter()
        return float(after.mean() - before.mean())

    @property
    def still_climbing_error(self) -> float:
        """Standard error of `still_climbing`, from the spread of single steps."""
        before, after = self._last_quarter()
        return math.sqrt(float(before.var() / len(before) + after.var() / len(after)))

    def _last_quarter(self) -> tuple[Tensor, Tensor]:
        half = len(self.climb) // 8
        return self.climb[-2 * half : -half], self.climb[-half:]


def gaps(
    pair: Pair,
    audit: Audit,
    split: Split,
    *,
    log_p: Tensor | None = None,
    log_p_error: Tensor | None = None,
    how: How | None = None,
    steps: int | None = None,
    particles: int | None = None,
    lr: float | None = None,
    draws: int = 1000,
    batch_size: int = 128,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
) -> Gaps:
    """Split log p(x) - ELBO of each datum into what the family and what the encoder loses.

    Where every latent of the guide has a distribution of a parametric family with reparameterized
    draws, and none depends on another's draw, ``how`` is ``"parameters"``: the numbers that the
    encoder gives for a datum are let free and climb that datum's bound, all data of a batch at
    once. Constants of the guide, that no weight reaches, stay as they are; so does what is one
    number by broadcasting. The gradient is that of the path alone (Roeder, Wu and Duvenaud, 2017:
    "sticking the landing"), whose noise vanishes as q* comes near p(z | x). Otherwise, for flows
    and guides with a hierarchy, it is ``"weights"``: all the guide's weights are fitted anew to
    one datum after the other, which serves any family and takes some twenty times as long. Adam's
    steps shrink to nothing towards the end. The pair itself is left as it is.

    Without ``log_p`` it is estimated by importance sampling. q* is a better proposal than the
    encoder's guide, yet too narrow where its family lacks the posterior's correlations, so that a
    few of its weights would carry the sum: from q* a proposal is sought that makes the weights
    even, on the bound that averages them (Burda et al., 2016). In expectation the estimate is too
    low, by about half the square of its error, and so is the approximation gap.

    Args:
        pair: model and guide.
        audit: what the audit found of them.
        split: the data; freeze a split that is binarized anew, if ``log_p`` is given.
        log_p: log p(x) of each of them, ``(data,)``, if it is known better than by importance
            sampling: exactly, or by annealing.
        log_p_error: its standard error, ``(data,)``; by default none.
        how: what to refine; by default parameters where that can be done.
        steps: steps of Adam.
        particles: draws per datum and step.
        lr: length of the first steps: for parameters in units of each datum's posterior scale.
        draws: draws per datum that bounds and evidence are taken from.
        batch_size: data at a time.
        seed: of all draws.
        device: where the pair is.
        on_rows: hears of each batch's number of data, for a progress bar.

    Raises:
        InputError: if there is no bound to split or no way to climb it: a point mass, a guide's
            site without a reparameterized draw, latents that the data share; and for ``log_p`` of
            another length, or numbers that are too small.
    """
    if draws < 2:
        raise InputError(f"draws is {draws}; a mean with an error needs at least 2")
    _check_given(len(split), log_p, log_p_error)
    device = torch.device(device)
    cuda = [device] if device.type == "cuda" else []
    with frozen(pair), torch.random.fork_rng(cuda), pyro.validation_enabled(False):
        torch.manual_seed(fold_seed(seed, 7))
        probe = next(split.chunks(min(2, len(split)), device))
        how = _choose(pair, audit, probe, how)
        search = _search(how, steps, particles, lr)
        fits = CHUNK // (2 * search.particles * math.prod(split.shape))
        rows = 1 if how == "weights" else max(1, min(batch_size, fits))
        climb = torch.zeros(search.steps, dtype=torch.float64)
        found: list[dict[str, Tensor]] = []
        done = 0
        for number, batch in enumerate(split.chunks(rows, device)):
            torch.manual_seed(fold_seed(seed, 7, number))
            free = _FREE[how](pair, audit, batch)
            climb += _climb(free, audit, batch, search, _bound) / len(split)
            noise = fold_seed(seed, 7, number, 1)
            weights = [_log_weights(each, audit, batch, draws, noise) for each in (pair, free.pair)]
            if log_p is None:
                _climb(free, audit, batch, search.of_proposal(), _WEIGHTED[how])
                weights.append(_log_weights(free.pair, audit, batch, draws, noise))
            count = len(batch["x"])
            given = None if log_p is None else log_p[done : done + count]
            given_error = None if log_p_error is None else log_p_error[done : done + count]
            found.append(_figures(torch.stack(weights), given, given_error))
            done += count
            on_rows(count)
    estimator = "importance sampling from a refined guide" if log_p is None else "given"
    figures = {name: torch.cat([each[name] for each in found]) for name in found[0]}
    return Gaps(how=how, estimator=estimator, climb=climb, **_differences(figures))


def _check_given(rows: int, log_p: Tensor | None, log_p_error: Tensor | None) -> None:
    if log_p is None and log_p_error is not None:
        raise InputError("log_p_error without log_p: give the estimate that it is the error of")
    for name, value in (("log_p", log_p), ("log_p_error", log_p_error)):
        if value is not None and tuple(value.shape) != (rows,):
            raise InputError(
                f"{name} has shape {tuple(value.shape)} and there are {rows} data; give one number "
                "for each"
            )


def _search(how: How, steps: int | None, particles: int | None, lr: float | None) -> _Search:
    """The search asked for, the rest by default."""
    default = DEFAULTS[how]
    search = _Search(
        default.steps if steps is None else steps,
        default.particles if particles is None else particles,
        default.lr if lr is None else lr,
    )
    if search.steps < FEWEST_STEPS:
        raise InputError(
            f"steps is {search.steps}; to see how it climbs takes at least {FEWEST_STEPS}"
        )
    if search.particles < 1:
        raise InputError(f"particles is {search.particles}; it must be at least 1")
    if search.lr <= 0:
        raise InputError(f"lr is {search.lr:g}; a step has a length above 0")
    return search


class _NotFree(Exception):  # noqa: N818  (a reason, not an error: weights are refined instead)
    """The guide's parameters cannot be let free datum by datum; the message says why."""


def _choose(pair: Pair, audit: Audit, batch: Batch, how: How | None) -> How:
    """What to refine, once it is known that draws can be climbed along."""
    if how not in (None, *DEFAULTS):
        raise InputError(f"how is '{how}'; it is one of {', '.join(map(repr, DEFAULTS))}")
    if not audit.is_bound:
        raise InputError(
            "the guide has a point mass, so that there is no bound whose gap could be split; take "
            "a guide with a density"
        )
    Densities(pair, audit, batch)  # refuses what has no density per datum
    trace: Any = poutine.trace(pair.call_guide).get_trace(**batch)
    for name, node in trace.nodes.items():
        if _is_random(node) and not node["fn"].has_rsample:
            raise InputError(
                f"site '{name}' of the guide is {type(_peeled(node['fn'])[0]).__name__}, which has "
                "no reparameterized draw for a refined guide to climb along; the whole gap is "
                "log_evidence's log_p - elbo"
            )
    if how == "weights":
        return how
    try:
        _check_independent(pair, batch)
        _free_parameters(pair, audit, batch)
    except _NotFree as reason:
        if how == "parameters":
            raise InputError(f"how is 'parameters', but {reason}; take 'weights'") from reason
        return "weights"
    return "parameters"


@dataclass(frozen=True)
class _Free:
    """A guide let free for some data: the pair with it, and the tensors that it depends on."""

    pair: Pair
    leaves: Sequence[Tensor]


class _Rerouted(Pair):
    """A pair that calls its guide in another way, and shares all else with the original."""

    def __init__(self, pair: Pair, call: Callable[..., Any]) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(pair.__dict__)
        self._reroute = call

    def call_guide(self, x: Tensor, **rest: Tensor) -> Any:
        """Run the guide the other way."""
        return self._reroute(x, **rest)


def _climb(
    free: _Free,
    audit: Audit,
    batch: Batch,
    search: _Search,
    objective: Callable[[Tensor], Tensor],
) -> Tensor:
    """Move the leaves up an objective of the log-weights; its sum over data at each step."""
    if not free.leaves:
        raise InputError(_NOTHING)
    densities = Densities(free.pair, audit, batch)
    adam = torch.optim.Adam(free.leaves, lr=search.lr)
    # Long steps at first, for a datum that the encoder has never seen the like of; then an ever
    # smaller noise about the top.
    rates = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: (1 - step / search.steps) ** 2)
    values = []
    for _ in range(search.steps):
        with torch.enable_grad():
            value = objective(densities.draw(search.particles).log_weight).sum()
            gradient = torch.autograd.grad(-value, free.leaves, allow_unused=True)
        if all(each is None for each in gradient):
            raise InputError(_NOTHING)
        for leaf, each in zip(free.leaves, gradient, strict=True):
            leaf.grad = each
        adam.step()
        rates.step()
        values.append(value.detach())
    return torch.stack(values).cpu().double()


_NOTHING = (
    "no weight of the guide reaches its draws, so that there is nothing to refine; name its "
    "weights by pyro.module, or use what pyro.param returns"
)


def _bound(log_weight: Tensor) -> Tensor:
    """The evidence lower bound of each datum, by ``(particles, data)`` log-weights."""
    return log_weight.mean(0)


def _evenly(log_weight: Tensor) -> Tensor:
    """What has the gradient of the log of the mean weight, where densities are held.

    That bound asks for weights that are even, so that its guide covers the posterior. With the
    gradient of the path alone each weight counts by its square (Tucker et al., 2019).
    """
    return (log_weight.softmax(0).detach().square() * log_weight).sum(0)


def _log_weights(pair: Pair, audit: Audit, batch: Batch, draws: int, noise: int) -> Tensor:
    """Log p(x, z) - log q(z), ``(draws, data)`` in float64; the same noise for the same number."""
    densities = Densities(pair, audit, batch)
    size = max(1, CHUNK // batch["x"].numel())
    chunks = []
    for start in range(0, draws, size):
        torch.manual_seed(fold_seed(noise, start))
        count = min(size, draws - start)
        chunks.append(densities.draw(count).log_weight.cpu().double())
    return torch.cat(chunks)


def _figures(
    log_weights: Tensor, log_p: Tensor | None, log_p_error: Tensor | None
) -> dict[str, Tensor]:
    """What log-weights come to, of the encoder, of q*, and, if ``log_p`` is wanted, of a proposal.

    ``log_weights`` is ``(guides, draws, data)``; all guides have the same noise in a draw.
    """
    if not bool(log_weights.isfinite().all()):
        raise InputError(
            "a refined guide's bound is not finite; take a smaller lr, or another checkpoint"
        )
    before, after = log_weights[0], log_weights[1]
    if log_p is None:
        proposal = log_weights[2]
        estimate = proposal.logsumexp(0) - math.log(len(proposal))
        # What each draw adds to the estimate, to first order: w / mean(w).
        adds, given = (proposal - estimate).exp(), torch.zeros_like(estimate)
    else:
        estimate = log_p.cpu().double()
        adds = torch.zeros_like(after)
        given = torch.zeros_like(estimate) if log_p_error is None else log_p_error.cpu().double()
    return {
        "log_p": estimate,
        "log_p_error": torch.hypot(_error(adds), given),
        "elbo": before.mean(0),
        "elbo_error": _error(before),
        "refined": after.mean(0),
        "refined_error": _error(after),
        "approximation": torch.hypot(_error(adds - after), given),
        "amortization": _error(after - before),
        "total": torch.hypot(_error(adds - before), given),
    }


def _differences(figures: dict[str, Tensor]) -> dict[str, Any]:
    """The figures with the gaps in place of the gaps' errors."""
    log_p, elbo, refined = figures["log_p"], figures["elbo"], figures["refined"]
    return figures | {
        "approximation": Gap(log_p - refined, figures["approximation"]),
        "amortization": Gap(refined - elbo, figures["amortization"]),
        "total": Gap(log_p - elbo, figures["total"]),
    }


def _error(values: Tensor) -> Tensor:
    """Standard error of the mean over draws."""
    return values.std(0) / math.sqrt(len(values))


# Parameters: each datum's distributions, let free.


def _check_independent(pair: Pair, batch: Batch) -> None:
    """Refuse a guide of which one site depends on another's draw."""
    with TrackProvenance():
        trace: Any = poutine.trace(pair.call_guide).get_trace(**batch)
    names = {name for name, node in trace.nodes.items() if _is_random(node)}
    for name in names:
        node = trace.nodes[name]
        density = node["fn"].log_prob(detach_provenance(node["value"]))
        others = get_provenance(density) & names - {name}
        if others:
            raise _NotFree(f"site '{name}' of the guide depends on a draw of '{min(others)}'")


def _free_parameters(pair: Pair, audit: Audit, batch: Batch) -> _Free:
    """Let the parameters of every site of the guide free, each datum's from the encoder's answer.

    Raises:
        _NotFree: if a site's distribution is not one of its parameters, in a way that is known.
    """
    weights = _clones(pair)
    with torch.enable_grad(), _in_place(pair, weights):
        trace: Any = poutine.trace(pair.call_guide).get_trace(**batch)
    sites = {
        name: _Site(name, node, cast("int", audit.data_dim))
        for name, node in trace.nodes.items()
        if _is_random(node)
    }
    leaves = [leaf for site in sites.values() for leaf in site.leaves]
    if not leaves:
        raise _NotFree("no weight of the guide reaches a parameter of its distributions")

    def call(x: Tensor, **rest: Tensor) -> Any:
        with _Substitute({name: site.distribution() for name, site in sites.items()}):
            return pair.call_guide(x, **rest)

    return _Free(_Rerouted(pair, call), leaves)


class _Substitute(Messenger):
    """Puts other distributions in the place of those of a program's sites."""

    def __init__(self, distributions: Mapping[str, dist.TorchDistribution]) -> None:
        super().__init__()
        self.distributions = distributions

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.distributions:
            msg["fn"] = self.distributions[msg["name"]]


class _Site:
    """A site of the guide whose distribution's parameters are leaves, in unconstrained space."""

    def __init__(self, name: str, node: Any, data_dim: int) -> None:
        base, self._events = _peeled(node["fn"])
        self._family, self._shape = type(base), base.batch_shape
        self._constants: dict[str, Tensor] = {}
        self._free: dict[str, _Parameter] = {}
        for parameter, constraint in _parameters(base, name).items():
            value = getattr(base, parameter, None)
            if not isinstance(value, Tensor):
                raise _NotFree(f"site '{name}' does not say its '{parameter}'")
            if not value.requires_grad:
                self._constants[parameter] = value
                continue
            try:
                self._free[parameter] = _Parameter(base, value, constraint, data_dim - self._events)
            except NotImplementedError as error:
                raise _NotFree(
                    f"parameter '{parameter}' of site '{name}' cannot be made unconstrained"
                ) from error
        self._check(name, node)

    @property
    def leaves(self) -> list[Tensor]:
        """What is climbed."""
        return [parameter.leaf for parameter in self._free.values()]

    def distribution(self) -> dist.TorchDistribution:
        """The distribution as it is now: draws follow the leaves, and its density holds them."""
        moving = {name: p(p.leaf) for name, p in self._free.items()}
        held = {name: value.detach() for name, value in moving.items()}
        return _Landing(self._made(moving), self._made(held))

    def _made(self, parameters: Mapping[str, Tensor]) -> dist.TorchDistribution:
        fn: Any = self._family(**parameters, **self._constants)
        made: dist.TorchDistribution = fn.expand(self._shape).to_event(self._events)
        return made

    def _check(self, name: str, node: Any) -> None:
        """Refuse a family that its constructor and its named parameters do not make again."""
        try:
            again = self.distribution().log_prob(node["value"])
        except (TypeError, ValueError, RuntimeError) as error:
            raise _NotFree(
                f"{self._family.__name__}, of site '{name}', is not made of its parameters alone"
            ) from error
        if not torch.allclose(again, node["fn"].log_prob(node["value"]), rtol=1e-3, atol=1e-3):
            raise _NotFree(
                f"{self._family.__name__}, of site '{name}', is not a function of its named "
                "parameters"
            )


class _Parameter:
    """One parameter of a family as a function of an unconstrained leaf."""

    def __init__(self, base: Any, value: Tensor, constraint: Any, data_dim: int) -> None:
        events = constraint.event_dim
        # A number that was broadcast over dimensions of one datum is one number of the family; one
        # that was broadcast over data is freed for each.
        narrow = [slice(None)] * value.dim()
        for dim in range(value.dim() - events):
            is_data = dim - (value.dim() - events) == data_dim
            if value.stride(dim) == 0 and not is_data:
                narrow[dim] = slice(0, 1)
        self._unit = _unit(base, value, constraint)[tuple(narrow)].detach()
        self._transform = transform_to(constraint)
        leaf = self._transform.inv(value.detach()[tuple(narrow)] / self._unit)
        self.leaf = leaf.clone().requires_grad_()

    def __call__(self, leaf: Tensor) -> Tensor:
        value: Tensor = self._unit * self._transform(leaf)
        return value


class _Landing(dist.TorchDistribution):
    """Draws from one distribution, with its gradient; the density of another, equal in value."""

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012  (as torch has it)
    has_rsample = True

    def __init__(self, moving: dist.TorchDistribution, held: dist.TorchDistribution) -> None:
        self.moving, self.held = moving, held
        super().__init__(moving.batch_shape, moving.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        return self.moving.support

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_Landing":
        return _Landing(self.moving.expand(batch_shape), self.held.expand(batch_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        value: Tensor = self.moving.rsample(torch.Size(sample_shape))
        return value

    def log_prob(self, value: Tensor) -> Tensor:
        density: Tensor = self.held.log_prob(value)
        return density


def _peeled(fn: Any) -> tuple[Any, int]:
    """A distribution without what declares its dimensions dependent, and how many these are."""
    events = len(fn.event_shape)
    while isinstance(fn, torch.distributions.Independent):
        fn = fn.base_dist
    return fn, events - len(fn.event_shape)


def _parameters(base: Any, name: str) -> dict[str, Any]:
    """Parameters that make a distribution anew, with their constraints: one name for each."""
    try:
        found = dict(base.arg_constraints)
    except NotImplementedError:
        found = {}
    if not found:
        raise _NotFree(
            f"{type(base).__name__}, of site '{name}', is no family with named parameters"
        )
    for chosen, others in _SAME:
        if chosen in found:
            found = {n: c for n, c in found.items() if n not in others}
    return found


_SAME = (("scale_tril", ("covariance_matrix", "precision_matrix")), ("logits", ("probs",)))
"""Of several names for one parameter, the one that is easiest to climb in, and the others."""


def _unit(base: Any, value: Tensor, constraint: Any) -> Tensor:
    """What a parameter is measured in, so that steps mean the same whatever the latent's unit."""
    one = torch.ones_like(value)
    while isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    if constraint not in (constraints.real, constraints.lower_cholesky):
        return one
    try:
        scale = base.stddev
    except (NotImplementedError, AttributeError):
        return one
    if value.dim() == scale.dim() + 1:
        scale = scale[..., None]
    if scale.dim() != value.dim():
        return one
    return torch.where(scale.isfinite() & (scale > 0), scale, one)


# Weights: all of the guide, fitted to one datum.


def _free_weights(pair: Pair, audit: Audit, batch: Batch) -> _Free:  # noqa: ARG001
    """Let all weights of the guide free, starting from where they are."""
    weights = _clones(pair)

    def call(x: Tensor, **rest: Tensor) -> Any:
        with _in_place(pair, weights):
            return pair.call_guide(x, **rest)

    return _Free(_Rerouted(pair, call), list(weights.values()))


def _clones(pair: Pair) -> dict[int, Tensor]:
    """Copies of the guide's parameters, as leaves, by the originals' ids."""
    own = [*pair.guide.parameters(), *pair.params.parameters()]
    return {id(p): p.detach().clone().requires_grad_() for p in own if p.is_floating_point()}


@contextmanager
def _in_place(pair: Pair, weights: Mapping[int, Tensor]) -> Iterator[None]:
    """Other weights in every place where the guide's own are, for as long as the guide runs.

    A copy of the guide would miss the networks that a function refers to; and of a network that
    model and guide share, only the guide's use is to change.
    """
    places = [
        (module._parameters, name, p)
        for module in pair.modules()
        for name, p in module._parameters.items()
        if p is not None and id(p) in weights
    ]
    try:
        for own, name, p in places:
            cast("dict[str, Tensor]", own)[name] = weights[id(p)]
        yield
    finally:
        for own, name, p in places:
            own[name] = p


_FREE: Mapping[How, Callable[[Pair, Audit, Batch], _Free]] = {
    "parameters": _free_parameters,
    "weights": _free_weights,
}

_WEIGHTED: Mapping[How, Callable[[Tensor], Tensor]] = {
    "parameters": _evenly,
    "weights": partial(torch.logsumexp, dim=0),
}
"""What makes weights even; of weights' own gradient nothing is held, and it is the bound's own."""


def _is_random(node: Any) -> bool:
    """Whether a node of a trace is a random variable, plates and deterministic ones aside."""
    return (
        node["type"] == "sample"
        and not site_is_subsample(node)
        and not node["infer"].get("_deterministic")
    )
