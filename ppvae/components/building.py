"""Parts by name put together: a model and a guide from the choices that make them."""

import inspect
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.components.contracts import check_part, is_foreign, made_or_said
from ppvae.components.factory import Factory, factory_of
from ppvae.components.kinds import KINDS
from ppvae.components.memory import sizes_checked
from ppvae.components.resolving import owner_of, resolve
from ppvae.components.spec import Spec
from ppvae.errors import InputError
from ppvae.networks import Network, Shape
from ppvae.networks.log_counts import LogCounts
from ppvae.programs import Program, named_arguments

__all__ = ["DEFAULTS", "PARTS", "Assembly", "assemble"]

DEFAULTS = {
    "model": Spec("VAE"),
    "prior": Spec("StandardNormal"),
    "likelihood": Spec("Bernoulli"),
    "decoder": Spec("MLP"),
    "guide": Spec("MeanField"),
    "encoder": Spec("MLP", {"hidden": [400, 400]}),
}
"""What a part is where nobody says; the encoder is the deeper network, by trial on MNIST."""

PARTS = {
    "model": "model",
    "prior": "model",
    "likelihood": "model",
    "decoder": "model",
    "guide": "guide",
    "encoder": "guide",
}
"""The program that each part belongs to."""


@dataclass(frozen=True)
class Assembly:
    """Two programs, and what they were made of.

    Attributes:
        model: p(x, z).
        guide: q(z | x).
        parts: each part's name and full arguments, as ``config.yaml`` records them; ``None`` for a
            part that the programs do not take.
        log_counts: the encoder reads log(1 + x).
    """

    model: Program
    guide: Program
    parts: dict[str, Any]
    log_counts: bool = False


def assemble(
    parts: Mapping[str, Spec | Program | None],
    *,
    latent_dim: int,
    data_shape: Shape,
    classes: int = 0,
    covariates: int = 0,
    examples: Tensor | None = None,
    log_counts: bool = False,
    trust: Iterable[str] = (),
    copies: int = 1,
) -> Assembly:
    """Make model and guide.

    Each constructor is given what it names of what is known: the arguments below, the parts of its
    own program, and of the other program the whole: a prior that names ``guide`` is given the
    guide, and a guide that names ``model`` the model, to refer to and not to own.

    Args:
        parts: for ``model``, ``prior``, ``likelihood``, ``decoder``, ``guide``, ``encoder`` a
            choice, or ``None`` for the default; for model and guide also the program itself.
        latent_dim: number of latent dimensions.
        data_shape: shape of one datum.
        classes: number of classes of the labels y; 0 without labels.
        covariates: number of covariates y per datum. A guide is given both where the model is
            conditional on y, and 0 elsewhere.
        examples: some training data, ``(n, *data_shape)``, to start from.
        log_counts: the data are counts as they are: an encoder of this package reads log(1 + x) of
            them, where the likelihood is of counts without a largest one.
        trust: modules that choices read from a file may be imported from.
        copies: how often a weight will be in memory; see `ppvae.components.memory.sizes_checked`.

    Raises:
        InputError: for a part that cannot be made, for one that there is no memory for, or that was
            chosen though nothing takes it.
    """
    makers = _makers(parts, trust)
    sizes = {"`latent_dim`": latent_dim, "the size of a datum": math.prod(data_shape)}
    for part, maker in makers.items():
        sizes |= {f"`{part}.{name}`": value for name, value in maker.choice.init_args.items()}
    reads_logs = log_counts and _is_of_counts(makers)
    with sizes_checked(sizes, copies):
        return _assembled(
            parts,
            makers,
            latent_dim,
            tuple(data_shape),
            classes,
            covariates,
            examples,
            reads_logs,
            trust,
        )


def _assembled(
    parts: Mapping[str, Spec | Program | None],
    makers: Mapping[str, Factory],
    latent_dim: int,
    data_shape: Shape,
    classes: int,
    covariates: int,
    examples: Tensor | None,
    log_counts: bool,
    trust: Iterable[str],
) -> Assembly:
    known = {
        "latent_dim": latent_dim, "data_shape": data_shape,
        "classes": classes, "covariates": covariates,
        "examples": torch.zeros(1, *data_shape) if examples is None else examples,
    }  # fmt: skip
    owners: dict[type, Any] = {}
    record: dict[str, Any] = dict.fromkeys(DEFAULTS)
    programs: dict[str, Program] = {}
    for role in _order(makers):
        inner = [part for part, program in PARTS.items() if program == role and part != role]
        chosen = parts.get(role)
        if role not in makers:
            _check_left_out(parts, inner, f"the {role} was handed in whole")
            programs[role] = cast("Program", chosen)
            record[role] = {"python_object": _name(chosen)}
            continue
        maker = makers[role]
        given = known | programs
        if role == "guide" and not _is_conditional(parts.get("model"), makers):
            given |= {"classes": 0, "covariates": 0}
        for part in inner:
            if part not in makers:
                _check_left_out(parts, (part,), f"{maker.choice.class_path} takes none")
                continue
            part_maker = makers[part]
            record[part] = part_maker.choice.plain()
            is_network = part in ("decoder", "encoder")
            own = {**known, **programs}
            given[part] = part_maker.network(**own) if is_network else _made(part, part_maker, own)
            if part == "encoder" and log_counts:
                given[part] = LogCounts.before(cast("Network", given[part]), tuple(data_shape))
        record[role] = maker.choice.plain()
        programs[role] = _bound(role, maker, given, owners, trust)
    return Assembly(programs["model"], programs["guide"], record, log_counts)


