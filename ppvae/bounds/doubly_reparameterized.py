"""The importance-weighted bound, with a gradient of the guide that does not drown in noise.

More draws bring the bound nearer to log p(x) and its gradient nearer to zero for the guide, faster
than the noise of it falls. The noise is the score's; reparameterized once more, it is gone.
"""

from math import log
from typing import final, override

import torch
from torch import Tensor

from ppvae.bounds.importance_weights import WeightedELBO, Weights
from ppvae.bounds.paths import partials


@final
class DoublyReparameterizedELBO(WeightedELBO):
    """The importance-weighted bound, whose gradient reaches the guide by its draws alone.

    The value is that of `ImportanceWeightedELBO`, draw by draw. With w_k = p(x, z_k) / q(z_k | x),
    v_k = w_k / sum_j w_j, and z_k = z(phi, eps_k), the gradients of a datum are ::

        model:  sum_k v_k d log p(x, z_k) / d theta,
        guide:  sum_k v_k^2 (d log w_k / d z_k) (d z_k / d phi).

    The model's is that of the value. So would be the guide's with v_k in place of v_k^2, less the
    score, sum_k v_k d log q(z_k; phi) / d phi at given z_k: that has an expectation here, but
    one that can itself be written as a derivative along the draws, and together they are the
    above. Both gradients have the same mean. The signal-to-noise ratio of this one rises like
    sqrt(K), where that of the other falls like 1 / sqrt(K); with the exact posterior for a guide it
    is zero for every draw. At K = 1 it is `StickingTheLandingELBO`.

    A draw z_i = z_i(phi, z_<i, eps_i) of several sites is weighed once: d log w / d z_i holds all
    other draws, with phi, and d z_i / d phi passes through the earlier ones as it is. Where model
    and guide share weights, what reaches them by way of p counts as the model's. It costs one more
    pass backwards through the model, down to z, than `ImportanceWeightedELBO`. What a datum is,
    the arguments and what is refused: `WeightedELBO`. ::

        elbo = DoublyReparameterizedELBO(num_particles=5, vectorize_particles=True)
        loss = elbo(model, guide)
        loss(x).backward()

    Under scales and masks, where log q counts b times, v_k - b (v_k - v_k^2) is in place of v_k^2.

    A density is left whole, with v_k, as `ImportanceWeightedELBO` has it, where
    `StickingTheLandingELBO` leaves it whole; so are the draws of such a site.

    Raises:
        InputError: when called, beside what `WeightedELBO` refuses, with a guide that has a density
            known at its own draws only, as of a flow without an inverse; or sites that are not
            scaled and masked alike.

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
        # Of each draw's way into log w; the value's own gradient has v of that into p, none into q.
        weight = v - weights.power(densities[0]) * (v - v**2)
        more = (weight - v) * log_weights - weight * weights.log_q(densities)
        pairs = zip(drawn, partials(more.sum(), drawn), strict=True)
        path = torch.stack([(draw * partial).sum() for draw, partial in pairs]).sum()
        return value + (path - path.detach())
