"""Bounds of importance weights: functions of the log-weights of K draws, datum by datum.

Each draw from the guide has a weight p(x, z) / q(z | x), whose expectation is p(x) whatever the
guide. Bounds differ only in their function of the K log-weights of a datum.
"""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from math import log
from typing import Any, NamedTuple, cast, final, override

import pyro.distributions as dist
import torch
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppvae.bounds.differentiable import DifferentiableELBO
from ppvae.bounds.paths import Paths
from ppvae.bounds.traces import check_particles, importance_traces, shared_plates
from ppvae.bounds.traits import Traits
from ppvae.errors import InputError
from ppvae.networks.tracing import is_traced
from ppvae.programs.axes import sum_inside
from ppvae.programs.densities import log_density, log_weights
from ppvae.programs.plates import (
    Plates,
    describe,
    dims,
    every_plate,
    listed_plates,
    plates,
    ratio,
    subsampling,
)
from ppvae.programs.sites import base, is_auxiliary, is_subsample, observed, sites


class WeightedELBO(DifferentiableELBO):
    """A bound that is a function of the log-weights of K draws per datum, summed over data.

    A datum is a cell of the vectorized plates that all sites share, usually of one plate. Its
    log-weights, ``(K, data)``, sum its part of every site over the plates inside. Where the data
    are subsampled, B of N, the factor N / B multiplies the bound of each datum, outside the
    logarithm, so that the expectation over subsamples is the bound on all N data; all K draws use
    the same subsample. Any other scale of a site (such as ``poutine.scale``) is a power of its
    density and stays inside. Auxiliary sites of the guide count in q, as in Pyro's bounds.

    Use it in place of a bound of Pyro: ``SVI(model, guide, optimizer, elbo)``, or the module
    ``elbo(model, guide)``.

    Args:
        num_particles: K.
        max_plate_nesting: how deep plates are nested in the programs. Where it is not given and
            particles are vectorized, an extra run before the first call finds it.
        vectorize_particles: draw all K at once, in a plate outside all others, at dimension
            ``-max_plate_nesting - 1``.

    The further arguments are those of ``pyro.infer.ELBO``.

    Raises:
        InputError: when called, where such weights do not exist: K below 1; nothing observed, or
            observed sites that share no vectorized plate; a latent outside that plate; a plate
            subsampled inside it; a site marked for enumeration; a site of the guide that has no
            reparameterized draw, or is a point mass; a latent that only the model has, or only the
            guide.
    """

    traits = Traits(weighs_draws=True, needs_rsample=True)

    is_lower = True
    """Whether the expectation of the objective is a lower bound on log p(x), for every K."""

    @abstractmethod
    def bounds(self, log_weights: Tensor) -> Tensor:
        """The bound of each datum, in nats, ``(data,)``, from its log-weights, ``(K, data)``."""

    @final
    def reported(self, log_weights: Tensor) -> Tensor:
        """A lower bound on log p(x) of each datum, in nats: ``(data,)`` of ``(K, data)``.

        The objective itself where it is a lower bound; else the importance-weighted bound.
        """
        if self.is_lower:
            return self.bounds(log_weights)
        return log_weights.logsumexp(0) - log(len(log_weights))

    def _objective(self, weights: "Weights") -> Tensor:
        """The sum of the bounds; a subclass may change its gradient."""
        return self.bounds(weights.log_weights()).sum()

    @override
    def differentiable_loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Minus the bound on all data, in nats: a scalar that autograd differentiates."""
        check_particles(self.num_particles)
        with _SameSubsample():
            runs = list(cast("Any", self)._get_traces(model, guide, args, kwargs))
        weights = Weights(runs, self.vectorize_particles and self.num_particles > 1)
        return -weights.subsampling * self._objective(weights)

    @override
    def _get_trace(
        self, model: Callable[..., Any], guide: Callable[..., Any], args: Any, kwargs: Any
    ) -> "TracePair":
        """Run the guide, then the model on its draws; refuse pairs without weights."""

        def check(model: Trace, guide: Trace) -> None:
            _check_density(guide, type(self).__name__)
            _data_plates(model, guide)

        paths = Paths()
        p, q = importance_traces(self, model, paths(guide), args, kwargs, check)
        return TracePair(p, q, paths)


class TracePair(NamedTuple):
    """Traces of one call of both programs: of one particle, or of all if they are vectorized."""

    model: Trace
    guide: Trace
    paths: Paths


class Weights:
    """The log-weights of K draws per datum: from K runs, or from one vectorized run."""

    def __init__(self, runs: Sequence[TracePair], is_vectorized: bool) -> None:
        self.runs = runs
        self._is_vectorized = is_vectorized
        self._plates = _data_plates(runs[0].model, runs[0].guide)

    @property
    def subsampling(self) -> float:
        """N / B, where B of N data are subsampled."""
        site = next(iter(observed(self.runs[0].model).values()))
        return subsampling(site, self._plates)

    def log_weights(self, held: Sequence[Collection[str]] | None = None) -> Tensor:
        """Log p(x, z) - log q(z | x), ``(K, data)``.

        Args:
            held: run by run, names of the guide's sites whose log-density passes no derivative
                back.
        """
        apart = held or [()] * len(self.runs)
        pairs = zip(self.runs, apart, strict=True)
        return self._together([self._log_weights(run, names) for run, names in pairs])

    def _log_weights(self, run: TracePair, held: Collection[str]) -> Tensor:
        log_p = [(node, node["log_prob"]) for node in sites(run.model).values()]
        log_q = [
            (node, node["log_prob"].detach() if name in held else node["log_prob"])
            for name, node in sites(run.guide).items()
        ]
        return log_weights(
            (self._by_datum(*term) for term in log_p), (self._by_datum(*term) for term in log_q)
        )

    def log_q(self, densities: Sequence[dict[str, Tensor]]) -> Tensor:
        """Log-densities of some of the guide's sites, run by run, as ``(K, data)``."""
        sums = []
        for run, some in zip(self.runs, densities, strict=True):
            nodes = sites(run.guide)
            terms = (self._by_datum(nodes[name], log_q) for name, log_q in some.items())
            sums.append(log_density(terms))
        return self._together(sums)

    def power(self, names: Iterable[str]) -> Tensor | float:
        """The factor that scales and masks give log q of these sites of the guide, without N / B.

        A number, or one per datum.

        Raises:
            InputError: if it differs between sites, or within a datum.
        """
        powers = [(name, *self._power(self.runs[0].guide.nodes[name])) for name in names]
        first, _, power = powers[0]
        for name, parts, _ in powers:
            if not _is_equal(parts, power):
                raise InputError(
                    f"site '{name}' of the guide has another scale or mask than '{first}', or one "
                    "that varies within a datum, and this bound needs one power of log q for all; "
                    "scale and mask latents alike, or take ImportanceWeightedELBO"
                )
        return power

    def _power(self, node: Any) -> tuple[Tensor | float, Tensor | float]:
        """The power of each part of a datum, and that of a datum if its parts are alike."""
        scale, mask = node["scale"] / subsampling(node, self._plates), node["mask"]
        if not isinstance(mask, Tensor) and not isinstance(scale, Tensor):
            power = scale * (mask is not False)
            return power, power
        parts = scale_and_mask(torch.ones_like(node["log_prob"]), scale, mask)
        whole = sum_inside(parts, dims(node, self._plates))
        return parts, whole / (parts.numel() // whole.numel())

    def _together(self, runs: Sequence[Tensor]) -> Tensor:
        return runs[0] if self._is_vectorized else torch.stack(list(runs))

    def _by_datum(self, node: Any, log_prob: Tensor) -> Tensor:
        """Log-density of a site, without the factor of subsampled data, summed within each datum.

        Dimensions inside a datum are kept with size 1, so that sites broadcast.
        """
        return sum_inside(log_prob, dims(node, self._plates)) / subsampling(node, self._plates)


class _SameSubsample(Messenger):
    """Repeats the subsample of a plate for every particle, so that weights are of the same data."""

    def __init__(self) -> None:
        super().__init__()
        self._drawn: dict[str, Any] = {}

    def _pyro_sample(self, msg: Any) -> None:
        if is_subsample(msg) and msg["name"] in self._drawn:
            msg["value"], msg["done"] = self._drawn[msg["name"]], True

    def _pyro_post_sample(self, msg: Any) -> None:
        if is_subsample(msg):
            self._drawn[msg["name"]] = msg["value"]


def _data_plates(model: Trace, guide: Trace) -> Plates:
    """The vectorized plates that all sites share, whose cells are the data."""
    shared = shared_plates(model)
    p, q = sites(model), sites(guide)
    latents = [(name, node, "model") for name, node in p.items() if not node["is_observed"]]
    for name, node, role in (*latents, *((name, node, "guide") for name, node in q.items())):
        outer, shared = shared, shared & plates(node)
        if not shared:
            raise InputError(
                f"site '{name}' of the {role} ({describe(node)}) lies outside the plate of the "
                f"data, {listed_plates(outer)}: it couples all data, so that weights per datum do "
                "not exist; draw it inside that plate, or take Trace_ELBO"
            )
    for name, node in (*p.items(), *q.items()):
        for plate in every_plate(node):
            if plate not in shared and ratio(plate) != 1:
                raise InputError(
                    f"site '{name}' lies in plate '{plate.name}', which takes {plate.size} of "
                    f"{plate.full_size} inside the plate of the data, {listed_plates(shared)}: the "
                    "weight of a part of a datum gives no bound; subsample the data alone, or "
                    "take Trace_ELBO"
                )
    return shared


def _check_density(guide: Trace, bound: str) -> None:
    """Refuse a Delta that has no density and is computed from no auxiliary draw."""
    nodes = sites(guide)
    noise = [node for node in nodes.values() if is_auxiliary(node)]
    if any(not isinstance(base(node["fn"]), dist.Delta) for node in noise):
        return
    for name, node in nodes.items():
        fn = base(node["fn"])
        if isinstance(fn, dist.Delta) and not is_traced() and not fn.log_density.any():
            raise InputError(
                f"site '{name}' of the guide is Delta, a point mass, whose density is infinite, so "
                f"that {bound} has no weights p(x, z) / q(z | x); take Trace_ELBO, or a guide with "
                "a density, such as MeanField"
            )


def _is_equal(a: Any, b: Any) -> bool:
    # A graph cannot look at values; the bound was called eagerly before it was traced.
    if is_traced():
        return True
    return bool(torch.as_tensor(abs(a - b) <= 1e-5 * abs(b)).all())
