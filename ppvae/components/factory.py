"""Factories of parts: a class with arguments, called once the shapes of the data are known."""

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


@dataclass(frozen=True)
class Factory:
    """A class and its own arguments; a call with the known values makes the part.

    Attributes:
        spec: name and complete arguments, as recorded in ``config.yaml``.
        target: the class or function itself.
        is_ready: the target is already the part: a function that is a program.
    """

    spec: Spec
    target: Any
    is_ready: bool = False

    def names(self, parameter: str) -> bool:
        """Whether the constructor has a parameter of this name."""
        return not self.is_ready and parameter in inspect.signature(self.target).parameters

    def __call__(self, **known: Any) -> Any:
        """Make the part from those known values that the constructor names."""
        if self.is_ready:
            return self.target
        parameters = inspect.signature(self.target).parameters
        arguments = {name: value for name, value in known.items() if name in parameters}
        return self.target(**{**arguments, **self.spec.init_args})

    def network(self, **known: Any) -> networks.Network:
        """The part as a network, made once its input and output shapes are known."""
        return lambda in_shape, out_shape: self(in_shape=in_shape, out_shape=out_shape, **known)


def factory_of(kind: Kind, spec: Spec, trust: Iterable[str] = ()) -> Factory:
    """The factory of a part by name; for errors see `resolve` and `arguments_of`."""
    target = resolve(kind, spec, trust)
    if kind.is_program and not inspect.isclass(target):
        return _program(kind, spec, target, trust)
    if kind.base is not None and not (inspect.isclass(target) and issubclass(target, kind.base)):
        raise InputError(
            f"`{kind.name}={spec.class_path!r}` is not a class derived from {kind.base.__module__}."
            f"{kind.base.__name__}; choose from {', '.join(sorted(kind.names()))}"
        )
    args = arguments_of(kind, target, spec, trust)
    own = kind.names()
    name = getattr(target, "__name__", "")
    path = name if own.get(name) is target else spec.class_path
    return Factory(Spec(path, args, spec.trusted), target)


def _program(kind: Kind, spec: Spec, target: Any, trust: Iterable[str]) -> Factory:
    """A function that is a program, or a method of a class that is instantiated later.

    A method (``mypackage.VAE.model``) means that of an instance, which
    `ppvae.components.building` makes once for model and guide.
    """
    owner = owner_of(target)
    if owner is not None:
        args = arguments_of(kind, owner, spec, trust)
        return Factory(Spec(spec.class_path, args, spec.trusted), owner)
    if spec.init_args:
        raise InputError(
            f"`{kind.name}.{next(iter(spec.init_args))}`: {spec.class_path} is a function, the "
            "program itself, and has no arguments of its own"
        )
    return Factory(spec, target, is_ready=True)
