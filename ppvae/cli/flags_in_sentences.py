"""Parameters as flags: the sentences of the library, reworded for a command line.

The library names parameters in backquotes: `` `epochs` is 0``, ``take `guide='Flow'` ``. In a
command the same sentence names flags: ``--epochs is 0``, ``take --guide Flow``.
"""

import ast
import functools
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import yaml

from ppvae.cli.commands import COMMANDS
from ppvae.settings import settings_of
from ppvae.settings.values import Values

_VALUE = r"""'[^']*'|"[^"]*"|\[[^\]]*\]|\([^)]*\)|\{[^}]*\}|[^,\s'"]+"""
_ONE = rf"([a-z]\w*(?:\.[A-Za-z_]\w*)?)(?:=({_VALUE}))?"
_MARKED = re.compile(r"`([^`]+)`")
_SETTINGS = re.compile(rf"{_ONE}(?:, {_ONE})*")
_is_command: ContextVar[bool] = ContextVar("is_command", default=False)
_CALL = re.compile(r"resume\((.+)\)", re.DOTALL)


def flag(name: str) -> str:
    """The flag of a parameter: ``--latent-dim`` for ``latent_dim``, ``--prior.df`` for a part's."""
    head, dot, own = name.partition(".")
    return f"--{head.replace('_', '-')}{dot}{own}"


def in_flags(sentence: str) -> str:
    """A sentence of the library with flags where it names parameters in backquotes."""
    return _MARKED.sub(lambda marked: _as_flags(marked[1]) or marked[0], sentence)


@contextmanager
def in_a_command() -> Iterator[None]:
    """Context in which `spoken` names flags, as in a command."""
    token = _is_command.set(True)
    try:
        yield
    finally:
        _is_command.reset(token)


def spoken(sentence: str) -> str:
    """A sentence as printed: with flags in a command, unchanged in Python."""
    return in_flags(sentence) if _is_command.get() else sentence


def _as_flags(text: str) -> str:
    """``--model A --guide B`` for ``model='A', guide='B'``; empty unless all are settings."""
    if re.fullmatch(r"'[^']*'", text):  # another value of the parameter before
        return text[1:-1]
    text = _CALL.sub(r"resume=\1", text)
    if _SETTINGS.fullmatch(text) is None:
        return ""
    found = re.findall(_ONE, text)
    if not _known().keys() >= {name.partition(".")[0] for name, _ in found}:
        return ""
    return " ".join(_one(name, value) for name, value in found)


def _one(name: str, written: str) -> str:
    if not written:
        return flag(name)
    try:
        value: Any = ast.literal_eval(written)
    except (SyntaxError, ValueError):
        value = written
    if value is True:
        return flag(name)
    if "." in name and isinstance(value, list):  # a part's own argument, in one word
        value = ",".join(map(str, value))
    if "." in name and isinstance(value, dict):
        value = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
    words = _known()[name.partition(".")[0]].spelled(value)
    return " ".join(f"{flag(name)} {shlex.quote(word)}" for word in words)


@functools.cache
def _known() -> dict[str, Values]:
    """The allowed values of each setting of each command."""
    return {
        name: about.values
        for command in COMMANDS.values()
        for name, (_, about) in settings_of(command.settings).items()
    }
