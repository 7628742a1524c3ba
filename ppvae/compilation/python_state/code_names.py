"""Names in code: globals, attributes and imported modules; and whether it belongs to a library."""

import dis
import sys
from functools import lru_cache
from types import CodeType

_LIBRARIES = frozenset(
    {
        "builtins", "functorch", "jax", "lightning_fabric", "matplotlib", "numpy", "numpyro",
        "pandas", "ppvae", "pyro", "scipy", "sklearn", "torch", "torchvision", "triton", "zuko",
    }
)  # fmt: skip
"""Packages whose code does not change while a program runs; their objects are still inspected."""


def is_dunder(name: str) -> bool:
    """Whether a name is one of Python's own, between double underscores."""
    return name.startswith("__") and name.endswith("__")


@lru_cache(maxsize=4096)
def is_library(module: str | None) -> bool:
    """Whether a module, by its name, belongs to a library; ``None``: Python's own."""
    top = (module or "builtins").partition(".")[0]
    return top in _LIBRARIES or top in sys.stdlib_module_names


@lru_cache(maxsize=4096)
def names_in(code: CodeType) -> tuple[tuple[str, ...], frozenset[str], tuple[str, ...]]:
    """Globals and attributes that code names, and modules that it imports."""
    found: dict[str, None] = {}
    imported: dict[str, None] = {}
    attributes = set(code.co_names)
    for instruction in dis.get_instructions(code):
        if instruction.opname.endswith(("_GLOBAL", "_NAME")):
            where = imported if instruction.opname == "IMPORT_NAME" else found
            where[instruction.argrepr.replace("NULL", "").strip(" +")] = None
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner, more, others = names_in(constant)
            found |= dict.fromkeys(inner)
            imported |= dict.fromkeys(others)
            attributes |= more
    return tuple(found), frozenset(attributes), tuple(imported)
