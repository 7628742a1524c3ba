"""A number and its gradient as one graph, for thousands of calls at fixed weights.

A chain or a search evaluates log p(x, z) and its gradient by z again and again, mostly in Pyro's
handlers. The graph is run as traced, operation by operation; compiling would take longer than the
chain.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ppvae.compilation.disagreement import agree, rounding
from ppvae.compilation.graphs import Function, NotStatic, trace
from ppvae.compilation.guard import Unfaithful
from ppvae.compilation.tensors import Parts


class Potential:
    """A differentiable number of one tensor, ``function(z)``, with its gradient from a graph.

    It is traced at the first call. At calls 1, 2, 4, 8, 16, ... number and gradient are compared
    with the function's own (`ppvae.compilation.disagreement`); if they differ, or there is no
    graph, the function itself is called from then on. It must draw nothing, and its weights and all
    else that it reads must not change.

    Args:
        function: returns a number without dimensions.
        module: the module whose parameters and buffers it reads, at any depth.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], module: nn.Module) -> None:
        self._function = function
        self._caller = _Caller(function, module)
        self._graph: Function | None = None
        self._tensors: Sequence[Tensor] = ()
        self._error, self._calls = 0.0, 0

    def __call__(self, z: Tensor) -> Tensor:
        """The number at ``z``, as a node in autograd's graph if ``z`` is one.

        Raises:
            Unfaithful: if the graph is wrong now, after calls that were not compared: results based
                on these must be computed again, by the function.
        """
        self._calls += 1
        is_checked = self._calls & (self._calls - 1) == 0
        if self._calls == 1:
            self._graph = self._traced(z.detach())
        if self._graph is None:
            return self._function(z)
        with torch.no_grad():
            value, slope = self._graph(z.detach(), *self._tensors)
        if is_checked and not agree([*self._eager(z.detach())], [value, slope], self._error):
            self._graph = None
            if self._calls > 2:
                raise Unfaithful("its number or gradient is not the program's any more")
            return self._function(z)
        known: Tensor = _Known.apply(z, value, slope)
        return known

    def _traced(self, z: Tensor) -> Function | None:
        parts = Parts(self._caller)

        def function(z: Tensor, *flat: Tensor) -> tuple[Tensor, Tensor]:
            params, buffers, _ = parts.split(flat)
            z = z.detach().requires_grad_()
            with torch.enable_grad():
                value = parts.call([*params, *buffers], (z,), {})
                (slope,) = torch.autograd.grad(value, z)
            return value.detach(), slope

        self._tensors = [t.detach() for t in (*parts.params(), *parts.buffers())]
        try:
            graph = trace(function, [z, *self._tensors])
        except NotStatic:
            return None
        self._error = rounding(graph)
        return graph

    def _eager(self, z: Tensor) -> tuple[Tensor, Tensor]:
        z = z.requires_grad_()
        with torch.enable_grad():
            value = self._function(z)
            (slope,) = torch.autograd.grad(value, z)
        return value.detach(), slope


class _Caller(nn.Module):
    """A function together with the module whose tensors it reads."""

    def __init__(self, function: Callable[[Tensor], Tensor], module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.function = function

    def forward(self, z: Tensor) -> Tensor:
        return self.function(z)


class _Known(torch.autograd.Function):
    """A number whose gradient by one tensor is known."""

    @staticmethod
    def forward(ctx: Any, _z: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return gradients[0] * slope, None, None
