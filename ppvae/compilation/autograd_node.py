"""A graph that computes gradients together with its outputs, as a node in autograd's graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, override

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils import _pytree as pytree

from ppvae.compilation.graphs import Function, NotStatic
from ppvae.compilation.tensors import Parts, Values, gradients


@dataclass
class DifferentiableGraph:
    """A graph of parameters, buffers and inputs that returns outputs, then gradients.

    Attributes:
        run: calls it.
        spec: the structure of the outputs.
        loss: number of the differentiated output; ``None``: there is none.
        has: for each parameter, whether the loss depends on it.
        error: relative rounding error.
        calls: number of calls.
    """

    run: Function
    spec: pytree.TreeSpec
    loss: int | None
    has: tuple[bool, ...]
    error: float
    calls: int = 0

    def __call__(
        self, parts: Parts, tensors: Sequence[Tensor], known: list[Tensor] | None = None
    ) -> Any:
        """The outputs, as a node in autograd's graph; ``known``: the result of `outputs`."""
        flat = [*parts.params(), *parts.buffers(), *tensors]
        if self.loss is None:
            outputs = self.outputs(*flat) if known is None else known
        else:
            outputs = _Node.apply(self, known, len(parts.params()), *flat)
        return pytree.tree_unflatten(list(outputs), self.spec)

    def outputs(self, *flat: Tensor) -> list[Tensor]:
        """Outputs and gradients."""
        # The graph holds the casts of autocast.
        with torch.autocast(flat[0].device.type, enabled=False), torch.no_grad():
            return list(self.run(*flat))

    def values(self, everything: Sequence[Tensor], buffers: Sequence[Tensor]) -> Values:
        """Gradients of all parameters, then outputs and buffers."""
        found = iter(everything[self.spec.num_leaves :])
        slopes = [next(found) if has else None for has in self.has]
        return [*slopes, *everything[: self.spec.num_leaves], *buffers]

    def values_of(
        self, outputs: Any, params: Sequence[Tensor], buffers: Sequence[Tensor]
    ) -> Values:
        """The same values from the outputs of the program itself, differentiated here."""
        leaves = pytree.tree_leaves(outputs)
        slopes: Values = [None] * len(params)
        if self.loss is not None and leaves[self.loss].requires_grad:
            slopes = gradients(leaves[self.loss], params, retain_graph=True)
        return [*slopes, *leaves, *buffers]


class _Node(torch.autograd.Function):
    """A node in autograd's graph whose gradients were computed in the forward pass."""

    @staticmethod
    @override
    def forward(
        ctx: Any, graph: DifferentiableGraph, known: list[Tensor] | None, params: int, *flat: Tensor
    ) -> tuple[Tensor, ...]:
        """Run the graph, and keep its gradients."""
        everything = graph.outputs(*flat) if known is None else known
        count = graph.spec.num_leaves
        ctx.save_for_backward(*everything[count:])
        ctx.graph, ctx.rest = graph, len(flat) - params
        outputs = tuple(everything[:count])
        ctx.mark_non_differentiable(*(o for i, o in enumerate(outputs) if i != graph.loss))
        return outputs

    @staticmethod
    @once_differentiable
    @override
    def backward(ctx: Any, *seeds: Tensor) -> Any:
        """Scale the gradients."""
        seed = seeds[ctx.graph.loss]
        kept = iter(ctx.saved_tensors)
        slopes = [next(kept) * seed if has else None for has in ctx.graph.has]
        return None, None, None, *slopes, *[None] * ctx.rest


def loss_and_gradients(
    outputs: Sequence[Any], params: Sequence[Tensor]
) -> tuple[int | None, Values]:
    """The number of the differentiable output, and its gradient by each parameter.

    Raises:
        NotStatic: if there are several numbers to differentiate, or an output is not a tensor.
    """
    if not all(isinstance(output, Tensor) for output in outputs):
        raise NotStatic("it gives something that is no tensor")
    losses = [i for i, output in enumerate(outputs) if output.requires_grad]
    if not losses:
        return None, [None] * len(params)
    if len(losses) > 1 or outputs[losses[0]].numel() != 1:
        raise NotStatic("it gives more than one number to differentiate")
    return losses[0], gradients(outputs[losses[0]], params)
