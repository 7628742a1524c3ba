"""Several discretized logistics, one of which is drawn: grey levels with more than one mode."""

import pyro.distributions as dist
from torch.distributions import constraints

from ppvae.distributions.grid import Grid

__all__ = ["MixtureOfDiscretizedLogistics"]


# Pyro makes the class below at run time.
class MixtureOfDiscretizedLogistics(dist.MixtureSameFamily):  # type: ignore[misc]  # Pyro states no types
    """sum_i w_i DiscretizedLogistic(loc_i, scale_i) (Salimans et al., 2017), element by element.

    Args:
        mixture_distribution: the weights, a ``Categorical`` over components.
        component_distribution: a `DiscretizedLogistic` with the components in the last dimension
            of its batch.
    """

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Grid:
        """The grid of its components, which all have the same."""
        return Grid(self.component_distribution.levels)
