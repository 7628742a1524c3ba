"""One vocabulary for command line, YAML and Python: a part by its class name, and its arguments.

A choice is ``VampPrior`` (a class of this package), ``mypackage.MyPrior`` (one's own), or in
Python the class, function or object itself. Whatever a constructor names of what is known already
(``latent_dim``, ``data_shape``, ``in_shape``, ...) it is given; the rest are the choice's own
arguments, read by the types of its signature.
"""

import difflib
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, get_origin

import torch
from torch import nn

import ppvae.guides
import ppvae.models
from ppvae import networks
from ppvae.errors import InputError
from ppvae.models import Likelihood, Prior
from ppvae.objectives import ELBOS

__all__ = [
    "KINDS",
    "Choice",
    "Kind",
    "Maker",
    "arguments_parser",
    "expectation",
    "made",
    "nearest",
    "owner_of",
    "resolve",
]


@dataclass(frozen=True)
class Choice:
    """A part by name, with arguments of its own.

    Attributes:
        class_path: a class name of this package, or an import path.
        init_args: its arguments, as YAML would have them.
        trusted: the path was typed by the user, not read from a file.
    """

    class_path: str
    init_args: Mapping[str, Any] = field(default_factory=dict)
    trusted: bool = True

    @classmethod
    def parse(cls, value: Any, flag: str, *, trusted: bool = True) -> "Choice":
        """Read ``Name`` or ``{class_path: Name, init_args: {...}}``."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls(value, {}, trusted)
        if isinstance(value, Mapping) and {"class_path"} <= value.keys() <= {
            "class_path",
            "init_args",
        }:
            path, args = value["class_path"], value.get("init_args") or {}
            if (
                isinstance(path, str)
                and isinstance(args, Mapping)
                and all(isinstance(k, str) for k in args)
            ):
                return cls(path, dict(args), trusted)
        raise InputError(
            f"{flag} is {value!r}; give a class name, or a mapping with class_path and init_args"
        )

    def plain(self) -> dict[str, Any]:
        """As YAML has it."""
        return {"class_path": self.class_path, "init_args": dict(self.init_args)}


@dataclass(frozen=True)
class Kind:
    """A flag whose values are classes.

    Attributes:
        flag: its name.
        names: what may be chosen by class name, made when asked for: imports may be slow.
        given: parameters of a constructor that the program fills in itself.
        is_program: whether a function may be chosen, as the thing itself and not its maker.
    """

    flag: str
    names: Callable[[], dict[str, Any]]
    given: frozenset[str]
    is_program: bool = False


def _exported(
    module: Any, base: type, *, but: tuple[type, ...] = (), bases: tuple[type, ...] = ()
) -> dict[str, Any]:
    """What ``module`` exports that is of ``base``, and of none of ``but``, and can be made."""
    exported = {name: getattr(module, name) for name in module.__all__}
    return {
        name: value
        for name, value in exported.items()
        if inspect.isclass(value)
        and issubclass(value, base)
        and not inspect.isabstract(value)
        and not issubclass(value, but)
        and value not in bases
    }


def _schedules() -> dict[str, Any]:
    from torch.optim import lr_scheduler

    made_of_others = {"SequentialLR", "ChainedScheduler", "LambdaLR", "MultiplicativeLR"}
    return {
        name: getattr(lr_scheduler, name)
        for name in lr_scheduler.__all__
        if name.endswith(("LR", "Plateau", "Restarts")) and name not in made_of_others
    }


def _optimizers() -> dict[str, Any]:
    base = torch.optim.Optimizer
    # LBFGS wants the loss again and again within a step; SparseAdam wants sparse gradients.
    needs_other_loop = {"Optimizer", "LBFGS", "SparseAdam"}
    return {
        name: value
        for name, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, base) and name not in needs_other_loop
    }


_SHAPES = frozenset({"latent_dim", "data_shape"})
_NETWORK = _SHAPES | {"in_shape", "out_shape"}

KINDS: dict[str, Kind] = {
    kind.flag: kind
    for kind in (
        Kind(
            "model",
            lambda: _exported(ppvae.models, nn.Module, but=(Prior, Likelihood)),
            _SHAPES | {"prior", "likelihood", "decoder", "covariates"},
            is_program=True,
        ),
        Kind(
            "prior",
            lambda: _exported(ppvae.models.priors, Prior),
            _SHAPES | {"guide", "examples"},
        ),
        Kind("likelihood", lambda: _exported(ppvae.models.likelihoods, Likelihood), _SHAPES),
        Kind("decoder", lambda: _exported(networks, nn.Module), _NETWORK),
        Kind(
            "guide",
            lambda: _exported(ppvae.guides, nn.Module, bases=(ppvae.guides.Amortized,)),
            _SHAPES | {"encoder", "model", "covariates"},
            is_program=True,
        ),
        Kind("encoder", lambda: _exported(networks, nn.Module), _NETWORK),
        Kind(
            "elbo",
            lambda: {elbo.__name__: elbo for elbo in ELBOS},
            frozenset({"num_particles", "vectorize_particles", "max_plate_nesting"}),
        ),
        Kind("optimizer", _optimizers, frozenset({"params", "lr"})),
        Kind(
            "schedule",
            _schedules,
            frozenset({"optimizer", "T_max", "total_steps", "mode", "threshold_mode"}),
        ),
    )
}


def nearest(word: str, words: Iterable[str]) -> str:
    """In brackets, the nearest of ``words``; nothing where none is near."""
    by_lower = {w.lower(): w for w in words}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5)
    return f" (did you mean {by_lower[close[0]]}?)" if close else ""


def resolve(kind: Kind, choice: Choice, trust: Iterable[str] = ()) -> Any:
    """The class or function that a choice names.

    Args:
        kind: the flag that it was given to.
        choice: the name.
        trust: modules from which names may be imported though a file, not the user, gave them.

    Raises:
        InputError: for a name that is none, with the list and the nearest; for an import path
            that cannot be imported, or that nobody trusts.
    """
    names, path = kind.names(), choice.class_path
    if path in names:
        return names[path]
    module, _, last = path.rpartition(".")
    if not module:
        raise InputError(
            f"--{kind.flag} {path}: there is none of that name{nearest(path, names)}; choose from "
            f"{', '.join(sorted(names))}, or give an import path of your own (mypackage.MyClass)"
        )
    known = names.get(last)
    if known is not None and f"{known.__module__}.{last}" == path:
        return known
    if not choice.trusted and not any(module == t or module.startswith(f"{t}.") for t in trust):
        raise InputError(
            f"the {kind.flag} is {path}, whose code is not this package's; if you trust it, say so "
            f"with --trust {module.split('.')[0]}, or trust=['{module.split('.')[0]}'] in Python"
        )
    return _imported(kind, path)


def _imported(kind: Kind, path: str) -> Any:
    """Import ``package.module.Class``, or ``package.module.Class.method``."""
    parts = path.split(".")
    for split in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError as error:
            # The module that is missing must be this one, not one that it imports.
            if error.name is not None and ".".join(parts[:split]).startswith(error.name):
                continue
            raise InputError(f"--{kind.flag} {path}: importing it fails: {error}") from error
        for i, part in enumerate(parts[split:], start=split):
            if not hasattr(found, part):
                inside = [m.name for m in pkgutil.iter_modules(getattr(found, "__path__", ()))]
                if part in inside:
                    raise InputError(
                        f"--{kind.flag} {path} is a module; name a class or a function in it"
                    )
                there = [n for n in dir(found) if not n.startswith("_")]
                raise InputError(
                    f"--{kind.flag} {path}: {'.'.join(parts[:i])} has no {part}"
                    f"{nearest(part, [*there, *inside])}"
                )
            found = getattr(found, part)
        if inspect.ismodule(found):
            raise InputError(f"--{kind.flag} {path} is a module; name a class or a function in it")
        if not callable(found):
            raise InputError(
                f"--{kind.flag} {path} is a {type(found).__name__}; give a class or a function"
            )
        return found
    raise InputError(
        f"--{kind.flag} {path}: no module {parts[0]} can be imported from {Path.cwd()} or the "
        "environment; run where it lies, or install it"
    )


def arguments_parser(target: Any, given: Iterable[str]) -> Any:
    """A parser of the arguments of ``target``'s own, from its typed signature."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False, add_help=False)
    add = parser.add_class_arguments if inspect.isclass(target) else parser.add_function_arguments
    names = inspect.signature(target).parameters
    skipped: set[str | int] = {name for name in given if name in names}
    add(target, skip=skipped, fail_untyped=False)
    return parser


