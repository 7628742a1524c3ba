"""Renyi's bound: the log of a power mean of the weights.

Orders 1 and 0 are the evidence lower bound and the importance-weighted bound.
"""

from math import log
from typing import Any, cast, final, override

from torch import Tensor

from ppvae.bounds.importance_weights import WeightedELBO
from ppvae.errors import InputError
from ppvae.networks import is_positive


@final
class RenyiELBO(WeightedELBO):
    """Renyi's variational bound of order alpha, of K draws per datum, summed over data.

    With w_k = p(x, z_k) / q(z_k | x), z_1, ..., z_K drawn independently from q(z | x)::

        L_alpha,K(x) = E 1/(1 - alpha) log (1/K) sum_k w_k^(1 - alpha),

    which for K -> infinity is log p(x) less Renyi's divergence of order alpha from q to the
    posterior. Order 0 is `ImportanceWeightedELBO`. Order 1, as a limit, is the evidence lower
    bound, and so is every order at K = 1. A larger order keeps the guide to where the posterior has
    mass, a smaller one makes it cover all of that mass.

    When it is a bound: every single estimate falls as alpha rises, as power means do. For any
    alpha >= 0 and any K it is therefore a lower bound on log p(x), no higher than the
    importance-weighted one. With alpha in [0, 1) it rises with K from the evidence lower bound;
    with alpha > 1 it falls from there. With alpha < 0 it rises towards an *upper* bound: for each K
    it stays below log p(x) down to some unknown alpha_K < 0, which goes to 0 as K grows. It may be
    maximized all the same, and `reported` gives the importance-weighted bound of the same weights.

    Unlike ``pyro.infer.RenyiELBO``, it is right for subsampled data and has a
    ``differentiable_loss``. The gradient is that of the value, through reparameterized draws.
    `WeightedELBO` defines a datum, the further arguments and the errors. ::

        elbo = RenyiELBO(alpha=0.5, num_particles=5, vectorize_particles=True)

    Args:
        alpha: the order, any number but 1.
        options: ``num_particles``, K, and the other arguments of `WeightedELBO`.

    Raises:
        InputError: for an order of 1, or one that is not finite.

    Source: Li and Turner, Renyi Divergence Variational Inference, 2016; theorem 2 for finite K.
    """

    def __init__(self, alpha: float = 0.5, **options: Any) -> None:
        if not (alpha == 0 or is_positive(abs(alpha))):
            raise InputError(f"alpha is {alpha}; Renyi's bound needs a finite order, such as 0.5")
        if alpha == 1:
            raise InputError(
                "alpha is 1, where Renyi's bound is the evidence lower bound; take Trace_ELBO"
            )
        cast("Any", super()).__init__(**options)
        self.alpha = alpha
        self.is_lower = alpha >= 0

    @override
    def bounds(self, log_weights: Tensor) -> Tensor:
        """Log of the power mean of each datum's weights, in nats: ``(data,)`` of ``(K, data)``."""
        power = 1 - self.alpha
        return ((power * log_weights).logsumexp(0) - log(len(log_weights))) / power
