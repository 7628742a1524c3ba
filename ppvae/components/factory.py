"""A choice that has been resolved, and makes its part once the rest is known."""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ppvae import networks
from ppvae.components.arguments import arguments_of
from ppvae.components.kinds import Kind
from ppvae.components.resolving import owner_of, resolve
from ppvae.components.spec import Spec
from ppvae.errors import InputError

__all__ = ["Factory", "factory_of"]


@dataclass(frozen=True)
class Factory:
    """A choice that has been resolved: call it with what is known to have the part.

    Attributes:
        choice: name and arguments, complete: what ``config.yaml`` records.
        target: the class or function itself.
        is_ready: the target is the part itself: a function that is a program.
    """

    choice: Spec
    target: Any
    is_ready: bool = False

    def names(self, parameter: str) -> bool:
        """Whether the constructor has a parameter of this name."""
        return not self.is_ready and parameter in inspect.signature(self.target).parameters

    def __call__(self, **known: Any) -> Any:
        """Make the part, given of ``known`` what the constructor names."""
        if self.is_ready:
            return self.target
        parameters = inspect.signature(self.target).parameters
        arguments = {name: value for name, value in known.items() if name in parameters}
        return self.target(**{**arguments, **self.choice.init_args})

    def network(self, **known: Any) -> networks.Network:
        """The part as a network: made once the shapes that it joins are known."""
        return lambda in_shape, out_shape: self(in_shape=in_shape, out_shape=out_shape, **known)


def factory_of(kind: Kind, choice: Spec, trust: Iterable[str] = ()) -> Factory:
    """Resolve a choice and type its arguments; see `resolve` for what is refused."""
    target = resolve(kind, choice, trust)
    if kind.is_program and not inspect.isclass(target):
        return _program(kind, choice, target, trust)
    if kind.base is not None and not (inspect.isclass(target) and issubclass(target, kind.base)):
        raise InputError(
            f"`{kind.name}={choice.class_path!r}` is no class derived from {kind.base.__module__}."
            f"{kind.base.__name__}; choose from {', '.join(sorted(kind.names()))}"
        )
    args = arguments_of(kind, target, choice, trust)
    own = kind.names()
    name = getattr(target, "__name__", "")
    path = name if own.get(name) is target else choice.class_path
    return Factory(Spec(path, args, choice.trusted), target)


def _program(kind: Kind, choice: Spec, target: Any, trust: Iterable[str]) -> Factory:
    """A function that is a program, or a method of a class that is yet to be made.

    A method (``mypackage.VAE.model``) stands for that of an instance, which
    `ppvae.components.building` makes once for the model and the guide.
    """
    owner = owner_of(target)
    if owner is not None:
        args = arguments_of(kind, owner, choice, trust)
        return Factory(Spec(choice.class_path, args, choice.trusted), owner)
    if choice.init_args:
        raise InputError(
            f"`{kind.name}.{next(iter(choice.init_args))}`: {choice.class_path} is a function, the "
            "program itself, and has no arguments of its own"
        )
    return Factory(choice, target, is_ready=True)
