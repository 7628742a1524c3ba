"""Optional packages, imported when a file needs them."""

from importlib import import_module
from typing import Any

from ppvae.errors import InputError


def needed(package: str, what: str) -> Any:
    """Import an optional package.

    Raises:
        InputError: with the command that installs it.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise InputError(
            f"{what} needs {package}, which is not installed: `pip install {package}`"
        ) from error
