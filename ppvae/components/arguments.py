"""Arguments of parts, typed by the signatures of their constructors."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from typing import Any, get_origin

from ppvae.components.kinds import Kind
from ppvae.components.ranges import check_ranges
from ppvae.components.resolving import way_to_trust
from ppvae.components.spec import Spec
from ppvae.errors import InputError, nearest


def arguments_parser(target: Any, given: Iterable[str]) -> Any:
    """A parser of the own arguments of ``target``, from its typed signature."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False, add_help=False)
    add = parser.add_class_arguments if inspect.isclass(target) else parser.add_function_arguments
    names = inspect.signature(target).parameters
    skipped: set[str | int] = {name for name in given if name in names}
    add(target, skip=skipped, fail_untyped=False)
    return parser


def code_paths(value: Any) -> Iterator[str]:
    """The words in an argument, including keys, that the parser would take for paths of code."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from code_paths(key)
            yield from code_paths(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from code_paths(inner)
    elif isinstance(value, str):
        yield from _DOTTED.findall(value)


_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")


_WORDS_BY_NAME = (Mapping[str, str], Mapping[str, str] | None)
"""Types with names from the data as keys, such as 'sepal.length' for a column; for these the parser
imports nothing."""


def _check_trusted(part: str, value: Any, trust: Iterable[str]) -> None:
    """Refuse an argument from a file for which the parser would import code."""
    trusted = set(trust)
    for path in code_paths(value):
        parts = path.split(".")
        if not trusted & {".".join(parts[:i]) for i in range(1, len(parts))}:
            what = "which may name code that is not this package's"
            raise InputError(f"{part} is {path!r}, {way_to_trust(path, what)}")


_ELSEWHERE = {
    "num_particles": "; it is `particles`",
    "latent_dim": "; it is `latent_dim`",
    "lr": "; it is `lr`",
}
"""Arguments that the user sets by another parameter."""


def arguments_of(kind: Kind, target: Any, spec: Spec, trust: Iterable[str] = ()) -> dict[str, Any]:
    """The arguments of a part by name, typed and complete with defaults.

    Raises:
        InputError: naming the argument that is unknown, missing, or of the wrong type.
    """
    from jsonargparse import ArgumentError

    part, given = kind.name, kind.given
    parameters = parameters_of(part, target, spec)
    own = [name for name in parameters if name not in given]
    for name in spec.init_args:
        if name in given and name in parameters:
            raise InputError(
                f"`{part}.{name}` cannot be set: {spec.class_path} is given it"
                f"{_ELSEWHERE.get(name, '')}"
            )
        if name not in parameters:
            listed = ", ".join(own) or "none"
            raise InputError(
                f"`{part}.{name}`: {spec.class_path} has no such argument{nearest(name, own)}; "
                f"its arguments: {listed}{_another(kind, name)}"
            )
    if not spec.trusted:
        for name, value in spec.init_args.items():
            if parameters[name].annotation not in _WORDS_BY_NAME:
                _check_trusted(f"`{part}.{name}`", value, trust)
    raw = {n: _listed(parameters[n], value) for n, value in spec.init_args.items()}
    missing = [
        name
        for name in own
        if parameters[name].default is inspect.Parameter.empty
        and parameters[name].kind
        not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        and name not in raw
    ]
    if missing:
        raise InputError(f"`{part}={spec.class_path!r}` needs `{part}.{missing[0]}`")
    parser = arguments_parser(target, given)
    try:
        with redirect_stderr(StringIO()):
            typed = parser.parse_object(raw)
    except (ArgumentError, TypeError, ValueError) as error:
        key, clause = expectation(str(error))
        raise InputError(f"`{part}.{key}`: {clause} (an argument of {spec.class_path})") from error
    # For **options of a class, the parser reads the class that they are passed on to.
    filled = {name: _plain(value) for name, value in typed.as_dict().items() if name in parameters}
    if str(target.__module__).split(".")[0] in ("torch", "pyro"):
        check_ranges(part, spec.class_path, filled)
    return filled


def _another(kind: Kind, argument: str) -> str:
    """The one other part with this argument, if there is exactly one, in words."""
    having = [
        name for name, target in kind.names().items()
        if argument in inspect.signature(target).parameters
    ]  # fmt: skip
    return f"; it is one of `{kind.name}={having[0]!r}`" if len(having) == 1 else ""


def parameters_of(part: str, target: Any, spec: Spec) -> Mapping[str, inspect.Parameter]:
    """The parameters of a class or function.

    Raises:
        InputError: if it has no signature, as often in C.
    """
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError) as error:
        raise InputError(
            f"`{part}={spec.class_path!r}` has no signature to read its arguments from; give a "
            "class written in Python"
        ) from error


def _listed(parameter: inspect.Parameter, value: Any) -> Any:
    """``200,200`` and ``200`` as lists, for a parameter that takes several values."""
    annotation = parameter.annotation
    is_several = get_origin(annotation) in (tuple, list, Sequence, Iterable) or (
        isinstance(annotation, str) and annotation.startswith("Iterable[")
    )
    if is_several and not isinstance(value, (list, tuple)):
        return value if str(value).startswith("[") else f"[{value}]"
    return value


def _plain(value: Any) -> Any:
    """Tuples as lists, for YAML."""
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def expectation(message: str) -> tuple[str, str]:
    """The argument in the parser's message, and the message as one clause."""
    lines = [line.strip(" -") for line in message.splitlines() if line.strip()]
    key = next(
        (line.split('"')[1] for line in reversed(lines) if line.startswith("Parser key")), ""
    )
    tidy = [
        re.sub(r"<class '([^']*)'>", r"\1", line)
        .replace("typing.", "")
        .replace("Literal", "one of ")
        for line in lines
    ]
    wanted = [
        line.split("Expected a ")[1].split(". Got")[0] for line in tidy if "Expected a " in line
    ]
    got = next(
        (m[1] for line in tidy if (m := re.search(r"(?:Got|Given) value: (.*)", line))), None
    )
    if wanted and got is not None:
        kinds = [WORDS.get(w, w) for w in dict.fromkeys(wanted) if w != "NoneType"]
        return key, f"{got!r} is not {' or '.join(kinds)}"
    return key, "; ".join(line for line in tidy if not line.startswith("Parser key"))


WORDS = {
    "collections.abc.Mapping": "a mapping, such as {name: value}",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a word",
    "collections.abc.Sequence": "a list such as 200,200",
}
