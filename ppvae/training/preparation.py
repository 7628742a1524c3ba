"""What fitting and comparing have in common before the first step: parts, data, the loop."""

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ppvae.bounds.audit import audit
from ppvae.components.building import Programs, build_programs
from ppvae.components.contracts import is_foreign
from ppvae.components.factory import Factory, factory_of
from ppvae.components.kinds import KINDS
from ppvae.components.memory import TRAINING, check_memory
from ppvae.components.resolving import resolve
from ppvae.components.spec import Spec
from ppvae.data import Batch, Binarize, Data, Scale, load
from ppvae.data.labels import hide
from ppvae.data.scaling import COUNTS
from ppvae.errors import InputError
from ppvae.programs import Pair, Program
from ppvae.programs.facts import Audit
from ppvae.programs.failures import explained
from ppvae.programs.streams import restored, seed_process
from ppvae.run import FORMAT, versions
from ppvae.training.trial import try_out, unmoved

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from ppvae.training.plan import Plan
    from ppvae.training.trainer import Trainer

__all__ = [
    "Meeting",
    "Part",
    "assembled",
    "check_made_again",
    "few",
    "free_folder",
    "labels_hidden",
    "make_loop",
    "maker_of",
    "meet",
    "part_of",
    "read_data",
    "recorded",
    "resolved",
    "true_labels",
]

EXAMPLES = 2_000
"""Training data that a part may start from, as a VampPrior's pseudo-inputs do."""

KEPT = 2**20
"""Numbers of data that a run keeps at most, for the programs to be traced on: 4 MiB."""

Part = str | Mapping[str, Any] | Spec | type | Program | None
"""How a part may be expressed: a name, a mapping of YAML, a class, or a program itself."""


def part_of(kind: str, value: Part) -> Spec | Program | None:
    """A choice, however it was expressed; a program that was handed in whole stays itself."""
    if value is None or isinstance(value, Spec):
        return value
    if isinstance(value, (str, Mapping)):
        return Spec.parse(value, kind)
    if isinstance(value, type):
        names = KINDS[kind].names()
        own = names.get(value.__name__) is value
        return Spec(value.__name__ if own else f"{value.__module__}.{value.__qualname__}")
    if not KINDS[kind].is_program:
        raise InputError(
            f"{kind} is {value!r}; give its class or class name, or compose the model (or guide) "
            "in Python and hand in that"
        )
    return value


def maker_of(kind: str, value: Part, trust: Iterable[str]) -> Factory:
    """Resolve a part that is made by name.

    Raises:
        InputError: if it is none.
    """
    choice = part_of(kind, value)
    if not isinstance(choice, Spec):
        raise InputError(f"{kind} is {value!r}; give a class name")
    return factory_of(KINDS[kind], choice, trust)


@dataclass(frozen=True)
class Meeting:
    """Data, and the two programs that meet on it.

    Attributes:
        everything: the data, with all of its labels.
        data: the data as the programs see it, with the labels that they may.
        batch: the first batch of the training data.
        assembly: the programs, and what they were made of.
        pair: the two as one.
        facts: what the audit found of them.
    """

    everything: Data
    data: Data
    batch: Batch
    assembly: Programs
    pair: Pair
    facts: Audit


def meet(
    everything: Data,
    parts: Mapping[str, Spec | Program | None],
    elbo: Factory,
    settings: Mapping[str, Any],
    trust: Iterable[str],
) -> Meeting:
    """Make the programs for these data, with initial weights by the seed, and look at them."""
    data = labels_hidden(everything, settings)
    seed_process(settings["seed"])
    batch = data.train.take(torch.arange(min(settings["batch_size"], len(data.train))))
    assembly = assembled(parts, data, settings["latent_dim"], trust)
    with explained(f"on the first {len(batch['x'])} rows"):
        pair = Pair(assembly.model, assembly.guide, batch)
        facts = audit(pair, elbo.target, batch)
    return Meeting(everything, data, batch, assembly, pair, facts)


