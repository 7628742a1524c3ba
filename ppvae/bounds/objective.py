"""What is climbed: a bound, with the KL weighed by beta, as an ``nn.Module``."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer import (
    ELBO,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
)
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn
from torch.distributions import kl_divergence

from ppvae.bounds import (
    DoublyReparameterizedELBO,
    FreeBitsELBO,
    ImportanceWeightedELBO,
    RenyiELBO,
    StickingTheLandingELBO,
    WeightedELBO,
)
from ppvae.bounds.enumeration import expectations
from ppvae.networks.mixed_precision import MixedNetworks
from ppvae.programs import Pair
from ppvae.programs.facts import Audit

__all__ = ["ELBOS", "LINEAR", "Bound", "Terms"]

LINEAR: tuple[type[ELBO], ...] = (TraceMeanField_ELBO, Trace_ELBO, StickingTheLandingELBO)
"""Bounds whose value is reconstruction - beta KL, draw by draw: Pyro's own, the KL in closed form
where there is one or by Monte Carlo throughout; and the latter with another gradient."""

ELBOS: tuple[type[ELBO], ...] = (
    *LINEAR,
    TraceEnum_ELBO,
    ImportanceWeightedELBO,
    DoublyReparameterizedELBO,
    RenyiELBO,
    FreeBitsELBO,
)
"""What can be climbed by name."""


class Terms(NamedTuple):
    """A bound on one batch and what it is made of: sums over the batch's data, in nats.

    Attributes:
        objective: what is climbed, at the beta asked for, with what a guide adds to the bound in
            training, such as the term of known classes; it has the gradient.
        elbo: the bound itself, at beta = 1: reconstruction - kl, or, of importance weights, the
            bound of K draws, which is tighter (less tight for a `RenyiELBO` of alpha above 1);
            where what is climbed is no lower bound, the importance-weighted one of the same draws.
        reconstruction: the expected log-likelihood, E_q[log p(x | z)].
        kl: KL(q(z | x) || p(z)), exact or by Monte Carlo as the bound takes it.
    """

    objective: Tensor
    elbo: Tensor
    reconstruction: Tensor
    kl: Tensor


class Bound(nn.Module):
    """A lower bound on the evidence of a pair of programs, by one estimator.

    ``TraceMeanField_ELBO`` takes the KL in closed form where torch knows one, ``Trace_ELBO`` takes
    it by Monte Carlo: the same expectation, with different noise. ``beta`` weighs it (Higgins et
    al., 2017; Bowman et al., 2016, for its warm-up) in the same way under every bound, by scaling
    the latent sites of the model *and* of the guide: one estimator reads the scale of one, others
    read both. Under importance weights it is so a power of p(z) / q(z | x) in each weight, which
    at beta = 0 leaves the likelihood alone.

    Args:
        pair: model and guide.
        elbo: the bound, as a class.
        audit: what the audit found of the pair under this bound.
        particles: draws of the latents per datum, in one call where the programs allow it.
        options: further arguments of ``elbo``'s own.
    """

    def __init__(
        self, pair: Pair, elbo: type[ELBO], audit: Audit, particles: int = 1, **options: Any
    ) -> None:
        super().__init__()
        self.pair = pair
        self.audit = audit
        self.elbo = elbo(
            num_particles=particles,
            vectorize_particles=particles > 1 and audit.vectorizes,
            max_plate_nesting=audit.max_plate_nesting,
            **options,
        )
        self._mixed = MixedNetworks(*pair.owners)

    @property
    def is_linear(self) -> bool:
        """Whether what is climbed is reconstruction - beta KL.

        With classes summed over it is not always: a guide may add a term of those that are known.
        """
        return type(self.elbo) in LINEAR

    def forward(self, batch: Mapping[str, Tensor], beta: float = 1.0) -> Terms:
        """Estimate the bound on ``batch``: ``{"x": (batch, ...), ...}``; see `Terms`."""
        if self.audit.summed:
            return self._summed(batch, beta)
        model, guide = _Weigh(self.pair.call_model, beta), _Weigh(self.pair.call_guide, beta)
        with self._mixed.only(batch["x"].device.type):
            loss = self._loss(model, guide, batch)
            # A program that subsamples a plate of N estimates the bound on all N data.
            size, rows = self.audit.data_size, len(batch["x"])
            share = 1.0 if size is None else rows / size
            objective = -loss * share
            with torch.no_grad():
                calls = list(zip(model.calls, guide.calls, strict=True))
                return self._terms(objective, calls, beta, share)

    def _summed(self, batch: Mapping[str, Tensor], beta: float) -> Terms:
        """The same where the model sums over a latent, on which p(z) and p(x | z) both depend.

        The bound without what is observed is E_q[log p(z) - log q(z | x)], the sum in it, on the
        very same draws: minus the KL.
        """
        model, guide = _Weigh(self.pair.call_model, 1.0), _Weigh(self.pair.call_guide, 1.0)
        with self._mixed.only(batch["x"].device.type):
            size, rows = self.audit.data_size, len(batch["x"])
            share = 1.0 if size is None else rows / size
            elbo = -self._loss(model, guide, batch) * share
            again = _Replay(self.pair.call_guide, guide.calls)
            prior = poutine.block(self.pair.call_model, hide_fn=_is_data)
            kl = self._loss(prior, again, batch) * share
        objective = elbo if beta == 1 else elbo + (1 - beta) * kl
        return Terms(objective, elbo.detach(), (elbo + kl).detach(), kl.detach())

    def _loss(self, model: Any, guide: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """Minus the bound, as a sum over data."""
        elbo, learns = cast("Any", self.elbo), torch.is_grad_enabled()
        # Pyro takes a sum over values without a gradient for a mistake, also in evaluation.
        with torch.set_grad_enabled(learns or isinstance(elbo, TraceEnum_ELBO)):
            if isinstance(elbo, TraceGraph_ELBO):
                loss = _of_graph(elbo, model, guide, batch)
            else:
                loss = elbo.differentiable_loss(model, guide, **batch)
        return loss if learns else loss.detach()

    def _terms(self, objective: Tensor, calls: list["_Call"], beta: float, share: float) -> Terms:
        """What the objective is made of, from the very same draws."""
        draws = share / self.elbo.num_particles
        if type(self.elbo) in LINEAR:
            kl = self._kl(calls) * draws
            reconstruction = objective.detach() + beta * kl
        elif isinstance(self.elbo, TraceEnum_ELBO):
            parts = zip(*(expectations(model, guide) for model, guide in calls), strict=True)
            reconstruction, kl = (torch.stack(part).sum() * draws for part in parts)
        else:
            kl = self._kl(calls) * draws
            found = [_log_prob(site) for model, _ in calls for site in _observed(model).values()]
            reconstruction = torch.stack([term.sum() for term in found]).sum() * draws
        elbo = reconstruction - kl
        if isinstance(self.elbo, WeightedELBO):
            elbo = self.elbo.reported(self._log_weights(calls, share)).sum()
        return Terms(objective, elbo, reconstruction, kl)

    def _kl(self, calls: list["_Call"]) -> Tensor:
        """The KL term as the bound took it, at the programs' own scales, over all particles."""
        total = torch.zeros(())
        for model, guide in calls:
            latents = {name: site for name, site in model.items() if not site[0]["is_observed"]}
            for name, (q, scale) in guide.items():
                if name in self.audit.exact:
                    kl = kl_divergence(q["fn"], latents[name][0]["fn"])
                    total = total + cast("Tensor", scale_and_mask(kl, scale, q["mask"])).sum()
                else:
                    total = total + _log_prob((q, scale)).sum()
            for name, site in latents.items():
                if name not in self.audit.exact:
                    total = total - _log_prob(site).sum()
        return total

    def _log_weights(self, calls: list["_Call"], share: float) -> Tensor:
        """Log p(x, z) - log q(z | x) of each draw and datum, at beta = 1: ``(particles, data)``."""
        found = []
        for model, guide in calls:
            parts = [self._by_datum(_log_prob(site)) for site in model.values()]
            parts += [-self._by_datum(_log_prob(site)) for site in guide.values()]
            found.append(torch.stack(torch.broadcast_tensors(*parts)).sum(0) * share)
        return torch.cat(found)

    def _by_datum(self, log_prob: Tensor) -> Tensor:
        """Sum a site over every plate but particles and data: ``(particles or 1, data)``."""
        outer = self.audit.max_plate_nesting + 1
        full = log_prob.reshape((1,) * (outer - log_prob.dim()) + log_prob.shape)
        moved = full.movedim((-outer, cast("int", self.audit.data_dim)), (0, 1))
        return moved.flatten(2).sum(-1) if moved.dim() > 2 else moved


