"""Bounds that Pyro lacks, one per file, for Pyro's own SVI and for `ppvae.compilation.captured`.

With w_k = p(x, z_k) / q(z_k | x) the weights of K draws from the guide:

============================ ==================================== =================================
bound                        value, in expectation                gradient of the guide
============================ ==================================== =================================
`StickingTheLandingELBO`     E log w, as ``Trace_ELBO``           without the score; zero at the
                                                                  exact posterior
`ImportanceWeightedELBO`     E log mean_k w_k, nearer to log p(x) of the value; its noise rises with
                                                                  K relative to it
`DoublyReparameterizedELBO`  the same                             without the score; its noise falls
                                                                  with K relative to it
`RenyiELBO`                  E log power mean of w_k, of power    of the value
                             1 - alpha; between the two above
                             for alpha in (0, 1)
`FreeBitsELBO`               as ``TraceMeanField_ELBO``, but the  of the value: no KL gradient of a
                             KL of a dimension counts at least    dimension below its free bits
                             as its free bits
============================ ==================================== =================================

All need reparameterized draws. The three bounds of K weights are subclasses of `WeightedELBO`,
which defines a datum and lists the errors; their ``bounds`` takes log-weights ``(K, data)`` from
any source. Each bound states its `Traits`; nothing else in the package asks for its class.
"""

from inspect import isabstract

from pyro.infer import ELBO

from ppvae.bounds.doubly_reparameterized import (
    DoublyReparameterizedELBO as DoublyReparameterizedELBO,
)
from ppvae.bounds.free_bits import FreeBitsELBO as FreeBitsELBO
from ppvae.bounds.importance_weighted import ImportanceWeightedELBO as ImportanceWeightedELBO
from ppvae.bounds.importance_weights import WeightedELBO as WeightedELBO
from ppvae.bounds.renyi import RenyiELBO as RenyiELBO
from ppvae.bounds.sticking_the_landing import StickingTheLandingELBO as StickingTheLandingELBO
from ppvae.bounds.traits import OF_PYRO

ELBOS: tuple[type[ELBO], ...] = (
    *(elbo for elbo, traits in OF_PYRO.items() if not traits.has_surrogate),
    *(
        elbo
        for elbo in tuple(globals().values())
        if isinstance(elbo, type) and issubclass(elbo, ELBO) and not isabstract(elbo)
        if elbo is not ELBO
    ),
)
"""Bounds by name: the usual ones of Pyro, and those of this package, as imported above."""
