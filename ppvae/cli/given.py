"""Settings given to a command, with checks that need the parts: their arguments, and trust."""

import sys
from collections.abc import Sequence
from typing import Any

from ppvae.cli.parsing import Parsed, parse
from ppvae.components.spec import Spec


def given_settings(name: str, argv: Sequence[str]) -> dict[str, Any]:
    """The settings given to a command, by name: see `ppvae.cli.parsing.parse`.

    Raises:
        InputError: also for data named in a file that could run code or write files when read.
        SystemExit: also after ``--prior.help`` and the like.
    """
    parsed = parse(name, argv)
    if parsed.asked:
        _show_arguments(parsed.given[parsed.asked], parsed.asked)
    _distrust_data(parsed)
    return parsed.given


def _show_arguments(choice: Spec, kind: str) -> None:
    from ppvae.components.arguments import arguments_parser, parameters_of
    from ppvae.components.kinds import KINDS
    from ppvae.components.resolving import resolve

    target = resolve(KINDS[kind], choice)
    if not parameters_of(kind, target, choice).keys() - KINDS[kind].given:
        sys.stdout.write(f"{choice.class_path}, chosen by --{kind}, has no arguments of its own.\n")
        raise SystemExit(0)
    text = arguments_parser(target, KINDS[kind].given).format_help()
    body = text[text.index("\n\n") + 2 :] if "\n\n" in text else text
    sys.stdout.write(
        f"{choice.class_path}, chosen by --{kind}; each flag begins --{kind}.\n\n{body}"
    )
    raise SystemExit(0)


def _distrust_data(parsed: Parsed) -> None:
    """Let data named in the file of ``--config`` be read only without running code or writing."""
    from ppvae.data.downloads import ReadOnlyFolder
    from ppvae.data.readers import check_safe_to_read

    given, typed = parsed.given, parsed.typed
    if given.get("data_dir") is not None and "data_dir" not in typed:
        given["data_dir"] = ReadOnlyFolder(given["data_dir"])
    where = given.get("data_dir")
    is_typed = "data" in typed and not isinstance(where, ReadOnlyFolder)
    is_trusted = is_typed or "torchvision" in given.get("trust", ())
    if isinstance(given.get("data"), str) and not is_trusted:
        check_safe_to_read(given["data"], where)
