"""What would the guide say if its weights were its own for these data? A pair let free.

Any family can be refined so, flows and guides with a hierarchy among them. The guide is run with
copies of its weights, which may move while the pair itself stays as it is.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from ppvae.compilation.tensors import replaced
from ppvae.programs import Pair


class Freed(Pair):
    """A pair that runs its guide by ``call``, and shares all else with the original.

    Attributes:
        leaves: the tensors that the guide depends on when it is run so, to be moved in place.
    """

    def __init__(self, pair: Pair, call: Callable[..., Any], leaves: Sequence[Tensor]) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(pair.__dict__)
        self._reroute, self.leaves = call, leaves

    def call_guide(self, x: Tensor, **extras: Tensor) -> Any:
        """Run the guide the other way."""
        return self._reroute(x, **extras)


def free_weights(pair: Pair) -> Freed:
    """Let copies of all the guide's weights free, starting from where the weights are."""
    own = [*pair.guide.parameters(), *pair.params.parameters()]
    copies = {id(p): p.detach().clone().requires_grad_() for p in own if p.is_floating_point()}

    def call(x: Tensor, **extras: Tensor) -> Any:
        # A copy of the guide would miss the networks that a function refers to; and of a network
        # that model and guide share, only the guide's use is to change.
        with replaced(pair, copies):
            return pair.call_guide(x, **extras)

    return Freed(pair, call, list(copies.values()))
