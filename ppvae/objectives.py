"""What is climbed: one of Pyro's bounds, with the KL weighed by beta, as an ``nn.Module``."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from pyro.distributions.util import scale_and_mask
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn
from torch.distributions import kl_divergence

from ppvae.audit import Audit
from ppvae.bounds import StickingTheLandingELBO
from ppvae.precision import MixedNetworks
from ppvae.programs import Pair

__all__ = ["ELBOS", "Bound", "Terms"]

ELBOS: tuple[type[ELBO], ...] = (TraceMeanField_ELBO, Trace_ELBO, StickingTheLandingELBO)
"""Pyro's own bounds, the KL in closed form where there is one or by Monte Carlo throughout; and the
latter with another gradient."""


class Terms(NamedTuple):
    """A bound on one batch and what it is made of: sums over the batch's data, in nats.

    Attributes:
        objective: reconstruction - beta kl; its gradient is the one that is climbed.
        reconstruction: the expected log-likelihood, E_q[log p(x | z)].
        kl: KL(q(z | x) || p(z)), exact or by Monte Carlo as the bound takes it. The evidence
            lower bound itself, at beta = 1, is reconstruction - kl.
    """

    objective: Tensor
    reconstruction: Tensor
    kl: Tensor


class Bound(nn.Module):
    """The evidence lower bound of a pair of programs, by one of Pyro's estimators.

    ``TraceMeanField_ELBO`` takes the KL in closed form where torch knows one, ``Trace_ELBO`` takes
    it by Monte Carlo: the same expectation, with different noise. ``beta`` weighs it (Higgins et
    al., 2017; Bowman et al., 2016, for its warm-up) in the same way under both, by scaling the
    latent sites of the model *and* of the guide: one estimator reads the scale of one, the other
    reads both.

    Args:
        pair: model and guide.
        elbo: one of Pyro's bounds, as a class.
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

    def forward(self, batch: Mapping[str, Tensor], beta: float = 1.0) -> Terms:
        """Estimate the bound on ``batch``: ``{"x": (batch, ...), ...}``; see `Terms`."""
        model, guide = _Weigh(self.pair.call_model, beta), _Weigh(self.pair.call_guide, beta)
        with self._mixed.only(batch["x"].device.type):
            loss = cast("Any", self.elbo).differentiable_loss(model, guide, **batch)
            with torch.no_grad():
                kl = self._kl(model.sites, guide.sites)
        # A program that subsamples a plate of N estimates the bound on all N data.
        objective = -loss
        if self.audit.data_size is not None:
            share = len(batch["x"]) / self.audit.data_size
            objective, kl = objective * share, kl * share
        return Terms(objective, objective.detach() + beta * kl, kl)

    def _kl(self, model: list["_Sites"], guide: list["_Sites"]) -> Tensor:
        """The KL term as the bound took it, at the programs' own scales, of the very same draws."""
        total = torch.zeros(())
        for p_sites, q_sites in zip(model, guide, strict=True):
            for name, (q, scale) in q_sites.items():
                if name in self.audit.exact:
                    kl = kl_divergence(q["fn"], p_sites[name][0]["fn"])
                    term = scale_and_mask(kl, scale=scale, mask=q["mask"])
                else:
                    term = scale_and_mask(q["fn"].log_prob(q["value"]), scale=scale, mask=q["mask"])
                total = total + cast("Tensor", term).sum()
            for name, (p, scale) in p_sites.items():
                if name not in self.audit.exact:
                    log_p = scale_and_mask(
                        p["fn"].log_prob(p["value"]), scale=scale, mask=p["mask"]
                    )
                    total = total - log_p.sum()
        mean: Tensor = total / self.elbo.num_particles
        return mean


_Sites = dict[str, tuple[Any, Any]]


class _Weigh:
    """A program with its latent sites weighed by beta, which remembers them from each call."""

    def __init__(self, program: Any, beta: float) -> None:
        self.program, self.beta = program, beta
        self.sites: list[_Sites] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with _WeighMessenger(self.beta) as weighed:
            value = self.program(*args, **kwargs)
        self.sites.append(weighed.sites)
        return value


class _WeighMessenger(Messenger):
    """Scales latent sites by beta; `poutine.scale` would refuse a beta of 0, the autoencoder's."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta
        self.sites: _Sites = {}

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["is_observed"] and not site_is_subsample(msg):
            # The message itself is kept: outer handlers have yet to give it a value.
            self.sites[msg["name"]] = (msg, msg["scale"])
            msg["scale"] = msg["scale"] * self.beta
