"""A function as a module: a program that is no ``nn.Module``, and the modules that it refers to."""

import inspect
from functools import partial
from typing import Any

from torch import Tensor, nn

from ppvae.programs.signatures import Program


class Function(nn.Module):
    """A program that is no module itself, with the modules that it uses.

    Args:
        program: a function, a method, a partial or wrapped one.

    Attributes:
        uses: the modules that it refers to; of a method, its owner alone.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        owner = getattr(program, "__self__", None)
        self.uses = nn.ModuleList([owner] if isinstance(owner, nn.Module) else _modules_in(program))

    def forward(self, x: Tensor, **extras: Tensor) -> Any:
        """Call the program."""
        return self.program(x, **extras)


def _modules_in(program: Program) -> list[nn.Module]:
    """Modules that a program refers to, by closure or global name, each once.

    A handler around a program, a partial one, or a method is looked into for the program itself.
    """
    modules: dict[int, nn.Module] = {}
    seen: set[int] = set()
    waiting: list[Any] = [program]
    while waiting:
        value = waiting.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, nn.Module):
            modules[id(value)] = value
        elif inspect.ismethod(value):
            waiting += [value.__self__, value.__func__]
        elif isinstance(value, partial):
            waiting += [value.func, *value.args, *value.keywords.values()]
        elif inspect.isfunction(value):
            names = inspect.getclosurevars(inspect.unwrap(value))
            from_globals = [v for v in names.globals.values() if isinstance(v, nn.Module)]
            waiting += [*names.nonlocals.values(), *from_globals]
            waiting.append(getattr(value, "__wrapped__", None))
    return list(modules.values())
