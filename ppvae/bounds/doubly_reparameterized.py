"""The importance-weighted bound, with a guide gradient of good signal-to-noise ratio at large K.

With more draws the guide's gradient shrinks faster than its noise. The noise comes from the score;
a second reparameterization removes it.
"""

from math import log
from typing import final, override

import torch
from torch import Tensor

from ppvae.bounds.importance_weights import WeightedELBO, Weights
from ppvae.bounds.paths import partials


@final
class DoublyReparameterizedELBO(WeightedELBO):
    """The importance-weighted bound, whose gradient reaches the guide through its draws alone.

    The value is that of `ImportanceWeightedELBO`, draw by draw. With w_k = p(x, z_k) / q(z_k | x),
    v_k = w_k / sum_j w_j, and z_k = z(phi, eps_k), the gradients of a datum are ::

        model:  sum_k v_k d log p(x, z_k) / d theta,
        guide:  sum_k v_k^2 (d log w_k / d z_k) (d z_k / d phi).

    The model's gradient is that of the value. The value's gradient by the guide has v_k in place of
    v_k^2, minus the score, sum_k v_k d log q(z_k; phi) / d phi at given z_k. The expectation of the
    score is not zero here, but it can itself be written as a derivative along the draws, and both
    together give the line above. Both gradients have the same mean. The signal-to-noise ratio of
    this one rises like sqrt(K), where that of the other falls like 1 / sqrt(K); with the exact
    posterior as guide it is zero for every draw. At K = 1 it is `StickingTheLandingELBO`.

    With several sites, z_i = z_i(phi, z_<i, eps_i), each draw is weighed once: d log w / d z_i
    holds all other draws and phi fixed, and d z_i / d phi passes through earlier ones unchanged.
    Where model and guide share weights, a gradient through p counts as the model's. It costs one
    more backward pass through the model, down to z, than `ImportanceWeightedELBO`. `WeightedELBO`
    defines a datum, the arguments and the errors. ::

        elbo = DoublyReparameterizedELBO(num_particles=5, vectorize_particles=True)
        loss = elbo(model, guide)
        loss(x).backward()

    Under scales and masks, where log q counts b times, v_k - b (v_k - v_k^2) replaces v_k^2.

    A density that `StickingTheLandingELBO` keeps whole keeps its full gradient here too, with
    weight v_k as in `ImportanceWeightedELBO`; so do the draws of its site.

    Raises:
        InputError: when called, in addition to the errors of `WeightedELBO`: for a guide whose
            density is known at its own draws only, such as a flow without an inverse; for sites
            that differ in scale or mask.

    Source: Tucker, Lawson, Gu and Maddison, Doubly Reparameterized Gradient Estimators for Monte
    Carlo Objectives, 2019.
    """

    @override
    def bounds(self, log_weights: Tensor) -> Tensor:
        """Log of the mean weight of each datum, in nats: ``(data,)`` of ``(K, data)``."""
        return log_weights.logsumexp(0) - log(len(log_weights))

    @override
    def _objective(self, weights: Weights) -> Tensor:
        densities = [run.paths.densities(run.guide, type(self).__name__) for run in weights.runs]
        log_weights = weights.log_weights(held=densities)
        value = self.bounds(log_weights).sum()
        drawn = [
            run.paths.drawn[name]
            for run, some in zip(weights.runs, densities, strict=True)
            for name in some
        ]
        if not drawn:
            return value
        v = log_weights.detach().softmax(0)
        # The weight of each draw's path in log w; the value itself weighs it by v in p, by 0 in q.
        weight = v - weights.power(densities[0]) * (v - v**2)
        more = (weight - v) * log_weights - weight * weights.log_q(densities)
        pairs = zip(drawn, partials(more.sum(), drawn), strict=True)
        path = torch.stack([(draw * partial).sum() for draw, partial in pairs]).sum()
        return value + (path - path.detach())
