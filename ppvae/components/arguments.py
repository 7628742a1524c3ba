"""Arguments of parts, typed by the signatures of their constructors."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from typing import Any, get_origin

from ppvae.components.kinds import Kind
from ppvae.components.ranges import check_ranges
from ppvae.components.spec import Spec
from ppvae.errors import InputError, nearest


def arguments_parser(target: Any, given: Iterable[str]) -> Any:
    """A parser of the arguments of ``target``'s own, from its typed signature."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False, add_help=False)
    add = parser.add_class_arguments if inspect.isclass(target) else parser.add_function_arguments
    names = inspect.signature(target).parameters
    skipped: set[str | int] = {name for name in given if name in names}
    add(target, skip=skipped, fail_untyped=False)
    return parser


def code_paths(value: Any) -> Iterator[str]:
    """What of an argument's words, keys too, the parser would take for the path of code."""
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
"""Types of words by names of the data's own, for which the parser imports nothing: 'sepal.length'
is a column."""


def _check_trusted(part: str, value: Any, trust: Iterable[str]) -> None:
    """Refuse an argument, read from a file, that the parser would import code for."""
    trusted = set(trust)
    for path in code_paths(value):
        parts = path.split(".")
        if not trusted & {".".join(parts[:i]) for i in range(1, len(parts))}:
            raise InputError(
                f"{part} is {path!r}, which may name code that is not this package's; if you "
                f"trust it, say so with `trust=['{parts[0]}']`"
            )


_ELSEWHERE = {
    "num_particles": "; it is `particles`",
    "latent_dim": "; it is `latent_dim`",
    "lr": "; it is `lr`",
}
"""What the user sets all the same, by a parameter of its own."""


def arguments_of(kind: Kind, target: Any, spec: Spec, trust: Iterable[str] = ()) -> dict[str, Any]:
    """The arguments of a part by name, typed and with defaults filled in.

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
                f"`{part}.{name}` is not yours to set: {spec.class_path} is given it"
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
    # What a class takes as **options, the parser reads off the class that they are handed on to.
    filled = {name: _plain(value) for name, value in typed.as_dict().items() if name in parameters}
    if str(target.__module__).split(".")[0] in ("torch", "pyro"):
        check_ranges(part, spec.class_path, filled)
    return filled


def _another(kind: Kind, argument: str) -> str:
    """The one other part that has an argument, if there is one; the name of a part is forgotten."""
    having = [
        name for name, target in kind.names().items()
        if argument in inspect.signature(target).parameters
    ]  # fmt: skip
    return f"; it is one of `{kind.name}={having[0]!r}`" if len(having) == 1 else ""


def parameters_of(part: str, target: Any, spec: Spec) -> Mapping[str, inspect.Parameter]:
    """What a class or function takes.

    Raises:
        InputError: if it does not say, as much that is written in C.
    """
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError) as error:
        raise InputError(
            f"`{part}={spec.class_path!r}` has no signature that says what it is made of; give a "
            "class written in Python"
        ) from error


def _listed(parameter: inspect.Parameter, value: Any) -> Any:
    """``200,200`` and ``200`` for a parameter that takes several: no shell objects to them."""
    annotation = parameter.annotation
    is_several = get_origin(annotation) in (tuple, list, Sequence, Iterable) or (
        isinstance(annotation, str) and annotation.startswith("Iterable[")
    )
    if is_several and not isinstance(value, (list, tuple)):
        return value if str(value).startswith("[") else f"[{value}]"
    return value


def _plain(value: Any) -> Any:
    """Tuples as the lists that YAML has."""
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def expectation(message: str) -> tuple[str, str]:
    """The argument that the parser's message is about, and what it says in one clause."""
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
