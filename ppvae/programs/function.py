"""Function programs as modules, which hold the modules that a function refers to."""

import inspect
from functools import partial
from typing import Any

from torch import Tensor, nn

from ppvae.programs.signatures import Program


class Function(nn.Module):
    """A program that is not a module, with the modules that it uses.

    Args:
        program: a function, a method, or a partial or wrapped function.

    Attributes:
        uses: the modules that it refers to; for a method, its owner alone.
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

    Handlers, partials and methods are unwrapped to find the program itself.
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
