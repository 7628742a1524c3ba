"""Parts by name put together: a model and a guide from the choices that make them."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ppvae.choices import KINDS, Choice, Maker, made, owner_of, resolve
from ppvae.errors import InputError
from ppvae.networks import Shape
from ppvae.programs import Program

__all__ = ["DEFAULTS", "PARTS", "Assembly", "assemble"]

DEFAULTS = {
    "model": Choice("VAE"),
    "prior": Choice("StandardNormal"),
    "likelihood": Choice("Bernoulli"),
    "decoder": Choice("MLP"),
    "guide": Choice("MeanField"),
    "encoder": Choice("MLP", {"hidden": [400, 400]}),
}
"""What a part is where nobody says; the encoder is the deeper network, by trial on MNIST."""

PARTS = {
    "model": "model",
    "prior": "model",
    "likelihood": "model",
    "decoder": "model",
    "guide": "guide",
    "encoder": "guide",
}
"""The program that each part belongs to."""


@dataclass(frozen=True)
class Assembly:
    """Two programs, and what they were made of.

    Attributes:
        model: p(x, z).
        guide: q(z | x).
        parts: each part's name and full arguments, as ``config.yaml`` records them; ``None`` for a
            part that the programs do not take.
    """

    model: Program
    guide: Program
    parts: dict[str, Any]


def assemble(
    parts: Mapping[str, Choice | Program | None],
    *,
    latent_dim: int,
    data_shape: Shape,
    trust: Iterable[str] = (),
) -> Assembly:
    """Make model and guide.

    Args:
        parts: for ``model``, ``prior``, ``likelihood``, ``decoder``, ``guide``, ``encoder`` a
            choice, or ``None`` for the default; for model and guide also the program itself.
        latent_dim: given to each constructor that names it.
        data_shape: shape of one datum, likewise.
        trust: modules that choices read from a file may be imported from.

    Raises:
        InputError: for a part that cannot be made, or that was chosen though nothing takes it.
    """
    known = {"latent_dim": latent_dim, "data_shape": tuple(data_shape)}
    owners: dict[type, Any] = {}
    record: dict[str, Any] = dict.fromkeys(DEFAULTS)
    programs: dict[str, Program] = {}
    for role in ("model", "guide"):
        inner = [part for part, program in PARTS.items() if program == role and part != role]
        chosen = parts.get(role)
        if chosen is not None and not isinstance(chosen, Choice):
            _refuse(parts, inner, f"the {role} was handed in whole")
            programs[role], record[role] = chosen, {"python_object": _name(chosen)}
            continue
        maker = made(KINDS[role], chosen or DEFAULTS[role], trust)
        given = dict(known)
        for part in inner:
            if not maker.names(part):
                _refuse(parts, (part,), f"{maker.choice.class_path} takes none")
                continue
            choice = parts.get(part)
            if choice is not None and not isinstance(choice, Choice):
                raise InputError(f"{part} is {choice!r}; name it, or hand in the whole {role}")
            part_maker = made(KINDS[part], choice or DEFAULTS[part], trust)
            record[part] = part_maker.choice.plain()
            is_network = part in ("decoder", "encoder")
            given[part] = part_maker.network(**known) if is_network else part_maker(**known)
        record[role] = maker.choice.plain()
        programs[role] = _bound(role, maker, given, owners, trust)
    return Assembly(programs["model"], programs["guide"], record)


def _bound(
    role: str, maker: Maker, given: dict[str, Any], owners: dict[type, Any], trust: Iterable[str]
) -> Program:
    """The program itself; of a class that holds both as methods, one instance serves the two."""
    target = resolve(KINDS[role], maker.choice, trust)
    if maker.is_ready or inspect.isclass(target):
        program: Program = maker(**given)
        return program
    owner = owner_of(target)
    if owner is None:
        raise InputError(f"--{role} {maker.choice.class_path} is neither a class nor a program")
    if owner not in owners:
        owners[owner] = maker(**given)
    method: Program = getattr(owners[owner], target.__name__)
    return method


def _refuse(parts: Mapping[str, Any], names: Iterable[str], reason: str) -> None:
    for name in names:
        if parts.get(name) is not None:
            raise InputError(f"--{name} has no effect here: {reason}; leave it out")


def _name(program: Any) -> str:
    target = program if hasattr(program, "__qualname__") else type(program)
    return f"{target.__module__}.{target.__qualname__}"
