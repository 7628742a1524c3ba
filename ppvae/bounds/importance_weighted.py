"""The importance-weighted bound: the log of a mean of weights, in place of the mean of their logs.

Each of K draws from the guide has a weight p(x, z) / q(z | x), whose expectation is p(x) whatever
the guide. The evidence lower bound averages the weights' logarithms; this one averages the weights
first, and so comes nearer to log p(x).
"""

from math import log
from typing import final, override

from torch import Tensor

from ppvae.bounds.importance_weights import WeightedELBO


@final
class ImportanceWeightedELBO(WeightedELBO):
    """The importance-weighted bound of K draws per datum, summed over data.

    With z_1, ..., z_K drawn independently from q(z | x), K = ``num_particles``::

        L_K(x) = E log (1/K) sum_k p(x, z_k) / q(z_k | x),
        ELBO(x) = L_1(x) <= L_2(x) <= ... <= log p(x).

    A larger K brings the bound nearer to log p(x): the gap shrinks like Var(w) / (2 K p(x)^2) where
    the weights w have a variance, and the model is pulled less towards posteriors of the guide's
    family. It costs K passes through the programs and a noisier gradient of the guide, whose
    signal-to-noise ratio falls like 1 / sqrt(K), while that of the model's gradient rises like
    sqrt(K) (Rainforth et al., 2018); `DoublyReparameterizedELBO` mends that.

    `WeightedELBO` defines a datum, the factor of a subsample, the arguments and the errors. The
    gradient is that of the value, through reparameterized draws::

        elbo = ImportanceWeightedELBO(num_particles=5, vectorize_particles=True)
        loss = elbo(model, guide)
        loss(x).backward()

    Source: Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, 2016. On its
    gradients: Rainforth et al., Tighter Variational Bounds are Not Necessarily Better, 2018.
    """

    @override
    def bounds(self, log_weights: Tensor) -> Tensor:
        """Log of the mean weight of each datum, in nats: ``(data,)`` of ``(K, data)``."""
        return log_weights.logsumexp(0) - log(len(log_weights))
