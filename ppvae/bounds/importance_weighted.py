"""The importance-weighted bound: the log of a mean of weights, in place of the mean of their logs.

Each of K draws from the guide has a weight p(x, z) / q(z | x), whose expectation is p(x) whatever
the guide. The evidence lower bound averages the weights' logarithms; this one averages the weights
first, and so comes nearer to log p(x).
"""

import math
from collections.abc import Callable
from typing import Any, cast, override

import pyro.distributions as dist
import torch
from pyro.infer import ELBO
from pyro.infer.enum import get_importance_trace
from pyro.infer.util import is_validation_enabled, validation_enabled
from pyro.poutine import Trace
from pyro.poutine.indep_messenger import CondIndepStackFrame
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from pyro.util import check_model_guide_match, check_site_shape, warn_if_nan
from torch import Tensor
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing

from ppvae.errors import InputError

__all__ = ["ImportanceWeightedELBO"]

_PARTICLES = "num_particles_vectorized"
"""What Pyro calls the plate of the particles."""

_Plates = frozenset[CondIndepStackFrame]


class ImportanceWeightedELBO(ELBO):
    """The importance-weighted bound of K draws per datum, summed over data.

    With z_1, ..., z_K drawn independently from q(z | x), K = ``num_particles``::

        L_K(x) = E log (1/K) sum_k p(x, z_k) / q(z_k | x),
        ELBO(x) = L_1(x) <= L_2(x) <= ... <= log p(x).

    What a larger K buys: the gap to log p(x) shrinks, like Var(w) / (2 K p(x)^2) where the weights
    w have a variance, and the model is less bent towards posteriors of the guide's family. What it
    costs: K passes through the programs; and the nearer the bound, the less it tells the guide.
    The signal-to-noise ratio of the guide's gradient falls like 1 / sqrt(K), while that of the
    model's rises like sqrt(K) (Rainforth et al., 2018).

    A datum is a cell of the vectorized plates that all sites share: of one plate, as a rule. Its
    log-weights, ``(K, data)``, sum its own part of every site, over the plates inside. Where the
    data are subsampled, B of N, the factor N / B multiplies the bound of each datum, outside the
    logarithm, so that the expectation over subsamples is the bound on all N data; the K draws are
    of the same subsample. Any other scale of a site (a weight by ``poutine.scale``) is a power of
    its density, and stays inside. Auxiliary sites of the guide count in q, as in Pyro's bounds.

    Use it where one of Pyro's would do: ``SVI(model, guide, optimizer, elbo)``, or the module
    ``elbo(model, guide)``. The gradient is that of the very value, through reparameterized draws::

        elbo = ImportanceWeightedELBO(num_particles=5, vectorize_particles=True)
        loss = elbo(model, guide)
        loss(x).backward()

    Args:
        num_particles: K.
        max_plate_nesting: how deep plates are nested in the programs; found, if particles are
            vectorized and it is not given, by running them once more before the first call.
        vectorize_particles: draw all K at once, in a plate outside all others, at dimension
            ``-max_plate_nesting - 1``.

    The further arguments are those of ``pyro.infer.ELBO``.

    Raises:
        InputError: when called, where such weights do not exist: K below 1; nothing observed, or
            observed sites that share no vectorized plate; a latent outside that plate; a plate
            subsampled inside it; a site that is to be enumerated; one of the guide that has no
            reparameterized draw; a latent that only the model has, or only the guide.

    Source: Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, 2016. On its
    gradients: Rainforth et al., Tighter Variational Bounds are Not Necessarily Better, 2018.
    """

    def differentiable_loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Minus the bound on all data, in nats: a scalar that autograd differentiates."""
        if self.num_particles < 1:
            raise InputError(f"num_particles is {self.num_particles}; it must be at least 1")
        with _SameSubsample():
            traces = list(cast("Any", self)._get_traces(model, guide, args, kwargs))
        plates = _data_plates(*traces[0])
        draws = [_log_weights(p, q, plates) for p, q in traces]
        is_vectorized = self.vectorize_particles and self.num_particles > 1
        log_weights = draws[0] if is_vectorized else torch.stack(draws)
        bounds = log_weights.logsumexp(0) - math.log(self.num_particles)
        _, site = _observed(traces[0][0])[0]
        loss: Tensor = -_subsampling(site, plates) * bounds.sum()
        return loss

    def loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> float:
        """Minus the bound on all data, in nats, as a number."""
        with torch.no_grad():
            loss = self.differentiable_loss(model, guide, *args, **kwargs)
        warn_if_nan(loss, "loss")
        return loss.item()

    def loss_and_grads(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> float:
        """The loss as a number; its gradient is added to that of each parameter."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward(retain_graph=self.retain_graph)
        warn_if_nan(loss, "loss")
        return loss.item()

    @override
    def _get_trace(
        self, model: Callable[..., Any], guide: Callable[..., Any], args: Any, kwargs: Any
    ) -> tuple[Trace, Trace]:
        """Run the guide, then the model on its draws; refuse pairs that have no weights."""
        # Pyro's complaints come after ours, which name the way out under this bound.
        with validation_enabled(False):
            p, q = get_importance_trace("flat", self.max_plate_nesting, model, guide, args, kwargs)
        _check_latents(p, q)
        _data_plates(p, q)
        if is_validation_enabled():
            check_model_guide_match(p, q, self.max_plate_nesting)
            for _, node in (*_sites(p), *_sites(q)):
                check_site_shape(node, self.max_plate_nesting)
        return p, q

    @override
    def _guess_max_plate_nesting(self, *args: Any) -> None:
        # A graph traced on the first call is to hold for those after it.
        with disable_proxy_modes_tracing():
            cast("Any", super())._guess_max_plate_nesting(*args)