def _refuse_code(flag: str, value: Any, trust: Iterable[str]) -> None:
    """Refuse an argument, read from a file, that the parser would take for code and import."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_code(flag, key, trust)
            _refuse_code(flag, inner, trust)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _refuse_code(flag, inner, trust)
    elif isinstance(value, str):
        trusted = set(trust)
        for path in _DOTTED.findall(value):
            parts = path.split(".")
            if not trusted & {".".join(parts[:i]) for i in range(1, len(parts))}:
                raise InputError(
                    f"{flag} is {value!r}, which may name code that is not this package's; if you "
                    f"trust it, say so with --trust {parts[0]}, or trust=['{parts[0]}'] in Python"
                )


_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")


_ELSEWHERE = {
    "num_particles": "; it is --particles",
    "latent_dim": "; it is --latent-dim",
    "lr": "; it is --lr",
}
"""What the user sets all the same, by a flag of its own."""


def _arguments(
    kind: Kind, target: Any, choice: Choice, trust: Iterable[str] = ()
) -> dict[str, Any]:
    """The choice's arguments, typed and with defaults filled in.

    Raises:
        InputError: naming the argument that is unknown, missing, or of the wrong type.
    """
    from jsonargparse import ArgumentError

    flag, given = kind.flag, kind.given
    parameters = inspect.signature(target).parameters
    own = [name for name in parameters if name not in given]
    for name in choice.init_args:
        if name in given and name in parameters:
            raise InputError(
                f"--{flag}.{name} is not yours to set: {choice.class_path} is given it"
                f"{_ELSEWHERE.get(name, '')}"
            )
        if name not in parameters:
            listed = ", ".join(own) or "none"
            raise InputError(
                f"--{flag}.{name}: {choice.class_path} has no such argument{nearest(name, own)}; "
                f"its arguments: {listed}"
            )
    if not choice.trusted:
        for name, value in choice.init_args.items():
            _refuse_code(f"--{flag}.{name}", value, trust)
    mine = {n: _listed(parameters[n], value) for n, value in choice.init_args.items()}
    missing = [
        name
        for name in own
        if parameters[name].default is inspect.Parameter.empty
        and parameters[name].kind
        not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        and name not in mine
    ]
    if missing:
        raise InputError(f"--{flag} {choice.class_path} needs --{flag}.{missing[0]}")
    parser = arguments_parser(target, given)
    try:
        with redirect_stderr(StringIO()):
            typed = parser.parse_object(mine)
    except (ArgumentError, TypeError, ValueError) as error:
        key, clause = expectation(str(error))
        raise InputError(
            f"--{flag}.{key}: {clause} (an argument of {choice.class_path})"
        ) from error
    # What a class takes as **options, the parser reads off the class that they are handed on to.
    return {name: _plain(value) for name, value in typed.as_dict().items() if name in parameters}


def _listed(parameter: inspect.Parameter, value: Any) -> Any:
    """``200,200`` and ``200`` for a parameter that takes several: no shell objects to them."""
    origin = get_origin(parameter.annotation)
    if origin in (tuple, list, Sequence) and not isinstance(value, (list, tuple)):
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
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a word",
    "collections.abc.Sequence": "a list such as 200,200",
}


@dataclass(frozen=True)
class Maker:
    """A choice that has been resolved: call it with what is known to have the part.

    Attributes:
        choice: name and arguments, complete: what ``config.yaml`` records.
        target: the class or function itself.
        is_ready: the target is the part itself: a function that is a program.
    """

    choice: Choice
    target: Any
    is_ready: bool = False

    def names(self, parameter: str) -> bool:
        """Whether the constructor has a parameter of this name."""
        return not self.is_ready and parameter in inspect.signature(self.target).parameters

    def __call__(self, **known: Any) -> Any:
        """Make the part, given of ``known`` what the constructor names."""
        if self.is_ready:
            return self.target
        parameters = inspect.signature(self.target).parameters
        given = {name: value for name, value in known.items() if name in parameters}
        return self.target(**{**given, **self.choice.init_args})

    def network(self, **known: Any) -> networks.Network:
        """The part as a network: made once the shapes that it joins are known."""
        return lambda in_shape, out_shape: self(in_shape=in_shape, out_shape=out_shape, **known)


def made(kind: Kind, choice: Choice, trust: Iterable[str] = ()) -> Maker:
    """Resolve a choice and type its arguments; see `resolve` for what is refused."""
    target = resolve(kind, choice, trust)
    if kind.is_program and not inspect.isclass(target):
        return _program(kind, choice, target, trust)
    args = _arguments(kind, target, choice, trust)
    own = kind.names()
    name = getattr(target, "__name__", "")
    path = name if own.get(name) is target else choice.class_path
    return Maker(Choice(path, args, choice.trusted), target)


def _program(kind: Kind, choice: Choice, target: Any, trust: Iterable[str]) -> Maker:
    """A function that is a program, or a method of a class that is yet to be made.

    A method (``mypackage.VAE.model``) stands for that of an instance, which `ppvae.assembly` makes
    once for the model and the guide.
    """
    owner = owner_of(target)
    if owner is not None:
        args = _arguments(kind, owner, choice, trust)
        return Maker(Choice(choice.class_path, args, choice.trusted), owner)
    if choice.init_args:
        raise InputError(
            f"--{kind.flag}.{next(iter(choice.init_args))}: {choice.class_path} is a function, the "
            "program itself, and has no arguments of its own"
        )
    return Maker(choice, target, is_ready=True)


def owner_of(target: Any) -> type | None:
    """The class whose method ``target`` is, if it is a plain method of a module's class."""
    outer, _, _ = getattr(target, "__qualname__", "").rpartition(".")
    if not outer or "<locals>" in outer:
        return None
    owner = getattr(inspect.getmodule(target), outer, None)
    return owner if inspect.isclass(owner) else None
