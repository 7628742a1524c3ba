"""Parameters and buffers of a module, as the inputs of a function."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from ppvae.compilation.graphs import NotStatic

Values = list[Tensor | None]
"""Tensors, some of which may be missing, as gradients may."""


class Parts:
    """The parameters and buffers of a module, each once, and its call with others in their place.

    Torch's ``functional_call`` does not work here: a module reached by two paths, such as a network
    shared by model and guide, keeps the replacements.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        modules = list(module.modules())
        self._params = _homes(module._parameters for module in modules)
        # Tensors that are plain attributes count as buffers, except the cached results of
        # transforms of torch's or Pyro's.
        self._buffers = _homes(own for module in modules for own in (module._buffers, vars(module)))

    def params(self) -> list[Tensor]:
        """The current parameters."""
        return [cast("Tensor", own[name]) for ((own, name), *_) in self._params]

    def buffers(self) -> list[Tensor]:
        """The current buffers."""
        return [cast("Tensor", own[name]) for ((own, name), *_) in self._buffers]

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.params()[0].device

    @property
    def number_type(self) -> torch.dtype:
        """The type of numbers as tensors; without dimensions, they promote no other tensor."""
        return torch.promote_types(self.params()[0].dtype, torch.float32)

    def names(self) -> tuple[list[str], list[str]]:
        """Names of the parameters, and of the buffers."""
        words = {
            id(own): name
            for name, module in self._module.named_modules()
            for own in (module._parameters, module._buffers, vars(module))
        }
        found = [
            [f"{words[id(own)]}.{name}" for ((own, name), *_) in homes]
            for homes in (self._params, self._buffers)
        ]
        return found[0], found[1]

    def state(self) -> Hashable:
        """All that determines a call, except its inputs and Python state."""
        return (
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            self.device,
            tuple([(p.requires_grad, p.dtype, p.shape, p.stride()) for p in self.params()]),
            tuple([(b.dtype, b.shape, b.device) for b in self.buffers()]),
        )

    def split(self, flat: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Parameters, each a leaf like the module's own; buffers; and the rest."""
        count, end = len(self._params), len(self._params) + len(self._buffers)
        params = [
            given.detach().requires_grad_(own.requires_grad)
            for given, own in zip(flat[:count], self.params(), strict=True)
        ]
        return params, list(flat[count:end]), list(flat[end:])

    def call(self, tensors: Sequence[Tensor], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call the module with these parameters and buffers in place of its own.

        A buffer that the module replaces by another tensor, as ``self.n = self.n + 1`` does, is
        changed in place.

        Raises:
            NotStatic: if that is impossible.
        """
        homes = [*self._params, *self._buffers]
        own = [*self.params(), *self.buffers()]
        try:
            _put(homes, tensors)
            result = self._module(*args, **kwargs)
            for i, ((places, name), *_) in enumerate(homes):
                _keep(tensors[i], places.get(name), name, is_buffer=i >= len(self._params))
        finally:
            _put(homes, own)
        return result


def gradients(loss: Tensor, params: Sequence[Tensor], *, retain_graph: bool = False) -> Values:
    """The gradient of a number by each parameter; ``None`` for frozen or unused ones."""
    wanted = [p for p in params if p.requires_grad]
    found = iter(torch.autograd.grad(loss, wanted, allow_unused=True, retain_graph=retain_graph))
    return [next(found) if p.requires_grad else None for p in params]


@contextmanager
def replaced(module: nn.Module, others: Mapping[int, Tensor]) -> Iterator[None]:
    """Context in which other tensors replace some parameters of a module.

    Args:
        module: the module that has the parameters, at any depth.
        others: the tensors, by the `id` of the parameter that each replaces.
    """
    places = [
        (cast("dict[str, Any]", part._parameters), name, p)
        for part in module.modules()
        for name, p in part._parameters.items()
        if p is not None and id(p) in others
    ]
    try:
        for own, name, p in places:
            own[name] = others[id(p)]
        yield
    finally:
        for own, name, p in places:
            own[name] = p


_Home = tuple[dict[str, Any], str]


def _homes(dictionaries: Iterable[dict[str, Any]]) -> list[list[_Home]]:
    """Every place of each tensor: a tied weight has several."""
    found: dict[int, list[_Home]] = {}
    for own in dictionaries:
        for name, tensor in own.items():
            if isinstance(tensor, Tensor) and not name.startswith("_cached"):
                found.setdefault(id(tensor), []).append((own, name))
    return list(found.values())


def _keep(tensor: Tensor, now: Any, name: str, *, is_buffer: bool) -> None:
    """Copy the tensor that replaced a buffer into the buffer."""
    if now is tensor:
        return
    is_alike = isinstance(now, Tensor) and (now.shape, now.dtype) == (tensor.shape, tensor.dtype)
    if not is_buffer or not is_alike or now.requires_grad:
        raise NotStatic(f"it puts something else in the place of its {name}")
    with torch.no_grad():
        tensor.copy_(now)


def _put(homes: Sequence[Sequence[_Home]], tensors: Sequence[Tensor]) -> None:
    for places, tensor in zip(homes, tensors, strict=True):
        for own, name in places:
            own[name] = tensor
