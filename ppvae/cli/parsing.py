"""From a typed function to a command: its flags, its YAML, and its answers to mistakes."""

import errno
import inspect
import os
import re
import sys
import types
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ppvae.cli.flags import in_flags
from ppvae.cli.interruption import interrupts
from ppvae.components.arguments import arguments_parser, expectation
from ppvae.components.kinds import KINDS
from ppvae.components.resolving import resolve
from ppvae.components.spec import Spec
from ppvae.errors import InputError, nearest

__all__ = ["answer", "given_arguments"]

_OWN_ARGUMENT = re.compile(r"--([a-z]+)\.([A-Za-z_][\w.]*)(?:=(.*))?", re.DOTALL)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""Failures of a disk, which libraries raise without the name of a file."""

_TYPED_ONLY = frozenset({"trust", "overwrite", "resume", "oversubscribe"})
"""What a file must not decide: it may be a stranger's."""


def answer(command: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> None:
    """Run ``command`` on the arguments and leave with its exit code.

    What a user can mend is one sentence on stderr and exit code 2; an interrupt is 130; a defect
    keeps its traceback.
    """
    with interrupts() as interrupted:
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
        except Exception:
            if not interrupted.received:
                raise
            raise SystemExit(130) from None


def given_arguments(
    command: Callable[..., Any], argv: Sequence[str], more: Sequence[Callable[..., Any]] = ()
) -> dict[str, Any]:
    """What the user gave, by name of the parameter: from flags, and from ``--config`` below them.

    Each parameter of ``command`` is a flag of its type, described by the docstring. A parameter
    that is a kind of choice takes a class name, and the choice's own arguments after it
    (``--prior VampPrior --prior.components 500``).

    Args:
        command: the function whose signature makes the flags.
        argv: the command line, without the program.
        more: other functions whose parameters are flags too, where the first lacks them.

    Raises:
        InputError: for a flag or value that is none.
        SystemExit: after ``--help``.
    """
    from jsonargparse import ArgumentError

    parameters = _parameters([command, *more])
    _demand_values(argv, list(parameters))
    rest, own = _own_arguments(argv, parameters)
    files, flags = _configs(rest)
    for name in files:
        for setting, value in _settings(name).items():
            if setting in _TYPED_ONLY & parameters.keys() and value:
                _refuse_untyped(setting)
    parser = _parser([command, *more], parameters)
    try:
        # Files first: what is typed wins, wherever it stands.
        parsed = parser.parse_args([f"--config={name}" for name in files] + flags, defaults=False)
    except ArgumentError as error:
        raise InputError(_sentence(str(error), list(parameters))) from error
    given = {key: value for key, value in parsed.as_dict().items() if key in parameters}
    for name, value in given.items():
        if parameters[name].annotation is bool and not isinstance(value, bool):
            raise InputError(f"--{name.replace('_', '-')} is {value!r}; it must be true or false")
    typed = {token.split("=")[0].removeprefix("--") for token in flags if token.startswith("--")}
    for name in _TYPED_ONLY & given.keys():
        if name not in typed:
            _refuse_untyped(name)
    _distrust_data(given, typed)
    for kind in KINDS.keys() & parameters.keys():
        default = parameters[kind].default
        if given.get(kind) is not None:
            given[kind] = Spec.parse(given[kind], kind, trusted=kind in typed)
        if kind in own:
            chosen = given.get(kind) or (Spec(default) if isinstance(default, str) else None)
            if chosen is None:
                chosen = _default_part(kind)
            given[kind] = Spec(chosen.class_path, {**chosen.init_args, **own[kind]}, chosen.trusted)
            if "help" in own[kind]:
                _show_arguments(given[kind], kind)
    return given


def _demand_values(argv: Sequence[str], parameters: Sequence[str]) -> None:
    """Refuse an empty value: that of a shell variable, most often, which was never set."""
    before = parameters[0]
    for token in argv:
        flag, is_joined, value = token.partition("=")
        if token == "" or (flag.startswith("--") and is_joined and not value):
            name = flag if token else before
            raise InputError(f"{name} is given an empty value; give it one, or leave it out")
        before = flag


def _distrust_data(given: dict[str, Any], typed: set[str]) -> None:
    """Data that the file of ``--config`` names is read without running or writing anything."""
    from ppvae.data.catalogue import check_safe_to_read
    from ppvae.data.files import ReadOnlyFolder

    if given.get("data_dir") is not None and "data-dir" not in typed:
        given["data_dir"] = ReadOnlyFolder(given["data_dir"])
    where = given.get("data_dir")
    is_typed = "data" in typed and not isinstance(where, ReadOnlyFolder)
    is_trusted = is_typed or "torchvision" in given.get("trust", ())
    if isinstance(given.get("data"), str) and not is_trusted:
        check_safe_to_read(given["data"], where)


def _refuse_untyped(name: str) -> None:
    raise InputError(
        f"the file of --config says {name}, which only you can: take it out of the file, "
        f"and if you mean it give --{name} on the command line"
    )


def _configs(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files of ``--config``, and all other words."""
    files: list[str] = []
    others: list[str] = []
    words = iter(argv)
    for word in words:
        flag, is_joined, value = word.partition("=")
        if flag != "--config":
            others.append(word)
            continue
        name = value if is_joined else next(words, None)
        if name is None:
            raise InputError("--config needs a file, such as a run's config.yaml")
        files.append(name)
    return files, others


def _settings(name: str) -> dict[Any, Any]:
    """What the file of a ``--config`` holds; one that is no YAML mapping is refused, by name."""
    import yaml

    from ppvae.run.documents import read_yaml

    if Path(name).exists() and not Path(name).is_file():
        raise InputError(f"--config {name} is a folder, pipe or device; give a file")
    try:
        content = read_yaml(Path(name).read_text("utf-8"))
    except OSError as error:
        raise InputError(f"--config {name}: {error.strerror}") from error
    except (UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"--config {name} cannot be read as YAML: {reason}") from error
    if not isinstance(content, dict):
        raise InputError(f"--config {name} is no list of settings such as 'epochs: 20'")
    if "config" in content:
        raise InputError(f"--config {name} names another file of --config; give that itself")
    return content


def _default_part(kind: str) -> Spec:
    from ppvae.components.building import DEFAULTS

    if kind not in DEFAULTS:
        raise InputError(f"--{kind}.* are arguments of a choice; make it first, by --{kind} NAME")
    return DEFAULTS[kind]


def _own_arguments(
    argv: Sequence[str], parameters: dict[str, inspect.Parameter]
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Take ``--prior.components 500`` and the like out of the command line."""
    rest: list[str] = []
    own: dict[str, dict[str, Any]] = {}
    tokens = iter(argv)
    for token in tokens:
        match = _OWN_ARGUMENT.fullmatch(token)
        if match is None or match[1] not in KINDS or match[1] not in parameters:
            rest.append(token)
            continue
        kind, name, value = match.groups()
        if value is None and name != "help":
            value = next(tokens, None)
            if value is None:
                raise InputError(f"--{kind}.{name} needs a value")
        own.setdefault(kind, {})[name] = value
    return rest, own


def _show_arguments(choice: Spec, kind: str) -> None:
    parser = arguments_parser(resolve(KINDS[kind], choice), KINDS[kind].given)
    text = parser.format_help()
    body = text[text.index("\n\n") + 2 :] if "\n\n" in text else text
    sys.stdout.write(
        f"{choice.class_path}, chosen by --{kind}; each flag begins --{kind}.\n\n{body}"
    )
    raise SystemExit(0)


def _parser(
    commands: Sequence[Callable[..., Any]], parameters: dict[str, inspect.Parameter]
) -> Any:
    from docstring_parser import parse as parse_docstring
    from jsonargparse import ArgumentParser

    docs = [parse_docstring(command.__doc__ or "") for command in commands]
    told = {p.arg_name: p.description or "" for doc in reversed(docs) for p in doc.params}
    name = commands[0].__name__
    parser = ArgumentParser(
        prog=f"python -m ppvae.{name}",
        description=docs[0].short_description,
        exit_on_error=False,
    )
    parser.add_argument(
        "--config",
        action="config",
        metavar="FILE",
        help="a YAML file of these flags, such as a run's config.yaml; flags given beside it win",
    )
    if "run" not in parameters:  # what a run's config.yaml holds beside the settings
        parser.add_argument("--run", type=dict, help="facts of the run in its config.yaml; ignored")
    for name, parameter in parameters.items():
        required = parameter.default is inspect.Parameter.empty
        flags = [name] if required else ["--" + name.replace("_", "-")]
        options: dict[str, Any] = {"help": told.get(name, "").replace("\n", " ").replace("%", "%%")}
        if name in KINDS:
            names = sorted(KINDS[name].names())
            options["help"] += (
                f" ({', '.join(names)}, or an import path; its own arguments follow as "
                f"--{name}.ARGUMENT, listed by --{name}.help)"
            )
            options |= {"type": _AsItIs(), "metavar": "NAME"}
        elif parameter.annotation is bool:
            options["action"] = "store_true"
        elif get_origin(parameter.annotation) in (list, Sequence, tuple):
            options |= {"action": "append", "type": str, "metavar": "NAME"}
        elif get_origin(parameter.annotation) is Literal and "on" in get_args(parameter.annotation):
            options |= {"type": _Switch(get_args(parameter.annotation))}
        else:
            options["type"] = _simple(parameter.annotation)
        if not required and options.get("action") is None:
            options["default"] = parameter.default
        parser.add_argument(*flags, **options)
    return parser


class _AsItIs:
    """A choice, unread: the parser imports a class_path that it recognizes, trusted or not."""

    def __call__(self, value: Any) -> Any:
        return value

    def __repr__(self) -> str:  # what --help shows as the type
        return "class name"


class _Switch:
    """One of some words, ``on`` and ``off`` among them, which YAML takes for truth values."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    def __call__(self, value: Any) -> str:
        word = {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
        if word not in self._words:
            raise ArgumentTypeError(f"'{value}' is not one of {', '.join(self._words)}")
        return str(word)

    def __repr__(self) -> str:  # what --help shows as the type
        return ", ".join(self._words)


def _parameters(functions: Sequence[Callable[..., Any]]) -> dict[str, inspect.Parameter]:
    found: dict[str, inspect.Parameter] = {}
    for function in functions:
        hints = get_type_hints(function)
        for name, parameter in inspect.signature(function).parameters.items():
            found.setdefault(name, parameter.replace(annotation=hints[name]))
    return found


def _simple(annotation: Any) -> Any:
    """The part of a type that a command line can say: no objects that only Python has."""
    if get_origin(annotation) in (Union, types.UnionType):
        kept = [
            a
            for a in get_args(annotation)
            if a in (str, int, float, Path, type(None)) or get_origin(a) is Literal
        ]
        return Union[tuple(kept)]  # noqa: UP007  # made of a tuple, which the bar cannot be
    return annotation


def _sentence(message: str, parameters: Sequence[str]) -> str:
    flags = ["--" + name.replace("_", "-") for name in parameters] + ["--config", "--help"]
    if message.startswith("unrecognized arguments: "):
        words = message.removeprefix("unrecognized arguments: ").split()
        unknown = next((w for w in words if w.startswith("-")), words[0])
        if not unknown.startswith("-"):
            return f"{unknown!r} stands alone on the command line; which flag is it a value of?"
        flag = unknown.split("=")[0]
        return f"there is no flag {flag}{nearest(flag, flags)}; --help lists them"
    key, clause = expectation(message)
    if key:
        return f"--{key.replace('_', '-')}: {clause}"
    match = re.search(r"argument (--[\w-]+): (.*)", message)
    return f"{match[1]}: {match[2]}" if match else " ".join(message.split())


def _leave(sentence: str, code: int) -> None:
    sys.stderr.write(f"error: {sentence}\n")
    raise SystemExit(code) from None
