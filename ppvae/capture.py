"""A Pyro program at the price of its arithmetic: a bound, or a whole training step, as one graph.

`capture` is for anybody's Pyro programs: it is Pyro's ``elbo(model, guide)``, compiled. What it
gives is an ``nn.Module`` with the parameters of the programs, whose call is the loss; the rest of a
training loop stays as it is::

    loss = capture(model, guide, Trace_ELBO(), x)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)
    for x in batches:
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()

A whole training step, optimizer and all, is `ppvae.step.CapturedStep`.
"""

import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast, override

import torch
from pyro.infer import ELBO, TraceEnum_ELBO
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils import _pytree as pytree

from ppvae.errors import InputError
from ppvae.graphs import Function, NotStatic, trace
from ppvae.native import compiled
from ppvae.programs import Pair, Program, frozen
from ppvae.randomness import forked

__all__ = ["Captured", "Parts", "capture"]


def capture(
    model: Program, guide: Program, elbo: ELBO, x: Tensor, *, compile: bool = True, **rest: Tensor
) -> "Captured":
    """The loss of a model and a guide under one of Pyro's bounds, as one compiled module.

    Called as ``loss(x, **rest)`` it gives Pyro's ``elbo.differentiable_loss``: minus the bound, in
    nats, summed over the batch, with fresh draws at each call.

    Args:
        model: a Pyro program, called as ``model(x, **rest)``.
        guide: another, called alike.
        elbo: a bound that has a ``differentiable_loss``.
        x: a batch on which the programs are run once, to find their parameters.
        compile: false: the graph is run as it was traced, operation by operation.
        rest: what the programs take beside ``x``.

    Raises:
        InputError: if the bound has no differentiable loss, or the programs nothing to learn.
    """
    if not callable(getattr(elbo, "differentiable_loss", None)):
        raise InputError(
            f"{type(elbo).__name__} has no differentiable_loss, which a graph is made of; take "
            "Trace_ELBO, TraceMeanField_ELBO, or ppvae.bounds.ImportanceWeightedELBO"
        )
    loss = _Loss(Pair(model, guide, {"x": x, **rest}), elbo)
    # Once as it is: a bound counts the plates at its first call, which is no part of the graph.
    with forked(loss.pair.device), frozen(loss), torch.enable_grad():
        loss(x, **rest)
    return Captured(loss, compile=compile)


class _Loss(nn.Module):
    """Pyro's loss of a pair of programs."""

    def __init__(self, pair: Pair, elbo: ELBO) -> None:
        super().__init__()
        self.pair, self.elbo = pair, elbo

    def forward(self, x: Tensor, **rest: Tensor) -> Tensor:
        loss: Tensor = cast("Any", self.elbo).differentiable_loss(
            self.pair.call_model, self.pair.call_guide, x, **rest
        )
        return loss


_MOST = 8
"""Graphs of one module, after which it is taken to change with every call."""


