"""Signatures of programs: x, and the further fields of the data that they name."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from ppvae.errors import InputError

Program = Callable[..., Any]
"""Called as ``program(x, **extras)``; its return value is not used."""


def named_arguments(program: Program) -> frozenset[str]:
    """Names after the first argument that ``program`` takes from the data: ``y``, ``mask``, ..."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    # A callable without a signature gets x alone.
    parameters = _parameters(program) or []
    return frozenset(p.name for p in parameters[1:] if p.kind in by_name)


def check_arguments(role: str, program: Program, batch: Mapping[str, Tensor]) -> None:
    """Refuse a program that cannot be called as ``program(x, **extras)``.

    Raises:
        InputError: if it takes no data, or has an argument that the batch does not have.
    """
    parameters = _parameters(program)
    if parameters is None:
        return
    first = parameters[0].kind if parameters else None
    if first not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    ):
        raise InputError(
            f"the {role} takes no data: it is called as {role}(x), with the batch as its first "
            "argument; give it one"
        )
    for p in parameters[1:]:
        is_needed = p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        if is_needed and (p.kind is p.POSITIONAL_ONLY or p.name not in batch):
            raise InputError(
                f"the {role} takes an argument '{p.name}' that the data do not have (they have "
                f"{', '.join(batch)}); bind it before the fit by functools.partial({role}, "
                f"{p.name}=...), give it a default, or rename it as in the data"
            )


def _parameters(program: Program) -> list[inspect.Parameter] | None:
    """The parameters of a program's signature; ``None`` if it has no signature to read."""
    # A module's own call takes anything; its forward has the names.
    called = program.forward if isinstance(program, nn.Module) else program
    try:
        return list(inspect.signature(called).parameters.values())
    except (TypeError, ValueError):
        return None