def _of_graph(elbo: TraceGraph_ELBO, model: Any, guide: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """The value of ``TraceGraph_ELBO`` with the gradient of its surrogate."""
    value, surrogate = cast("Any", elbo)._loss_and_surrogate_loss(model, guide, (), dict(batch))
    loss: Tensor = surrogate - surrogate.detach() - value.detach()  # Pyro's value is the bound
    return loss


_Site = tuple[Any, Any]
_Sites = dict[str, _Site]
_Call = tuple[_Sites, _Sites]
"""The sites of one call of the model, and of the guide."""


def _log_prob(site: _Site) -> Tensor:
    """Log-density of a site at its value, at the program's own scale."""
    node, scale = site
    log_prob = node["fn"].log_prob(node["value"], *node["args"], **node["kwargs"])
    return cast("Tensor", scale_and_mask(log_prob, scale, node["mask"]))


def _observed(model: _Sites) -> _Sites:
    return {name: site for name, site in model.items() if site[0]["is_observed"]}


class _Weigh:
    """A program with its latent sites weighed by beta, which remembers all sites of each call."""

    def __init__(self, program: Any, beta: float) -> None:
        self.program, self.beta = program, beta
        self.calls: list[_Sites] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with _WeighMessenger(self.beta) as weighed:
            value = self.program(*args, **kwargs)
        self.calls.append(weighed.sites)
        return value


class _Replay:
    """A program that draws in each call what it drew in a recorded one; sums are taken anew."""

    def __init__(self, program: Any, calls: list[_Sites]) -> None:
        self.program, self.calls = program, iter(calls)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with _ReplayMessenger(next(self.calls)):
            return self.program(*args, **kwargs)


class _ReplayMessenger(Messenger):
    """Gives each latent the distribution and the value that it had, all plates in them."""

    def __init__(self, sites: _Sites) -> None:
        super().__init__()
        self.sites = sites

    def _pyro_sample(self, msg: Any) -> None:
        if site_is_subsample(msg) or msg["is_observed"] or msg["infer"].get("enumerate"):
            return
        known, _ = self.sites[msg["name"]]
        msg["fn"], msg["value"], msg["done"] = known["fn"], known["value"], True


def _is_data(msg: Any) -> bool:
    return msg["type"] == "sample" and msg["is_observed"] and not site_is_subsample(msg)


class _WeighMessenger(Messenger):
    """Scales latent sites by beta; `poutine.scale` would refuse a beta of 0, the autoencoder's."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta
        self.sites: _Sites = {}

    def _pyro_sample(self, msg: Any) -> None:
        if site_is_subsample(msg) or msg["infer"].get("_deterministic"):
            return
        # The message itself is kept: outer handlers have yet to give it a value.
        self.sites[msg["name"]] = (msg, msg["scale"])
        if not msg["is_observed"]:
            msg["scale"] = msg["scale"] * self.beta