class _SameSubsample(Messenger):
    """A plate draws its subsample once: a mean over particles is one over weights of one datum."""

    def __init__(self) -> None:
        super().__init__()
        self._drawn: dict[str, Any] = {}

    def _pyro_sample(self, msg: Any) -> None:
        if site_is_subsample(msg) and msg["name"] in self._drawn:
            msg["value"], msg["done"] = self._drawn[msg["name"]], True

    def _pyro_post_sample(self, msg: Any) -> None:
        if site_is_subsample(msg):
            self._drawn[msg["name"]] = msg["value"]


def _log_weights(model: Trace, guide: Trace, plates: _Plates) -> Tensor:
    """Log p(x, z) - log q(z | x) of each datum, and of each particle where they are vectorized."""
    log_p = sum(_by_datum(node, plates) for _, node in _sites(model))
    log_q = sum(_by_datum(node, plates) for _, node in _sites(guide))
    return cast("Tensor", log_p - log_q)


def _by_datum(node: Any, plates: _Plates) -> Tensor:
    """Log-density of a site, without the factor of subsampled data, summed within each datum."""
    log_prob: Tensor = node["log_prob"]
    kept = [f.dim for f in node["cond_indep_stack"] if f in plates or f.name == _PARTICLES]
    inner = [dim for dim in range(-log_prob.dim(), 0) if dim not in kept]
    # Kept as dimensions of size 1, so that sites fit together.
    total = log_prob.sum(inner, keepdim=True) if inner else log_prob
    return total / _subsampling(node, plates)


def _subsampling(node: Any, plates: _Plates) -> float:
    """N / B, where these plates take B of N data, as the site itself knows them."""
    return math.prod(_ratio(frame) for frame in node["cond_indep_stack"] if frame in plates)


def _ratio(frame: CondIndepStackFrame) -> float:
    return 1.0 if frame.full_size is None else frame.full_size / frame.size


