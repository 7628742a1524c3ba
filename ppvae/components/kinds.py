"""What each flag may name: the classes of this package and of torch."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pyro.infer import ELBO
from torch import nn

import ppvae.guides
import ppvae.models
from ppvae import networks
from ppvae.bounds import ELBOS
from ppvae.models import Likelihood, Prior

__all__ = ["KINDS", "Kind"]


@dataclass(frozen=True)
class Kind:
    """A flag whose values are classes.

    Attributes:
        flag: its name.
        names: what may be chosen by class name, made when asked for: imports may be slow.
        given: parameters of a constructor that the program fills in itself.
        is_program: whether a function may be chosen, as the thing itself and not its maker.
        base: the class that what is chosen must derive from, where others cannot work.
    """

    flag: str
    names: Callable[[], dict[str, Any]]
    given: frozenset[str]
    is_program: bool = False
    base: type | None = None


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
            _SHAPES | {"prior", "likelihood", "decoder", "classes", "covariates"},
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
            _SHAPES | {"encoder", "model", "classes", "covariates"},
            is_program=True,
        ),
        Kind("encoder", lambda: _exported(networks, nn.Module), _NETWORK),
        Kind(
            "elbo",
            lambda: {elbo.__name__: elbo for elbo in ELBOS},
            frozenset({"num_particles", "vectorize_particles", "max_plate_nesting"}),
            base=ELBO,
        ),
        Kind("optimizer", _optimizers, frozenset({"params", "lr"})),
        Kind(
            "schedule",
            _schedules,
            frozenset({"optimizer", "T_max", "total_steps", "mode", "threshold_mode"}),
        ),
    )
}
