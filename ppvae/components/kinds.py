"""Kinds of parts: the classes that may be chosen, and the arguments that the package fills in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyro.infer
import torch

import ppvae.guides
import ppvae.models
from ppvae import bounds, networks
from ppvae.components.names import NAMES


@dataclass(frozen=True)
class Kind:
    """A parameter whose values are classes.

    Attributes:
        name: the parameter.
        namespace: the classes by name.
        given: parameters of a constructor that the program fills in itself.
        is_program: whether a function may be chosen that is the part itself.
        base: the class from which a choice must be derived, if there is one.
    """

    name: str
    namespace: Mapping[str, Any]
    given: frozenset[str]
    is_program: bool = False
    base: type | None = None

    def names(self) -> dict[str, Any]:
        """The available classes, by name."""
        return {name: self.namespace[name] for name in NAMES[self.name] if name in self.namespace}


_SHAPES = frozenset({"latent_dim", "data_shape"})
_NETWORK = _SHAPES | {"in_shape", "out_shape"}

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "model",
            vars(ppvae.models),
            _SHAPES | {"prior", "likelihood", "decoder", "classes", "covariates"},
            is_program=True,
        ),
        Kind("prior", vars(ppvae.models.priors), _SHAPES | {"guide", "examples"}),
        Kind("likelihood", vars(ppvae.models.likelihoods), _SHAPES | {"columns", "y_size"}),
        Kind("decoder", vars(networks), _NETWORK),
        Kind(
            "guide",
            vars(ppvae.guides),
            _SHAPES | {"encoder", "model", "classes", "covariates"},
            is_program=True,
        ),
        Kind("encoder", vars(networks), _NETWORK),
        Kind(
            "elbo",
            vars(pyro.infer) | vars(bounds),
            frozenset({"num_particles", "vectorize_particles", "max_plate_nesting"}),
            base=pyro.infer.ELBO,
        ),
        Kind("optimizer", vars(torch.optim), frozenset({"params", "lr"})),
        Kind(
            "schedule",
            vars(torch.optim.lr_scheduler),
            frozenset({"optimizer", "T_max", "total_steps", "mode", "threshold_mode"}),
        ),
    )
}
