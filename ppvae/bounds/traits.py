"""Traits of a bound: what it computes, and what it requires of the programs.

A bound of this package declares its traits as a class attribute; those of Pyro's bounds are in one
table here. All other code asks `traits_of`, never for a class.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO


@dataclass(frozen=True)
class Traits:
    """Properties of a bound.

    Attributes:
        is_linear: its value is reconstruction - beta KL, draw by draw.
        has_closed_form_kl: it takes the KL of a site in closed form where there is one.
        weighs_draws: it is a function of the log-weights of several draws of each datum, a
            `WeightedELBO`. It needs each latent inside the plate of the data, and a density of the
            guide.
        enumerates: it sums over sites marked for enumeration.
        needs_rsample: each site of the guide must have a reparameterized draw.
        needs_site_densities: each site of the guide must have a density by itself.
        has_surrogate: its value and its gradient come from two different numbers, so that it has no
            ``differentiable_loss``.
    """

    is_linear: bool = False
    has_closed_form_kl: bool = False
    weighs_draws: bool = False
    enumerates: bool = False
    needs_rsample: bool = False
    needs_site_densities: bool = False
    has_surrogate: bool = False


OF_PYRO: Mapping[type[ELBO], Traits] = {
    TraceMeanField_ELBO: Traits(is_linear=True, has_closed_form_kl=True, needs_rsample=True),
    Trace_ELBO: Traits(is_linear=True),
    TraceEnum_ELBO: Traits(enumerates=True),
    TraceGraph_ELBO: Traits(has_surrogate=True),
}
"""Traits of those bounds of Pyro that can be maximized here."""


def traits_of(elbo: type[ELBO]) -> Traits:
    """The traits of a bound: its own, or those of its nearest ancestor that has some.

    A subclass may compute something else, so that its inherited traits are never linear.
    """
    for ancestor in elbo.__mro__:
        traits: Traits | None = vars(ancestor).get("traits") or OF_PYRO.get(ancestor)
        if traits is not None:
            return traits if ancestor is elbo else replace(traits, is_linear=False)
    return Traits()