class Captured(nn.Module):
    """A module whose call is traced once per signature of its inputs, and compiled.

    It computes what the module computes, gradients of its parameters included, for modules that
    give one number to differentiate (a loss, a bound) and any others beside it. Optimizers,
    clipping, autocast and distributed training see an ordinary module: its parameters are those of
    ``module``, and so is its state, under the prefix ``module.``.

    A signature is made of the shapes and types of the tensors, of training or evaluation, of
    autocast, of whether gradients are recorded, and of the numbers and words among the modules'
    attributes. Arguments of type float are none of it: they may change without a new trace, as the
    weight of a KL does. What a program reads from elsewhere (a global, a closure, a list) is read
    when it is traced. Checks of arguments and supports, and warnings of NaN, are off in a graph.

    Gradients are computed together with the value, and reach the parameters alone, once: neither
    the inputs nor second derivatives.

    Args:
        module: gives a tensor, or tensors in tuples or dictionaries.
        compile: false: the graph is run as it was traced.
        tell: given the sentence that says why a module cannot be captured; default: a warning.

    Attributes:
        enabled: false: call the module itself, as for the one ragged batch of an epoch.
        reason: why the module is called itself, where it cannot be captured; ``""`` where it can.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        compile: bool = True,
        tell: Callable[[str], None] = warnings.warn,
    ) -> None:
        super().__init__()
        self.module = module
        self.enabled = True
        self._tell = tell
        self.reason = ""
        self._compile = compile
        self._parts = Parts(module)
        self._graphs: dict[Hashable, _Graph] = {}
        if any(isinstance(getattr(m, "elbo", None), TraceEnum_ELBO) for m in module.modules()):
            self._give_up("it enumerates latents, and Pyro finds the terms of that sum as it goes")

    @override
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not self.enabled or self.reason:
            return self.module(*args, **kwargs)
        leaves, spec = pytree.tree_flatten((args, kwargs))
        device = self._parts.device
        # A number becomes a tensor: its value is no part of the graph.
        numbers = [
            torch.full((), leaf, dtype=self._parts.number_type, device=device)
            if isinstance(leaf, float)
            else leaf
            for leaf in leaves
        ]
        tensors = [leaf.contiguous() for leaf in numbers if isinstance(leaf, Tensor)]
        try:
            key = (spec, *map(_signature, numbers), self._parts.state(), _autocast(device))
            if key not in self._graphs:
                if len(self._graphs) == _MOST:
                    raise NotStatic(f"its inputs or settings have changed {_MOST} times")
                template = [None if isinstance(leaf, Tensor) else leaf for leaf in numbers]
                self._graphs[key] = self._trace(tensors, template, spec)
            return self._graphs[key](self._parts, tensors)
        except NotStatic as why:
            self._give_up(str(why))
            return self.module(*args, **kwargs)

    def _give_up(self, reason: str) -> None:
        self.reason = reason
        self._tell(f"the bound runs uncompiled: {reason}")

    def _trace(
        self, tensors: Sequence[Tensor], template: Sequence[Any], spec: pytree.TreeSpec
    ) -> "_Graph":
        parts, with_grad = self._parts, torch.is_grad_enabled()
        found: dict[str, Any] = {}

        def function(*flat: Tensor) -> list[Tensor]:
            params, buffers, given = parts.split(flat)
            filled = iter(given)
            leaves = [next(filled) if leaf is None else leaf for leaf in template]
            args, kwargs = pytree.tree_unflatten(leaves, spec)
            with torch.set_grad_enabled(with_grad):
                outputs, found["spec"] = pytree.tree_flatten(
                    parts.call([*params, *buffers], args, kwargs)
                )
                found["loss"], gradients = _gradients(outputs, params)
            found["has"] = [gradient is not None for gradient in gradients]
            return [*outputs, *(g for g in gradients if g is not None)]

        flat = [*parts.params(), *parts.buffers(), *tensors]
        graph = trace(function, flat)
        run = compiled(graph) if self._compile else graph
        return _Graph(run, found["spec"], found["loss"], tuple(found["has"]))


def _gradients(
    outputs: Sequence[Any], params: Sequence[Tensor]
) -> tuple[int | None, Sequence[Tensor | None]]:
    """Which output is differentiable, and its gradient with respect to each parameter."""
    if not all(isinstance(output, Tensor) for output in outputs):
        raise NotStatic("it gives something that is no tensor")
    losses = [i for i, output in enumerate(outputs) if output.requires_grad]
    if not losses:
        return None, [None] * len(params)
    if len(losses) > 1 or outputs[losses[0]].numel() != 1:
        raise NotStatic("it gives more than one number to differentiate")
    wanted = [p for p in params if p.requires_grad]
    found = iter(torch.autograd.grad(outputs[losses[0]], wanted, allow_unused=True))
    return losses[0], [next(found) if p.requires_grad else None for p in params]


@dataclass(frozen=True)
class _Graph:
    """A graph of parameters, buffers and inputs that gives the outputs, then the gradients.

    Attributes:
        run: calls it.
        spec: how the outputs hang together.
        loss: number of the output that the gradients are of; ``None``: there are none.
        has: for each parameter, whether the loss depends on it.
    """

    run: Function
    spec: pytree.TreeSpec
    loss: int | None
    has: tuple[bool, ...]

    def __call__(self, parts: "Parts", tensors: Sequence[Tensor]) -> Any:
        params = parts.params()
        if self.loss is None:
            outputs = self._outputs(*params, *parts.buffers(), *tensors)
        else:
            outputs = _Differentiable.apply(self, len(params), *params, *parts.buffers(), *tensors)
        return pytree.tree_unflatten(list(outputs), self.spec)

    def _outputs(self, *flat: Tensor) -> list[Tensor]:
        with _no_autocast(flat[0].device), torch.no_grad():
            return list(self.run(*flat))


class _Differentiable(torch.autograd.Function):
    """A graph that has computed its gradients already, as a node of autograd's graph."""

    @staticmethod
    @override
    def forward(ctx: Any, graph: _Graph, params: int, *flat: Tensor) -> tuple[Tensor, ...]:
        """Run the graph, and keep its gradients."""
        everything = graph._outputs(*flat)
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
        gradients = [next(kept) * seed if has else None for has in ctx.graph.has]
        return None, None, *gradients, *[None] * ctx.rest


