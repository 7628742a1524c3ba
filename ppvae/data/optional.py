"""Packages that are needed for some files alone, imported when they are."""

from importlib import import_module
from typing import Any

from ppvae.errors import InputError


def needed(package: str, what: str) -> Any:
    """Import a package that need not be installed.

    Raises:
        InputError: with the command that installs it.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise InputError(
            f"{what} takes {package}, which is not installed: `pip install {package}`"
        ) from error
