"""Model and guide built from their parts, each given by name and arguments."""

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.components.contracts import check_part, failures_told, is_foreign
from ppvae.components.factory import Factory, factory_of
from ppvae.components.initial_bias import start_at_marginal
from ppvae.components.initial_pca import start_at_pca
from ppvae.components.kinds import KINDS
from ppvae.components.memory import sizes_checked
from ppvae.components.names import DEFAULTS, PARTS
from ppvae.components.resolving import owner_of, resolve
from ppvae.components.spec import Spec
from ppvae.errors import InputError
from ppvae.models.likelihoods import PerColumn
from ppvae.networks import Network, Shape, per_unit
from ppvae.networks.column_features import ColumnFeatures
from ppvae.networks.columns import Column
from ppvae.networks.log_counts import LogCounts
from ppvae.programs import Program, named_arguments


@dataclass(frozen=True)
class Programs:
    """A model and a guide, with the parts that they are made of.

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


def build_programs(
    parts: Mapping[str, Spec | Program | None],
    *,
    latent_dim: int,
    data_shape: Shape,
    classes: int = 0,
    covariates: int = 0,
    examples: Tensor | None = None,
    mask: Tensor | None = None,
    size_factor: Tensor | None = None,
    encode_covariates: bool = True,
    log_counts: bool = False,
    columns: Sequence[Column] | None = None,
    trust: Iterable[str] = (),
    copies: int = 1,
) -> Programs:
    """Build the model and the guide.

    Each constructor gets those known values that it names: the arguments below, the parts of its
    program, and the whole other program: a prior that names ``guide`` gets the guide, and a guide
    that names ``model`` the model, as a reference.

    Args:
        parts: for ``model``, ``prior``, ``likelihood``, ``decoder``, ``guide``, ``encoder`` a
            name with arguments, or ``None`` for the default; for model and guide also the program
            itself.
        latent_dim: number of latent dimensions.
        data_shape: shape of one datum.
        classes: number of classes of the labels y; 0 without labels.
        covariates: number of covariates y per datum. A guide gets both numbers where the model is
            conditional on y, and 0 elsewhere.
        examples: some training data, ``(n, *data_shape)``, to start from.
        mask: True where they were observed, like ``examples``; ``None``: everywhere.
        size_factor: their size factors, ``(n,)``; ``None``: there are none.
        encode_covariates: give y to the guide too, where the model is conditional on it; otherwise
            only the decoder gets it.
        log_counts: the data are unscaled counts: an encoder of this package reads log(1 + x) of
            them, where the likelihood is of counts without an upper limit.
        columns: the columns of a table; where the likelihood is `PerColumn`, an encoder of this
            package reads their `ColumnFeatures`.
        trust: modules that names read from a file may be imported from.
        copies: how often a weight will be in memory; see `ppvae.components.memory.sizes_checked`.

    Raises:
        InputError: for a part that cannot be made, that needs too much memory, or that was chosen
            though nothing takes it.
    """
    factories = _factories(parts, trust)
    is_conditional = _is_conditional(parts.get("model"), factories)
    reads_y = is_conditional and encode_covariates
    _check_encoding(factories, encode_covariates)
    # Guides read x in this form, and pseudo-inputs of a prior have it.
    sized = None if examples is None else per_unit(examples, size_factor)
    sizes = {"`latent_dim`": latent_dim, "the size of a datum": math.prod(data_shape)}
    for part, factory in factories.items():
        sizes |= {f"`{part}.{name}`": value for name, value in factory.spec.init_args.items()}
    with sizes_checked(sizes, copies):
        known = {
            "latent_dim": latent_dim, "data_shape": tuple(data_shape),
            "classes": classes, "covariates": covariates,
            "examples": torch.zeros(1, *data_shape) if examples is None else sized,
            "columns": columns,
            "y_size": (classes or covariates) if is_conditional else 0,
        }  # fmt: skip
        of_counts = log_counts and _is_of_counts(factories)
        built = _built(parts, factories, known, of_counts, reads_y, trust)
    decoder = factories.get("decoder")
    if examples is not None and decoder is not None and not is_foreign(decoder.target):
        # Probabilistic PCA has no size factors.
        is_pca = size_factor is None and start_at_pca(built.model, built.guide, examples, mask)
        if not is_pca:
            start_at_marginal(built.model, examples, mask, size_factor)
    return built


def _built(
    parts: Mapping[str, Spec | Program | None],
    factories: Mapping[str, Factory],
    known: Mapping[str, Any],
    log_counts: bool,
    reads_y: bool,
    trust: Iterable[str],
) -> Programs:
    owners: dict[type, Any] = {}
    record: dict[str, Any] = dict.fromkeys(DEFAULTS)
    programs: dict[str, Program] = {}
    for role in _order(factories):
        inner = [part for part, program in PARTS.items() if program == role and part != role]
        if role not in factories:
            _check_left_out(parts, inner, f"the {role} was given as a whole")
            programs[role] = cast("Program", parts.get(role))
            record[role] = {"python_object": _path_of(programs[role])}
            continue
        factory, shared = factories[role], {**known, **programs}
        given = dict(shared)
        if role == "guide" and not reads_y:
            given |= {"classes": 0, "covariates": 0}
        for part in inner:
            if part not in factories:
                _check_left_out(parts, (part,), f"{factory.spec.class_path} takes none")
                continue
            record[part] = factories[part].spec.plain()
            if part in ("decoder", "encoder"):
                given[part] = factories[part].network(**shared)
            else:
                given[part] = _made(part, factories[part], shared)
            if part == "encoder" and log_counts:
                given[part] = LogCounts.before(cast("Network", given[part]), known["data_shape"])
            elif part == "encoder" and _is_per_column(factories):
                given[part] = ColumnFeatures.before(cast("Network", given[part]), known["columns"])
        record[role] = factory.spec.plain()
        programs[role] = _program(role, factory, given, owners, trust)
    return Programs(programs["model"], programs["guide"], record, log_counts)


def _factories(
    parts: Mapping[str, Spec | Program | None], trust: Iterable[str]
) -> dict[str, Factory]:
    """The factory of each part that is not given as an object, among those the programs take."""
    factories: dict[str, Factory] = {}
    for part, role in PARTS.items():
        chosen = parts.get(part)
        if part != role and (role not in factories or not factories[role].names(part)):
            continue
        if chosen is not None and not isinstance(chosen, Spec):
            if part == role:
                continue
            raise InputError(f"`{part}` is {chosen!r}; name it, or give the whole {role}")
        factories[part] = factory_of(KINDS[part], chosen or DEFAULTS[part], trust)
    return factories


def _is_of_counts(factories: Mapping[str, Factory]) -> bool:
    """Whether the likelihood is of counts, read by a guide and an encoder of this package."""
    likelihood = factories.get("likelihood")
    if likelihood is None or not _readers_are_ours(factories):
        return False
    support: Any = getattr(likelihood.target, "support", None)
    is_counts = isinstance(support, type(constraints.nonnegative_integer))
    return is_counts and bool(support.lower_bound == 0)


def _is_per_column(factories: Mapping[str, Factory]) -> bool:
    """Whether columns have several families, read by a guide and an encoder of this package."""
    likelihood = factories.get("likelihood")
    is_mixed = likelihood is not None and likelihood.target is PerColumn
    return is_mixed and _readers_are_ours(factories)


def _readers_are_ours(factories: Mapping[str, Factory]) -> bool:
    readers = (factories.get(part) for part in ("guide", "encoder"))
    return not any(reader is None or is_foreign(reader.target) for reader in readers)


def _order(factories: Mapping[str, Factory]) -> tuple[str, str]:
    """Model first, then guide; the reverse where a part of the model needs the guide.

    Raises:
        InputError: if each needs the other.
    """
    asks = [
        part for part, role in PARTS.items()
        if role == "model" and part in factories and factories[part].names("guide")
    ]  # fmt: skip
    if not asks:
        return "model", "guide"
    if "guide" in factories and factories["guide"].names("model"):
        part, guide = factories[asks[0]].spec.class_path, factories["guide"].spec.class_path
        raise InputError(
            f"`{asks[0]}={part!r}` needs the guide, and `guide={guide!r}` needs the model, so "
            "that neither can be made first; take another of one of them"
        )
    return "guide", "model"


def _is_conditional(model: Spec | Program | None, factories: Mapping[str, Factory]) -> bool:
    """Whether the model takes y: by its constructor or, if it is an object, by its call."""
    if "model" in factories and not factories["model"].is_ready:
        return factories["model"].names("classes") or factories["model"].names("covariates")
    program = factories["model"].target if "model" in factories else model
    return "y" in named_arguments(cast("Program", program))


def _check_encoding(factories: Mapping[str, Factory], encode_covariates: bool) -> None:
    """Refuse to withhold y from a guide that infers it."""
    guide = factories.get("guide")
    if encode_covariates or guide is None or guide.names("covariates"):
        return
    if guide.names("classes"):
        raise InputError(
            f"`encode_covariates='off'` withholds y from the guide, but {guide.spec.class_path} "
            "infers it; leave it out"
        )


def _program(
    role: str,
    factory: Factory,
    given: dict[str, Any],
    owners: dict[type, Any],
    trust: Iterable[str],
) -> Program:
    """The program itself; two methods of one class share one instance."""
    target = resolve(KINDS[role], factory.spec, trust)
    if factory.is_ready or inspect.isclass(target):
        program: Program = _made(role, factory, given)
        return program
    owner = owner_of(target)
    if owner is None:
        raise InputError(f"`{role}={factory.spec.class_path!r}` is neither a class nor a program")
    if owner not in owners:
        owners[owner] = factory(**given)
    method: Program = getattr(owners[owner], target.__name__)
    return method


def _made(part: str, factory: Factory, given: Mapping[str, Any]) -> Any:
    """The part, checked if it is the user's own."""
    name = factory.spec.class_path
    with failures_told(f"`{part}={name!r}` cannot be made", factory.target):
        made = factory(**given)
    of_data = {key: given[key] for key in ("latent_dim", "data_shape", "examples")}
    check_part(part, name, made, **of_data)
    return made


def _check_left_out(parts: Mapping[str, Any], names: Iterable[str], reason: str) -> None:
    for name in names:
        if parts.get(name) is not None:
            raise InputError(f"`{name}` has no effect here: {reason}; leave it out")


def _path_of(program: Any) -> str:
    target = program if hasattr(program, "__qualname__") else type(program)
    return f"{target.__module__}.{target.__qualname__}"
