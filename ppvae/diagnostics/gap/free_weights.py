"""Free weights: a copy of the guide's weights, optimized for given data.

Any family can be refined so, including flows and hierarchical guides. The guide runs with copies of
its weights, so the pair itself is unchanged.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from ppvae.compilation.tensors import replaced
from ppvae.programs import Pair


class Freed(Pair):
    """A pair that runs its guide by ``call``, and shares the rest with the original.

    Attributes:
        leaves: the tensors on which this guide depends, updated in place.
    """

    def __init__(self, pair: Pair, call: Callable[..., Any], leaves: Sequence[Tensor]) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(pair.__dict__)
        self._reroute, self.leaves = call, leaves

    def call_guide(self, x: Tensor, **extras: Tensor) -> Any:
        """Run the guide by ``call``."""
        return self._reroute(x, **extras)


def free_weights(pair: Pair) -> Freed:
    """Free copies of all weights of the guide, starting at their values."""
    own = [*pair.guide.parameters(), *pair.params.parameters()]
    copies = {id(p): p.detach().clone().requires_grad_() for p in own if p.is_floating_point()}

    def call(x: Tensor, **extras: Tensor) -> Any:
        # A copy of the guide would miss networks that a function refers to; and for a network
        # shared with the model, only the use in the guide should change.
        with replaced(pair, copies):
            return pair.call_guide(x, **extras)

    return Freed(pair, call, list(copies.values()))