def read_data(
    data: str | Path | Data,
    data_dir: str | Path | None,
    label: str | None,
    binarize: Binarize,
    scale: Scale | None = None,
) -> Data:
    """The data by name or path; data that was handed in stays itself."""
    if isinstance(data, Data):
        return data
    where = Path(data_dir) if isinstance(data_dir, str) else data_dir
    return load(data, data_dir=where, label=label, binarize=binarize, scale=scale)


def labels_hidden(data: Data, settings: Mapping[str, Any]) -> Data:
    """The data with as many labels as ``labels`` of the settings leaves, all where it is absent."""
    keep = settings.get("labels")
    return data if keep is None else hide(data, keep, settings["seed"])


def true_labels(data: Data) -> torch.Tensor | None:
    """The test data's labels, one number a datum, if it has them."""
    if data.labels is None:
        return None
    return data.test.take(torch.arange(len(data.test)))["y"]


def recorded(data: str | Path | Data) -> Any:
    """How ``config.yaml`` names the data, so that it is found from any folder."""
    if isinstance(data, Data):
        return {"python_object": data.name}
    if not isinstance(data, (str, os.PathLike)):
        raise InputError(
            f"data is a {type(data).__name__}; give a name, a path, or, of arrays and tensors, "
            "ppvae.data.from_arrays(x, y)"
        )
    path = Path(data).expanduser()
    return str(path.resolve()) if path.exists() else str(data)


def assembled(
    parts: Mapping[str, Spec | Program | None], data: Data, latent_dim: int, trust: Iterable[str]
) -> Programs:
    """Model and guide for these data, given what the data tell: see `build_programs`."""
    some = torch.arange(min(EXAMPLES, len(data.train)))
    return build_programs(
        parts,
        latent_dim=latent_dim,
        data_shape=data.shape,
        classes=data.classes,
        covariates=data.covariates,
        examples=data.train.take(some)["x"],
        log_counts=data.scaling == COUNTS,
        trust=trust,
        copies=TRAINING,
    )


def make_loop(
    pair: Pair,
    elbo: Factory,
    facts: Audit,
    optimizer: Factory,
    schedule: Factory | None,
    settings: Mapping[str, Any],
    plan: "Plan",
    data: Data,
    fabric: "Fabric",
    *,
    compile: bool = False,
) -> "Trainer":
    """The bound, what climbs it, and the loop that does, after a trial of it."""
    demand_room(pair, settings, plan, data, fabric)
    # Late: Lightning Fabric, which the loop is typed by, takes seconds to import.
    from ppvae.bounds.objective import Bound
    from ppvae.training.trainer import Trainer

    bound = Bound(pair, elbo.target, facts, settings["particles"], **elbo.choice.init_args)
    climber = _climber(optimizer, pair, settings["lr"])
    pace = None if schedule is None else _pace(schedule, climber, plan)
    loop = Trainer(bound, climber, data, plan, fabric, pace, compile=compile)
    try_out(loop)
    return loop


def check_made_again(
    assembly: Programs,
    data: Data,
    pair: Pair,
    example: Batch,
    latent_dim: int,
    trust: Iterable[str],
) -> None:
    """Make programs by name a second time, as whoever opens the run will.

    Those of the package alone, whose tests do that, and objects made in Python are passed over.

    Raises:
        InputError: if the fitted weights would not be those of the programs.
    """
    parts = {name: value for name, value in assembly.parts.items() if value is not None}
    if any("python_object" in value for value in parts.values()):
        return
    choices = {name: Spec.parse(value, name) for name, value in parts.items()}
    if not any(is_foreign(resolve(KINDS[name], c, trust)) for name, c in choices.items()):
        return
    with explained("when they are made a second time"), restored(), unmoved(pair):
        again = build_programs(
            choices, latent_dim=latent_dim, data_shape=data.shape, classes=data.classes,
            covariates=data.covariates, examples=example["x"],
            log_counts=data.scaling == COUNTS, trust=trust,
        )  # fmt: skip
        fresh = Pair(again.model, again.guide, example).state_dict()
    weights = pair.state_dict()
    for name in weights | fresh:
        one, other = (tuple(d[name].shape) if name in d else None for d in (weights, fresh))
        if one != other:
            raise InputError(
                f"of the programs made a second time '{name}' has shape {other}, and of those to "
                f"be fitted {one}, so that the run could not be opened: make sizes of the "
                "constructors' arguments and of the shape of x alone"
            )


