"""Setup of the trainer of a fit: bound, optimizer, schedule, compilation."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ppvae.components.factory import Factory
from ppvae.components.memory import TRAINING, check_memory
from ppvae.data import Data
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from ppvae.settings import Settings
from ppvae.training.chosen_parts import Chosen
from ppvae.training.evaluation_schedule import EvaluationSchedule, schedule_for
from ppvae.training.order import Order
from ppvae.training.sizes import Sizes
from ppvae.training.threads import take_threads, threads_for
from ppvae.training.trial import try_evaluation, try_out

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from ppvae.training.trainer import Trainer


def order_of(settings: Settings, data: Data, fabric: "Fabric") -> Order:
    """The order of the training data for these settings."""
    return Order.of(
        data.train, settings.batch_size, settings.labelled, fabric.world_size, settings.accumulate
    )


def decide_compile(settings: Settings, data: Data, pair: Pair, fabric: "Fabric") -> bool:
    """Resolve ``compile``; ``auto`` depends on the number and size of the steps.

    Without a C++ compiler, ``auto`` does not compile steps on a CPU.
    """
    from ppvae.compilation.native import has_compiler
    from ppvae.compilation.step import pays

    if settings.compile != "auto":
        return settings.compile == "on"
    order, device = order_of(settings, data, fabric), fabric.device.type
    is_long = pays(
        steps=settings.passes * order.whole * settings.accumulate,
        parameters=sum(p.numel() for p in pair.parameters()),
        numbers=order.size // settings.accumulate * math.prod(data.shape) * settings.particles,
    )
    return is_long and device != "mps" and (device != "cpu" or has_compiler())


def make_trainer(
    settings: Settings,
    chosen: Chosen,
    pair: Pair,
    facts: Audit,
    data: Data,
    fabric: "Fabric",
    *,
    compile: bool = False,
    recorded: Mapping[str, Any] | None = None,
) -> "Trainer":
    """Bound, optimizer, schedule and training loop, after a trial of one step.

    Also sets torch's threads to those of the fit.

    Args:
        settings: the settings.
        chosen: the parts that they name.
        pair: the programs.
        facts: their audit.
        data: the data.
        fabric: device, precision and processes.
        compile: whether to compile.
        recorded: the resolved settings of a resumed fit, from ``config.yaml``.
    """
    _check_room(settings, pair, data, fabric)
    # Late: Lightning Fabric, used in the types of the loop, takes seconds to import.
    from ppvae.bounds.objective import Bound
    from ppvae.training.trainer import Trainer

    elbo = chosen.elbo
    bound = Bound(pair, elbo.target, facts, settings.particles, **elbo.spec.init_args)
    optimizer = _optimizer(chosen.optimizer, pair, settings.lr)
    schedule = None
    if chosen.schedule is not None:
        schedule = _schedule(chosen.schedule, optimizer, settings.passes)
    if isinstance(schedule, ReduceLROnPlateau):
        settings = _evaluated_each_epoch(settings)
    trainer = Trainer(bound, optimizer, data, settings, fabric, schedule, compile=compile)
    sizes = _sizes(settings, pair, data, work=try_out(trainer))
    if recorded is None:
        trainer.evaluation = schedule_for(
            sizes, settings.passes, patience=settings.patience, every=settings.evaluate_every
        )
        take_threads(settings.threads or threads_for(sizes, fabric.device))
    else:
        trainer.evaluation = EvaluationSchedule.read(recorded.get("evaluation"), len(data.valid))
        take_threads(settings.threads or recorded.get("threads"))
    try_evaluation(trainer)
    return trainer


def _evaluated_each_epoch(settings: Settings) -> Settings:
    """The settings of a fit whose schedule reads the held-out objective."""
    if settings.evaluate_every not in (None, 1):
        raise InputError(
            f"`evaluate_every` is {settings.evaluate_every}, but ReduceLROnPlateau needs the "
            "held-out objective of each epoch; leave it out, or take another schedule"
        )
    return replace(settings, evaluate_every=1)


def _sizes(settings: Settings, pair: Pair, data: Data, work: int) -> Sizes:
    """Sizes of a fit for its rules; ``work``: operations of the bound per row."""
    return Sizes(
        train=len(data.train),
        valid=len(data.valid),
        batch=min(settings.batch_size, len(data.train)),
        numbers=math.prod(data.shape) * settings.particles,
        parameters=sum(p.numel() for p in pair.parameters() if p.requires_grad),
        work=work,
    )


def _optimizer(maker: Factory, pair: Pair, lr: float) -> torch.optim.Optimizer:
    """The optimizer of the learned parameters."""
    learned = [p for p in pair.parameters() if p.requires_grad]
    classes = "torch.optim, or one derived from torch.optim.Optimizer"
    make = partial(maker, params=learned, lr=lr)
    return _made(torch.optim.Optimizer, classes, "optimizer", maker, make)


def _schedule(
    maker: Factory, optimizer: torch.optim.Optimizer, epochs: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning-rate schedule of an optimizer, over epochs."""
    known: dict[str, Any] = {"T_max": epochs, "total_steps": epochs}
    if maker.names("threshold_mode"):
        # A threshold relative to a negative bound has the wrong sign.
        known |= {"mode": "max", "threshold_mode": "abs"}
    classes = "torch.optim.lr_scheduler, or one derived from its LRScheduler"
    make = partial(maker, optimizer=optimizer, **known)
    return _made(torch.optim.lr_scheduler.LRScheduler, classes, "schedule", maker, make)


def _made[T](
    base: type[T], classes: str, kind: str, maker: Factory, make: Callable[[], object]
) -> T:
    """The result of ``make``; torch's errors of invalid arguments become an `InputError`."""
    try:
        made = make()
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"`{kind}={maker.spec.class_path!r}`: {reason}") from error
    if not isinstance(made, base):
        raise InputError(
            f"`{kind}={maker.spec.class_path!r}` is not a {kind}; give a class of {classes}"
        )
    return made


def _check_room(settings: Settings, pair: Pair, data: Data, fabric: "Fabric") -> None:
    """Refuse a fit that exceeds the memory of the device, by weights or the draws of one step.

    A draw has at least the parameters of its likelihood and its latents, each with a gradient.
    """
    weights = sum(p.numel() * p.element_size() for p in pair.parameters())
    check_memory(TRAINING * weights, "the model and its guide", fabric.device)
    rows, particles = min(settings.batch_size, len(data.train)), settings.particles
    numbers = math.prod(data.shape) + settings.latent_dim
    step = f"a step with `particles={particles}` on {rows} rows"
    check_memory(2 * 4 * particles * rows * numbers, step, fabric.device)