def _data_plates(model: Trace, guide: Trace) -> _Plates:
    """The vectorized plates that all sites share, whose cells are the data."""
    observed = _observed(model)
    if not observed:
        raise InputError(
            "the model has no observed site, and so there are no data to weigh draws by; "
            "give one obs="
        )
    shared = _plates(observed[0][1])
    for name, node in observed:
        shared &= _plates(node)
        if not shared:
            raise InputError(
                f"observed site '{name}' ({_value(node)}) lies in no vectorized plate that all "
                "observed sites share, so that there are no weights per datum; write "
                "'with pyro.plate(\"data\", len(x))' around all of them, or take Trace_ELBO"
            )
    latents = [(name, node, "model") for name, node in _sites(model) if not node["is_observed"]]
    for name, node, role in (*latents, *((*site, "guide") for site in _sites(guide))):
        outer, shared = shared, shared & _plates(node)
        if not shared:
            raise InputError(
                f"site '{name}' of the {role} ({_value(node)}) lies outside the plate of the data, "
                f"{_names(outer)}: it couples all data, so that weights per datum do not exist; "
                "draw it inside that plate, or take Trace_ELBO"
            )
    for name, node in (*_sites(model), *_sites(guide)):
        for frame in node["cond_indep_stack"]:
            if frame not in shared and _ratio(frame) != 1:
                raise InputError(
                    f"site '{name}' lies in plate '{frame.name}', which takes {frame.size} of "
                    f"{frame.full_size} inside the plate of the data, {_names(shared)}: the "
                    "weight of a part of a datum gives no bound; subsample the data alone, or "
                    "take Trace_ELBO"
                )
    return shared


def _check_latents(model: Trace, guide: Trace) -> None:
    """Refuse draws that have no gradient, or no density in one of p(x, z) and q(z | x)."""
    latents = [name for name, node in _sites(model) if not node["is_observed"]]
    for name, node in (*_sites(model), *_sites(guide)):
        how = node["infer"].get("enumerate")
        if how and not node["is_observed"]:
            raise InputError(
                f"site '{name}' asks to be enumerated ('{how}'), and ImportanceWeightedELBO does "
                "not enumerate; take TraceEnum_ELBO"
            )
    for name, node in _sites(guide):
        if not node["fn"].has_rsample:
            raise InputError(
                f"site '{name}' of the guide is {_family(node['fn'])}, which has no "
                "reparameterized draw, and ImportanceWeightedELBO needs one; take Trace_ELBO"
            )
        if name not in latents and not node["infer"].get("is_auxiliary"):
            raise InputError(
                f"site '{name}' of the guide ({_value(node)}) is no latent of the model; add it "
                "there, or mark it infer={'is_auxiliary': True}"
            )
    for name, node in _sites(model):
        if name in latents and name not in guide.nodes:
            raise InputError(
                f"site '{name}' of the model ({_value(node)}) is neither observed nor in the "
                "guide, so that no weight p(x, z) / q(z | x) has it; draw it in the guide"
            )


def _sites(trace: Trace) -> list[tuple[str, Any]]:
    """All sites that have a density: Pyro records a deterministic value as an observed one."""
    nodes: dict[str, Any] = {**trace.nodes}
    return [
        (name, node)
        for name, node in nodes.items()
        if node["type"] == "sample" and not node["infer"].get("_deterministic")
    ]


def _observed(model: Trace) -> list[tuple[str, Any]]:
    return [(name, node) for name, node in _sites(model) if node["is_observed"]]


def _plates(node: Any) -> _Plates:
    frames = node["cond_indep_stack"]
    return frozenset(f for f in frames if f.vectorized and f.name != _PARTICLES)


def _names(plates: _Plates) -> str:
    return " or ".join(sorted(f"'{frame.name}'" for frame in plates))


def _value(node: Any) -> str:
    frames = [f for f in node["cond_indep_stack"] if f.name != _PARTICLES]
    inside = [f"'{f.name}'" if f.vectorized else f"'{f.name}' (a loop)" for f in frames]
    return f"{_family(node['fn'])}, in {'plate ' if inside else 'no plate'}{', '.join(inside)}"


def _family(fn: Any) -> str:
    while isinstance(fn, (torch.distributions.Independent, dist.MaskedDistribution)):
        fn = fn.base_dist
    return type(fn).__name__
