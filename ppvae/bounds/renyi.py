"""Renyi's bound: a power mean of the weights, between the mean of their logs and the log of it.

The evidence lower bound and the importance-weighted one are its orders 1 and 0.
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
    posterior. Order 0 is `ImportanceWeightedELBO`, order 1, as a limit, the evidence lower bound,
    and so is every order at K = 1. A larger order makes the guide keep to where the posterior has
    mass, a smaller one makes it cover all of that.

    When it is a bound. Every single estimate falls as alpha rises, as power means do, so that for
    any alpha >= 0 and any K it is a lower bound on log p(x), no higher than the importance-weighted
    one. With alpha in [0, 1) it rises with K from the evidence lower bound, with alpha > 1 it falls
    from there. With alpha < 0 it rises towards an *upper* bound: for each K it stays below log p(x)
    down to some alpha_K < 0 that is not known, and alpha_K goes to 0 as K grows; it may be
    maximized, and `reported` gives the importance-weighted bound of the same weights.

    Unlike ``pyro.infer.RenyiELBO``, it is right where the data are subsampled, and has a
    ``differentiable_loss``. The gradient is that of the very value, through reparameterized draws.
    What a datum is, the further arguments and what is refused: `WeightedELBO`. ::

        elbo = RenyiELBO(alpha=0.5, num_particles=5, vectorize_particles=True)

    Args:
        alpha: the order, any number but 1.
        options: ``num_particles``, K, and what else `WeightedELBO` takes.

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