def few(batch: Batch) -> Batch:
    """Of a batch the rows that a run keeps: all, unless they are large."""
    numbers = sum(value[0].numel() for value in batch.values())
    rows = max(2, KEPT // numbers)
    return {name: value[:rows] for name, value in batch.items()}


def _climber(maker: Factory, pair: Pair, lr: float) -> torch.optim.Optimizer:
    """The optimizer of the parameters that are learned."""
    learned = [p for p in pair.parameters() if p.requires_grad]
    found = _made(maker, "optimizer", lambda: maker(params=learned, lr=lr))
    if not isinstance(found, torch.optim.Optimizer):
        raise InputError(
            f"--optimizer {maker.choice.class_path} is no optimizer; give a class of torch.optim, "
            "or one derived from torch.optim.Optimizer"
        )
    return found


def _pace(
    maker: Factory, climber: torch.optim.Optimizer, plan: "Plan"
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning-rate schedule of an optimizer, over epochs."""
    known: dict[str, Any] = {"T_max": plan.epochs, "total_steps": plan.epochs}
    if maker.names("threshold_mode"):
        # A threshold relative to a negative bound calls worse better.
        known |= {"mode": "max", "threshold_mode": "abs"}
    found = _made(maker, "schedule", lambda: maker(optimizer=climber, **known))
    if not isinstance(found, torch.optim.lr_scheduler.LRScheduler):
        raise InputError(
            f"--schedule {maker.choice.class_path} is no schedule; give a class of "
            "torch.optim.lr_scheduler, or one derived from its LRScheduler"
        )
    return found


def _made(maker: Factory, flag: str, make: Callable[[], Any]) -> Any:
    """What ``make`` gives; what torch says of arguments that do not go together is a sentence."""
    try:
        return make()
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"--{flag} {maker.choice.class_path}: {reason}") from error


def demand_room(
    pair: Pair, settings: Mapping[str, Any], plan: "Plan", data: Data, fabric: "Fabric"
) -> None:
    """Refuse a fit that the device has no memory for: its weights, or the draws of one step.

    A draw has at least the numbers of its likelihood and its latents, each with a gradient.
    """
    weights = sum(p.numel() * p.element_size() for p in pair.parameters())
    check_memory(TRAINING * weights, "the model and its guide", fabric.device)
    rows, particles = min(plan.batch_size, len(data.train)), settings["particles"]
    numbers = math.prod(data.shape) + int(settings.get("latent_dim") or 0)
    setting = f"a step with particles = {particles} on {rows} data"
    check_memory(2 * 4 * particles * rows * numbers, setting, fabric.device)


def free_folder(parent: Path, name: str) -> Path:
    """A folder for ``name`` and the present time that is not there yet."""
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, number = parent / stem, 1
    while path.exists():
        path, number = parent / f"{stem}-{number}", number + 1
    return path


def resolved(
    data: Data, batch: Mapping[str, torch.Tensor], pair: Pair, fabric: "Fabric"
) -> dict[str, Any]:
    """What ``config.yaml`` keeps beside the settings."""
    extras = {
        name: {"shape": list(value.shape[1:]), "dtype": str(value.dtype).removeprefix("torch.")}
        for name, value in batch.items()
        if name != "x"
    }
    return {
        "format": FORMAT,
        "versions": versions(),
        "device": str(fabric.device),
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in pair.parameters() if p.requires_grad),
        "data": {
            "name": data.name,
            "shape": list(data.shape),
            "rows": {name: len(split) for name, split in data.splits.items()},
            "scaling": data.scaling.to_dict(),
            "fingerprint": data.fingerprint(),
            "labels": None if data.labels is None else list(data.labels),
            "extras": extras,
            "covariates": data.covariates,
        },
    }
