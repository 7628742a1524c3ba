"""Fitted programs, and context managers that replace their parts and restore them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from pyro.infer import ELBO
from torch import Tensor, nn

from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.data import Batch
from ppvae.errors import InputError
from ppvae.networks import Shape
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.streams import forked


@dataclass(frozen=True)
class Fitted:
    """Fitted programs, and the bound that they maximized.

    Attributes:
        pair: model and guide.
        facts: their audit.
        batch: some rows of the data, to trace programs.
        elbo: the bound, as a class.
        particles: draws of the latents per datum in the bound.
        options: further arguments of the bound.
    """

    pair: Pair
    facts: Audit
    batch: Batch
    elbo: type[ELBO]
    particles: int
    options: dict[str, Any]

    def bound(self) -> Bound:
        """The bound as a module."""
        return Bound(self.pair, self.elbo, self.facts, self.particles, **self.options)

    def again(self, pair: Pair | None = None) -> "Fitted":
        """The current programs, or others, with a new audit."""
        pair = self.pair if pair is None else pair
        facts = audit(pair, self.elbo, self.batch)
        return Fitted(pair, facts, self.batch, self.elbo, self.particles, self.options)


class Place(NamedTuple):
    """The place of a part: an attribute of a module."""

    owner: nn.Module
    name: str

    @property
    def module(self) -> nn.Module:
        """The module at this place."""
        module: nn.Module = getattr(self.owner, self.name)
        return module


def place_of(pair: Pair, part: str) -> Place:
    """The place of a part: the attribute of that name of model or guide.

    Raises:
        InputError: if they have none.
    """
    for owner in pair.owners:
        if isinstance(getattr(owner, part, None), nn.Module):
            return Place(owner, part)
    raise InputError(
        f"the programs have no attribute `{part}` that is a module, so it cannot be replaced; "
        f"keep one as `self.{part}`"
    )


@contextmanager
def replaced(*places: tuple[Place, nn.Module]) -> Iterator[None]:
    """Replace modules; restore the old ones after the block."""
    with ExitStack() as held:
        for place, new in places:
            held.callback(setattr, place.owner, place.name, place.module)
            setattr(place.owner, place.name, new)
        yield


@contextmanager
def unmoved(pair: Pair) -> Iterator[None]:
    """Restore weights and running means after the block."""
    before = copied(pair)
    asked = {p: p.requires_grad for p in pair.parameters()}
    try:
        yield
    finally:
        pair.load_state_dict(before)
        for parameter, is_asked in asked.items():
            parameter.requires_grad_(is_asked)


def copied(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights and running means of a module."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def shapes_of(fitted: Fitted, network: nn.Module, part: str) -> tuple[Shape, Shape]:
    """Input and output shape of a network of the programs, per datum.

    Raises:
        InputError: if it is not called, or not from one tensor to another with the data first.
    """
    seen: list[tuple[Any, Any]] = []
    hook = network.register_forward_hook(lambda _, given, out: seen.append((given, out)))
    pair, rows = fitted.pair, len(fitted.batch["x"])
    try:
        with evaluating(pair), forked(pair.device), torch.no_grad():
            pair.call_model(**fitted.batch)
            pair.call_guide(**fitted.batch)
    finally:
        hook.remove()
    calls = [
        (given[0], out)
        for given, out in seen
        if len(given) == 1
        and all(isinstance(each, Tensor) and each.shape[:1] == (rows,) for each in (given[0], out))
    ]
    if not calls:
        raise InputError(
            f"the {part} {type(network).__name__} does not map one tensor to another with the "
            "data first, so it cannot be enlarged"
        )
    given, out = calls[0]
    return tuple(given.shape[1:]), tuple(out.shape[1:])
