"""The objective of a fit: a bound, with the KL weighted by beta, as an ``nn.Module``."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer import ELBO, TraceEnum_ELBO
from torch import Tensor, nn
from torch.distributions import kl_divergence

from ppvae.bounds.enumeration import expectations
from ppvae.bounds.kl_weight import Call, Replayed, Weighed, log_prob
from ppvae.bounds.traits import traits_of
from ppvae.networks.mixed_precision import MixedNetworks
from ppvae.programs import Pair
from ppvae.programs.densities import log_weights
from ppvae.programs.facts import Audit
from ppvae.programs.sites import is_random_variable


class Terms(NamedTuple):
    """A bound on one batch and its parts: sums over the batch's data, in nats.

    Attributes:
        objective: the maximized quantity at the given beta, with any term that the guide adds in
            training, such as that of known classes; only it has a gradient.
        elbo: the bound itself, at beta = 1: reconstruction - kl or, with importance weights, the
            bound of K draws, which is tighter (less tight for a `RenyiELBO` with alpha above 1);
            where the objective is no lower bound, the importance-weighted bound of the same draws.
        reconstruction: the expected log-likelihood, E_q[log p(x | z)].
        kl: KL(q(z | x) || p(z)), exact or by Monte Carlo as in the bound.
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
    the latent sites of the model *and* of the guide: some estimators read the scale of one, others
    of both. With importance weights, beta is thus a power of p(z) / q(z | x) in each weight, and
    beta = 0 leaves the likelihood alone.

    Args:
        pair: model and guide.
        elbo: the bound, as a class.
        audit: the audit of the pair under this bound.
        particles: draws of the latents per datum, in one call where the programs allow it.
        options: further arguments of ``elbo``.
    """

    def __init__(
        self, pair: Pair, elbo: type[ELBO], audit: Audit, particles: int = 1, **options: Any
    ) -> None:
        super().__init__()
        self.pair = pair
        self.audit = audit
        self.traits = traits_of(elbo)
        self.elbo = elbo(
            num_particles=particles,
            vectorize_particles=particles > 1 and audit.vectorizes,
            max_plate_nesting=audit.axes.nesting,
            **options,
        )
        self._mixed = MixedNetworks(*pair.owners)

    @property
    def is_linear(self) -> bool:
        """Whether the objective is reconstruction - beta KL.

        With enumerated classes it need not be: a guide may add a term for the known ones.
        """
        return self.traits.is_linear

    @property
    def is_static_sum(self) -> bool:
        """Whether latents are enumerated and the computation depends on no tensor values.

        All sums are then over all values of sites of the guide, and no score is needed.
        """
        is_pyros = type(self.elbo) is TraceEnum_ELBO
        return is_pyros and not (self.audit.summed or self.audit.needs_scores)

    @property
    def is_lower(self) -> bool:
        """Whether the expectation of the objective at beta = 1 is a lower bound on log p(x)."""
        return not self.traits.weighs_draws or bool(cast("Any", self.elbo).is_lower)

    def forward(self, batch: Mapping[str, Tensor], beta: float = 1.0) -> Terms:
        """Estimate the bound on ``batch``: ``{"x": (batch, ...), ...}``; see `Terms`."""
        if self.audit.summed:
            return self._summed(batch, beta)
        if self.is_static_sum:
            return self._enumerated(batch, beta)
        model, guide = Weighed(self.pair.call_model, beta), Weighed(self.pair.call_guide, beta)
        with self._mixed.only(batch["x"].device.type):
            loss = self._loss(model, guide, batch)
            # A program that subsamples a plate of N estimates the bound on all N data.
            share = self.audit.share(len(batch["x"]))
            objective = -loss * share
            with torch.no_grad():
                calls = list(zip(model.calls, guide.calls, strict=True))
                return self._terms(objective, calls, beta, share)

    def _enumerated(self, batch: Mapping[str, Tensor], beta: float) -> Terms:
        """The terms where every sum is over values of the guide's sites, and no score is needed.

        Pyro drops values of probability 0, a choice by tensor values that no graph can hold. Here
        they have weight 0.
        """
        model, guide = Weighed(self.pair.call_model, 1.0), Weighed(self.pair.call_guide, 1.0)
        with self._mixed.only(batch["x"].device.type):
            for _ in cast("Any", self.elbo)._get_traces(model, guide, (), dict(batch)):
                pass  # the programs record their calls
            share = self.audit.share(len(batch["x"]))
            calls = list(zip(model.calls, guide.calls, strict=True))
            reconstruction, kl = self._expected(calls, share)
            # A guide adds a training term as an observed site, made by `pyro.factor`.
            added = [
                log_prob(site).sum()
                for sites in guide.calls
                for site in sites.values()
                if site.node["is_observed"]
            ]
            more = sum(added) * share / self.elbo.num_particles
        objective = reconstruction - beta * kl - more
        reconstruction, kl = reconstruction.detach(), kl.detach()
        return Terms(objective, reconstruction - kl, reconstruction, kl)

    def _expected(self, calls: list[Call], share: float) -> tuple[Tensor, Tensor]:
        """Reconstruction and KL where latents are enumerated, as sums over data."""
        parts = zip(*(expectations(model, guide) for model, guide in calls), strict=True)
        reconstruction, kl = (torch.stack(part).sum() for part in parts)
        draws = share / self.elbo.num_particles
        return reconstruction * draws, kl * draws

    def _summed(self, batch: Mapping[str, Tensor], beta: float) -> Terms:
        """The terms where the model sums over a latent on which p(z) and p(x | z) both depend.

        Without observed sites, the bound on the same draws is E_q[log p(z) - log q(z | x)], with
        the sum inside: minus the KL.
        """
        model, guide = Weighed(self.pair.call_model, 1.0), Weighed(self.pair.call_guide, 1.0)
        with self._mixed.only(batch["x"].device.type):
            share = self.audit.share(len(batch["x"]))
            elbo = -self._loss(model, guide, batch) * share
            again = Replayed(self.pair.call_guide, guide.calls)
            prior = poutine.block(self.pair.call_model, hide_fn=_is_data)
            kl = self._loss(prior, again, batch) * share
        objective = elbo if beta == 1 else elbo + (1 - beta) * kl
        return Terms(objective, elbo.detach(), (elbo + kl).detach(), kl.detach())

    def _loss(self, model: Any, guide: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """Minus the bound, as a sum over data."""
        elbo, learns = cast("Any", self.elbo), torch.is_grad_enabled()
        # Pyro raises where a sum over values has no gradient, also in evaluation.
        with torch.set_grad_enabled(learns or self.traits.enumerates):
            if self.traits.has_surrogate:
                # Private to Pyro: its public `loss_and_grads` adds gradients to the parameters
                # itself, where the loop and a captured graph need a loss to differentiate.
                value, surrogate = elbo._loss_and_surrogate_loss(model, guide, (), dict(batch))
                loss = surrogate - surrogate.detach() - value.detach()  # Pyro's value is the bound
            else:
                loss = elbo.differentiable_loss(model, guide, **batch)
        return cast("Tensor", loss if learns else loss.detach())

    def _terms(self, objective: Tensor, calls: list[Call], beta: float, share: float) -> Terms:
        """The parts of the objective, from the same draws."""
        draws = share / self.elbo.num_particles
        if self.traits.enumerates:
            reconstruction, kl = self._expected(calls, share)
        else:
            kl = self._kl(calls) * draws
            if self.traits.is_linear:
                reconstruction = objective.detach() + beta * kl
            else:
                likelihoods = [
                    log_prob(site).sum()
                    for model, _ in calls
                    for site in model.values()
                    if site.node["is_observed"]
                ]
                reconstruction = torch.stack(likelihoods).sum() * draws
        elbo = reconstruction - kl
        if self.traits.weighs_draws:
            weights = self._log_weights(calls, share)
            elbo = cast("Any", self.elbo).reported(weights).sum()
        return Terms(objective, elbo, reconstruction, kl)

    def _kl(self, calls: list[Call]) -> Tensor:
        """The KL term as in the bound, at the programs' own scales, summed over particles."""
        total = torch.zeros(())
        for model, guide in calls:
            latents = {name: site for name, site in model.items() if not site.node["is_observed"]}
            for name, site in guide.items():
                if name in self.audit.exact:
                    kl = kl_divergence(site.node["fn"], latents[name].node["fn"])
                    scaled = scale_and_mask(kl, site.scale, site.node["mask"])
                    total = total + cast("Tensor", scaled).sum()
                else:
                    total = total + log_prob(site).sum()
            for name, site in latents.items():
                if name not in self.audit.exact:
                    total = total - log_prob(site).sum()
        return total

    def _log_weights(self, calls: list[Call], share: float) -> Tensor:
        """Log p(x, z) - log q(z | x) of each draw and datum, at beta = 1: ``(particles, data)``."""
        by_datum = self.audit.axes.by_datum
        weights = [
            log_weights(*([by_datum(log_prob(site)) for site in sites.values()] for sites in call))
            for call in calls
        ]
        return torch.cat(weights) * share


def _is_data(msg: Any) -> bool:
    return is_random_variable(msg) and msg["is_observed"]
