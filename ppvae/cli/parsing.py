"""Parsing of a command line and its ``--config`` files into settings, without torch."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ppvae.cli.commands import COMMANDS
from ppvae.cli.flags_in_sentences import flag
from ppvae.cli.recipes import told_recipes
from ppvae.components.names import NAMES, check_name, default_of
from ppvae.components.spec import Spec
from ppvae.errors import InputError, nearest
from ppvae.settings import Checked, Class, Setting, flagged, refusal, settings_of
from ppvae.settings.recipes import LIST, recipe, recipes
from ppvae.settings.values import Number, Size, Whole

_OWN_ARGUMENT = re.compile(r"--([a-z]+)\.([A-Za-z_][\w.]*)(?:=(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Parsed:
    """The parsed arguments of a command.

    Attributes:
        given: the given settings, by name, as Python values; a part is a `Spec`.
        typed: names of the settings given on the command line itself.
        asked: the part whose arguments ``--PART.help`` should list, or empty.
    """

    given: dict[str, Any]
    typed: frozenset[str]
    asked: str = ""


def parse(name: str, argv: Sequence[str]) -> Parsed:
    """Parse the arguments of the command ``name``.

    Raises:
        InputError: for an unknown flag or an invalid value.
        SystemExit: after ``--help`` and ``--print_config``.
    """
    from ppvae.cli.help import parser_of

    command = COMMANDS[name]
    settings = {key: about for key, (_, about) in flagged(command.settings).items()}
    needed = {each.name for each in fields(command.settings) if each.default is MISSING}
    _check_values(argv, list(settings))
    rest, own = _own_arguments(argv, settings)
    files, words = _files(rest)
    try:
        typed = vars(parser_of(command).parse_intermixed_args(words))
    except InputError as error:
        raise InputError(_sentence(str(error), list(settings))) from None
    is_printed = typed.pop("print_config", False)
    if typed.get("recipe") == LIST:
        sys.stdout.write(told_recipes(recipes().values()))
        raise SystemExit(0)
    given: dict[str, Any] = {}
    for file in files:
        is_recipe = "recipe" in settings and file in recipes() and not Path(file).exists()
        given |= {"recipe": file} if is_recipe else _read_file(file, settings)
    named = typed.get("recipe", given.get("recipe"))
    if named is not None:
        given = _read_recipe(named, settings) | given
    given |= {key: _read(key, value, settings[key], trusted=True) for key, value in typed.items()}
    for kind, arguments in own.items():
        given[kind] = _with_arguments(given.get(kind), kind, arguments)
    asked = next((kind for kind, arguments in own.items() if "help" in arguments), "")
    if "run" in needed - given.keys():
        raise InputError(
            "the run is missing: give its directory, such as runs/digits-20260101-120000"
        )
    checked = command.settings(**given)
    if is_printed:
        sys.stdout.write(_document(checked))
        raise SystemExit(0)
    return Parsed(given, frozenset(typed), asked)


def _read(name: str, value: Any, about: Setting, *, trusted: bool) -> Any:
    """Convert a word of the command line, or a value of a file, for the setting ``name``."""
    can_be_unset = about.unset and isinstance(about.values, (Whole, Number, Size))
    if value is None or (value == "none" and can_be_unset):
        return None
    if isinstance(about.values, Class):
        spec = Spec.parse(value, name, trusted=trusted, default=default_of(name))
        check_name(name, spec.class_path)
        return spec
    try:
        return about.values.read(value)
    except ValueError as error:
        raise refusal(name, value, error) from None


def _check_values(argv: Sequence[str], names: Sequence[str]) -> None:
    """Refuse an empty value, which mostly comes from an unset shell variable."""
    before = names[0]
    for token in argv:
        word, is_joined, value = token.partition("=")
        if not token.strip() or (word.startswith("--") and is_joined and not value):
            name = word if token.strip() else before
            raise InputError(f"{name} has an empty value; give it one, or leave it out")
        before = word


def _own_arguments(
    argv: Sequence[str], settings: Mapping[str, Setting]
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Split ``--prior.components 500`` and the like from the command line."""
    rest: list[str] = []
    own: dict[str, dict[str, Any]] = {}
    tokens = iter(argv)
    for token in tokens:
        match = _OWN_ARGUMENT.fullmatch(token)
        if match is None or match[1] not in NAMES or match[1] not in settings:
            rest.append(token)
            continue
        kind, name, value = match.groups()
        if value is None and name != "help":
            value = next(tokens, None)
            if value is None:
                raise InputError(f"--{kind}.{name} needs a value")
        own.setdefault(kind, {})[name] = value
    return rest, own