class Parts:
    """The parameters and buffers of a module, each once, and its call with others in their place.

    Torch's ``functional_call`` does not serve: a module that is reached by two paths, as a network
    that model and guide share, keeps what was put in its place.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._modules = list(module.modules())
        self._params = _homes(module._parameters for module in self._modules)
        # Tensors that are plain attributes are as good as buffers.
        self._buffers = _homes(
            own for module in self._modules for own in (module._buffers, vars(module))
        )
        self._numbers = [
            (vars(module), name)
            for module in self._modules
            for name, value in vars(module).items()
            if isinstance(value, (bool, int, float, str)) and name != "training"
        ]

    def params(self) -> list[Tensor]:
        """The parameters, as they are now."""
        return [cast("Tensor", own[name]) for ((own, name), *_) in self._params]

    def buffers(self) -> list[Tensor]:
        """The buffers, as they are now."""
        return [cast("Tensor", own[name]) for ((own, name), *_) in self._buffers]

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.params()[0].device

    @property
    def number_type(self) -> torch.dtype:
        """What numbers are given as: with no dimension, they promote no other tensor."""
        return torch.promote_types(self.params()[0].dtype, torch.float32)

    def state(self) -> Hashable:
        """All that decides what a call computes, beside its inputs."""
        return (
            torch.is_grad_enabled(),
            self.device,
            tuple((p.requires_grad, p.dtype, p.stride()) for p in self.params()),
            tuple(module.training for module in self._modules),
            self.numbers(),
        )

    def numbers(self) -> tuple[Hashable, ...]:
        """Numbers and words among the attributes of the modules, as they are now."""
        return tuple(own.get(name) for own, name in self._numbers)

    def split(self, flat: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Parameters, each a leaf as the module's own are; buffers; and what comes after."""
        count, end = len(self._params), len(self._params) + len(self._buffers)
        params = [
            given.detach().requires_grad_(own.requires_grad)
            for given, own in zip(flat[:count], self.params(), strict=True)
        ]
        return params, list(flat[count:end]), list(flat[end:])

    def call(self, tensors: Sequence[Tensor], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call the module with these parameters and buffers in place of its own."""
        homes = [*self._params, *self._buffers]
        own, numbers = [*self.params(), *self.buffers()], self.numbers()
        try:
            _put(homes, tensors)
            result = self._module(*args, **kwargs)
        finally:
            _put(homes, own)
        if numbers != self.numbers():
            raise NotStatic("it counts in an attribute, outside of tensors")
        return result


_Home = tuple[dict[str, Any], str]


def _homes(dictionaries: Iterable[dict[str, Any]]) -> list[list[_Home]]:
    """Every place of each tensor: a tied weight has several."""
    found: dict[int, list[_Home]] = {}
    for own in dictionaries:
        for name, tensor in own.items():
            if isinstance(tensor, Tensor):
                found.setdefault(id(tensor), []).append((own, name))
    return list(found.values())


def _put(homes: Sequence[Sequence[_Home]], tensors: Sequence[Tensor]) -> None:
    for places, tensor in zip(homes, tensors, strict=True):
        for own, name in places:
            own[name] = tensor


def _signature(leaf: Any) -> Hashable:
    if not isinstance(leaf, Hashable):
        raise NotStatic(f"it is given a {type(leaf).__name__}, not a tensor or a number")
    return (leaf.shape, leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else leaf


def _autocast(device: torch.device) -> torch.dtype | None:
    kind = device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


def _no_autocast(device: torch.device) -> torch.autocast:
    """The casts are in the graph; what has none was to have none."""
    return torch.autocast(device.type, enabled=False)