def _makers(parts: Mapping[str, Spec | Program | None], trust: Iterable[str]) -> dict[str, Factory]:
    """What makes each part that is not handed in, of those that the programs take."""
    makers: dict[str, Factory] = {}
    for part, role in PARTS.items():
        choice = parts.get(part)
        if part != role and (role not in makers or not makers[role].names(part)):
            continue
        if choice is not None and not isinstance(choice, Spec):
            if part == role:
                continue
            raise InputError(f"{part} is {choice!r}; name it, or hand in the whole {role}")
        makers[part] = factory_of(KINDS[part], choice or DEFAULTS[part], trust)
    return makers


def _is_of_counts(makers: Mapping[str, Factory]) -> bool:
    """Whether the likelihood is of counts, and a guide and an encoder of this package read them."""
    readers = [makers.get(part) for part in ("guide", "encoder")]
    if "likelihood" not in makers or any(maker is None for maker in readers):
        return False
    support = getattr(makers["likelihood"].target, "support", None)
    is_open = isinstance(support, type(constraints.nonnegative_integer)) and (
        support.lower_bound == 0
    )
    return is_open and not any(is_foreign(maker.target) for maker in readers if maker is not None)


def _order(makers: Mapping[str, Factory]) -> tuple[str, str]:
    """Model first, then guide; the other way round where a part of the model asks for the guide.

    Raises:
        InputError: if each asks for the other.
    """
    asks = [
        part for part, role in PARTS.items()
        if role == "model" and part in makers and makers[part].names("guide")
    ]  # fmt: skip
    if not asks:
        return "model", "guide"
    if "guide" in makers and makers["guide"].names("model"):
        part, guide = makers[asks[0]].choice.class_path, makers["guide"].choice.class_path
        raise InputError(
            f"`{asks[0]}={part!r}` is made of the guide, and `guide={guide!r}` of the model, so "
            "that neither can be made first; take another of one of them"
        )
    return "guide", "model"


def _is_conditional(model: Spec | Program | None, makers: Mapping[str, Factory]) -> bool:
    """Whether the model takes y: by its constructor, or, where it is made already, by its call."""
    if "model" in makers and not makers["model"].is_ready:
        return makers["model"].names("classes") or makers["model"].names("covariates")
    program = makers["model"].target if "model" in makers else model
    return "y" in named_arguments(cast("Program", program))


def _bound(
    role: str, maker: Factory, given: dict[str, Any], owners: dict[type, Any], trust: Iterable[str]
) -> Program:
    """The program itself; of a class that holds both as methods, one instance serves the two."""
    target = resolve(KINDS[role], maker.choice, trust)
    if maker.is_ready or inspect.isclass(target):
        program: Program = _made(role, maker, given)
        return program
    owner = owner_of(target)
    if owner is None:
        raise InputError(f"`{role}={maker.choice.class_path!r}` is neither a class nor a program")
    if owner not in owners:
        owners[owner] = maker(**given)
    method: Program = getattr(owners[owner], target.__name__)
    return method


def _made(part: str, maker: Factory, given: Mapping[str, Any]) -> Any:
    """The part, held to its contract if it is the user's own."""
    name = maker.choice.class_path
    made_part = made_or_said(part, name, maker.target, lambda: maker(**given))
    check_part(
        part, name, made_part,
        latent_dim=given["latent_dim"], data_shape=given["data_shape"], examples=given["examples"],
    )  # fmt: skip
    return made_part


def _check_left_out(parts: Mapping[str, Any], names: Iterable[str], reason: str) -> None:
    for name in names:
        if parts.get(name) is not None:
            raise InputError(f"`{name}` has no effect here: {reason}; leave it out")


def _name(program: Any) -> str:
    target = program if hasattr(program, "__qualname__") else type(program)
    return f"{target.__module__}.{target.__qualname__}"