def _with_arguments(chosen: Spec | None, kind: str, arguments: Mapping[str, Any]) -> Spec:
    """A part with arguments; the default part where none was chosen."""
    part = chosen or replace(default_of(kind), is_default=True)
    return replace(part, init_args={**part.init_args, **arguments})


def _files(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files of ``--config``, and all other words."""
    files: list[str] = []
    others: list[str] = []
    words = iter(argv)
    for word in words:
        name, is_joined, value = word.partition("=")
        if name != "--config":
            others.append(word)
            continue
        file = value if is_joined else next(words, None)
        if file is None:
            raise InputError("--config needs a file, such as a run's config.yaml")
        files.append(file)
    return files, others


def _read_file(file: str, settings: Mapping[str, Setting]) -> dict[str, Any]:
    """The settings of a file, which may come from a stranger."""
    found: dict[str, Any] = {}
    for name, value in _content(file).items():
        if name == "run" and "run" not in settings:  # facts of a run in its config.yaml
            if not isinstance(value, Mapping):
                raise InputError(f"--config {file}: run is {value!r}; it holds facts of a run")
            continue
        if name not in settings:
            raise InputError(
                f"--config {file}: there is no setting {name}{nearest(str(name), settings)}"
            )
        if settings[name].is_for_people:
            if value:
                raise InputError(
                    f"the file of --config sets {name}, which only you may do: remove it from the "
                    f"file, and if you mean it give {flag(name)} on the command line"
                )
            continue
        found[name] = _read(name, value, settings[name], trusted=False)
    return found


def _read_recipe(name: str, settings: Mapping[str, Setting]) -> dict[str, Any]:
    """The settings of a recipe, which comes with the package."""
    content = {"recipe": name, **recipe(name).settings}
    return {key: _read(key, value, settings[key], trusted=True) for key, value in content.items()}


def _content(file: str) -> dict[Any, Any]:
    """The content of a file of ``--config``; anything but a YAML mapping is refused."""
    import yaml

    from ppvae.run.documents import read_yaml

    if Path(file).exists() and not Path(file).is_file():
        raise InputError(f"--config {file} is a folder, pipe or device; give a file")
    try:
        content = read_yaml(Path(file).read_text("utf-8"))
    except OSError as error:
        raise InputError(f"--config {file}: {error.strerror}") from error
    except (UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"--config {file} cannot be read as YAML: {reason}") from error
    if not isinstance(content, dict):
        raise InputError(f"--config {file} is not a list of settings such as 'epochs: 20'")
    if "config" in content:
        raise InputError(f"--config {file} names another file of --config; give that itself")
    return content


def _document(settings: Checked) -> str:
    """Settings in the format of a ``--config`` file."""
    import yaml

    def plain(value: Any) -> Any:
        if isinstance(value, Spec):
            return value.plain() if value.init_args else value.class_path
        return list(value) if isinstance(value, tuple) else value

    kept = settings_of(type(settings))
    content = {
        name: plain(getattr(settings, name))
        for name, (_, about) in kept.items()
        if not about.is_for_people and (name != "checkpoint" or "resume" not in kept)
    }
    return yaml.safe_dump(content, sort_keys=False)


def _sentence(message: str, names: Sequence[str]) -> str:
    """An error message of argparse as one clear sentence."""
    if message.startswith("unrecognized arguments: "):
        words = message.removeprefix("unrecognized arguments: ").split()
        unknown = next((w for w in words if w.startswith("-")), words[0])
        if not unknown.startswith("-"):
            return f"{unknown!r} stands alone on the command line; give the flag that it belongs to"
        word = unknown.split("=")[0]
        known = [*map(flag, names), "--config", "--help", "--print_config"]
        return f"there is no flag {word}{nearest(word, known)}; --help lists them"
    match = re.fullmatch(r"argument ([^:]+): (.*)", message)
    if match is None:
        return message
    if match[2].startswith("expected"):
        return f"{match[1]} needs a value"
    explicit = re.fullmatch(r"ignored explicit argument (.*)", match[2])
    return f"{match[1]} takes no value, but is given {explicit[1]}" if explicit else message
