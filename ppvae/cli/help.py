"""``--help``: the settings of a command under headings, each a sentence with its default."""

from argparse import SUPPRESS, ArgumentParser, HelpFormatter
from dataclasses import MISSING
from typing import Any, NoReturn, override

from ppvae.cli.commands import Command
from ppvae.cli.flags_in_sentences import flag
from ppvae.components.names import NAMES
from ppvae.errors import InputError
from ppvae.settings import SWITCH, Class, Several, Sources, flagged, told

HEADINGS = ("data", "programs", "bound", "training", "draws", "machine", "output")

PARTS = (
    "Each part is the name of a class, or the import path of your own (mypackage.MyClass). Its "
    "arguments follow as --prior.ARGUMENT; --prior.help lists them."
)


class Parser(ArgumentParser):
    """An argument parser that raises its errors as `InputError`."""

    @override
    def error(self, message: str) -> NoReturn:
        raise InputError(message)


class _Wide(HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=22)

    @override
    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any = None) -> None:
        super().add_usage(usage, actions, groups, "Usage: ")


def parser_of(command: Command) -> Parser:
    """The parser of a command's words, which keeps each as typed."""
    settings = flagged(command.settings)
    needed = [name for name, (each, _) in settings.items() if each.default is MISSING]
    lists = [name for name, (_, about) in settings.items() if isinstance(about.values, Sources)]
    several = [f"[{name.upper()[:-1]} ...]" for name in lists]
    parser = Parser(
        usage=" ".join(
            [
                f"python -m ppvae.{command.name}",
                *map(str.upper, needed),
                *several,
                "[--flag VALUE ...]",
            ]
        ),
        description=command.sentence,
        formatter_class=_Wide,
        allow_abbrev=False,
        add_help=False,
        argument_default=SUPPRESS,
    )
    for heading in HEADINGS:
        there = {name: each for name, each in settings.items() if each[1].group == heading}
        has_parts = any(isinstance(about.values, Class) for _, about in there.values())
        group = parser.add_argument_group(
            heading, PARTS if has_parts and heading == "programs" else None
        )
        for name, (each, about) in there.items():
            sentence = told(each, about)
            if isinstance(about.values, Class):
                sentence = f"{sentence.removesuffix('.')}: {', '.join(NAMES[name])}."
            options: dict[str, Any] = {"help": sentence.replace("%", "%%")}
            if about.values is SWITCH:
                options |= {"action": "store_true"}
            else:
                options |= {"metavar": about.values.metavar}
                options |= {"action": "append"} if isinstance(about.values, Several) else {}
            if isinstance(about.values, Sources):
                group.add_argument(name, nargs="*", **options | {"metavar": name.upper()[:-1]})
            elif name in needed:
                group.add_argument(name, nargs="?", **options | {"metavar": name.upper()})
            else:
                group.add_argument(flag(name), dest=name, **options)
    group = parser.add_argument_group("settings as a file")
    group.add_argument(
        "--config",
        metavar="FILE",
        help="A YAML file of these settings, such as a run's config.yaml, or a recipe by name; "
        "flags override it.",
    )
    group.add_argument(
        "--print_config", action="store_true", help="Print the settings as such a file, and exit."
    )
    group.add_argument("-h", "--help", action="help", help="Print this, and exit.")
    return parser
