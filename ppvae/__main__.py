"""The ``ppvae`` command: ``ppvae fit``, ``ppvae diagnose RUN``; alone, a list of commands."""

if __name__ == "__main__":  # before the imports that take time
    from ppvae.cli.interruption import leave_on_interrupt

    leave_on_interrupt()

import sys
from collections.abc import Sequence

from ppvae.cli.answering import answer, start
from ppvae.cli.commands import COMMANDS
from ppvae.cli.interruption import leave_on_interrupt
from ppvae.errors import InputError, nearest

__all__ = ["main"]


def main() -> None:
    """The installed command."""
    leave_on_interrupt()
    answer(_run)


def _run(argv: Sequence[str]) -> None:
    """Run a command by name, or list the commands."""
    name, *words = argv or ["--help"]
    if name in ("-h", "--help"):
        sys.stdout.write(_listed())
        return
    if name not in COMMANDS:
        raise InputError(
            f"there is no command {name}{nearest(name, COMMANDS)}; there are {', '.join(COMMANDS)}"
        )
    start(name, words)
    from importlib import import_module  # the command takes seconds to import

    import_module(f"ppvae.{name}").main(words)


def _listed() -> str:
    """The commands with their descriptions."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.sentence}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "Variational autoencoders as probabilistic programs.", "",
            "Usage: ppvae COMMAND ..., or python -m ppvae.COMMAND ...", "", *lines, "",
            "ppvae COMMAND --help lists the settings. Start with: ppvae fit", "",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
