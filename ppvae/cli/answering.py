"""Exit codes and error messages of commands: one sentence for a mistake, no traceback."""

import errno
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ppvae.cli.flags_in_sentences import in_a_command, in_flags
from ppvae.cli.interruption import interrupts
from ppvae.errors import FitWarning, InputError
from ppvae.settings.paths import check_exists
from ppvae.training.ranks import in_ranks
from ppvae.training.world import World

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""Errors of a full or read-only disk, which libraries raise without the name of a file."""


def start(name: str, argv: Sequence[str] | None = None) -> None:
    """Handle ``--help``, mistakes in flags and missing data before torch is imported.

    Of several processes that a launcher started, all fit; any other command runs in the first one.
    """

    @in_ranks
    def read(argv: Sequence[str]) -> None:
        from ppvae.cli.parsing import parse

        given = parse(name, argv).given
        for part in ("data", "valid", "test"):
            if isinstance(given.get(part), (str, Path)) and str(given[part]) != "none":
                check_exists(given[part], part)
        world = World.told()
        if name == "fit" or world is None or world.size == 1:
            return
        if world.rank:
            raise SystemExit(0)
        sys.stderr.write(
            f"note: {name} runs in one process: of {world.size} that {world.by} has started, the "
            "others exit\n"
        )

    answer(read, argv)


def answer(command: Callable[[Sequence[str]], object], argv: Sequence[str] | None = None) -> None:
    """Run ``command`` on the arguments and leave with its exit code.

    A mistake of the user is one sentence on stderr and exit code 2; an interrupt is 130; a defect
    keeps its traceback.
    """
    with interrupts() as interrupted, in_a_command(), warnings.catch_warnings():
        warnings.showwarning = _shown(warnings.showwarning)
        try:
            command(sys.argv[1:] if argv is None else argv)
        except InputError as error:
            _leave(in_flags(str(error)), 2)
        except OSError as error:
            if error.filename is not None:
                _leave(f"{error.filename}: {error.strerror}", 2)
            if error.errno not in _FULL:
                raise
            _leave(f"something could not be written: {os.strerror(error.errno).lower()}", 2)
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except Exception:  # an interrupted import may raise anything
            if not interrupted.received:
                raise
            raise SystemExit(130) from None


def _shown(otherwise: Callable[..., None]) -> Callable[..., None]:
    """A function that prints warnings: those of a fit as their sentence alone, with flags."""

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, FitWarning):
            sys.stderr.write(f"warning: {in_flags(str(message))}\n")
        else:
            otherwise(message, category, *where)

    return show


def _leave(sentence: str, code: int) -> None:
    sys.stderr.write(f"error: {sentence}\n")
    raise SystemExit(code) from None
