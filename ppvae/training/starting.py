"""Fits that start from the weights of a run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ppvae.components.names import PARTS
from ppvae.components.spec import Spec
from ppvae.data import Data, scaled_as
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.run import Run
from ppvae.settings import Settings


def opened_start(settings: Settings) -> Run | None:
    """The run from which a fit starts; its weights are read, and none of its code is run.

    Raises:
        InputError: if there is none.
    """
    start = settings.start
    return start if start is None or isinstance(start, Run) else Run(Path(str(start)))


def with_parts_of_start(settings: Settings) -> Settings:
    """The settings, with the programs of the starting run as defaults.

    Raises:
        InputError: if there is no run.
    """
    start = opened_start(settings)
    if start is None:
        return settings
    is_model_named = settings.model is not None
    taken: dict[str, Any] = {}
    for name, role in PARTS.items():
        value = start.config.get(name)
        is_object = value is None or (isinstance(value, Mapping) and "python_object" in value)
        is_left = getattr(settings, name) is None
        if is_left and not is_object and not (role == "model" and is_model_named):
            taken[name] = Spec.parse(value, name, trusted=False)
    for name in ("latent_dim", "encode_covariates"):
        if getattr(settings, name) == getattr(Settings(), name):
            taken[name] = start.config[name]
    return replace(settings, **taken)


def scaled_as_start(data: Data, start: Run | None, settings: Settings) -> Data:
    """The data scaled as in the starting run, unless the settings give a scaling.

    Raises:
        InputError: if they cannot be scaled so, or have other labels.
    """
    if start is None:
        return data
    names = start.label_names
    if names is not None and data.labels is not None and names != data.labels:
        raise InputError(
            f"`start={str(start.path)!r}`: its labels are {', '.join(names)}, but those of "
            f"{data.name} are {', '.join(data.labels)}; give data with the same labels"
        )
    is_alike = data.source is None or settings.scale is not None or data.scaling == start.scaling
    return data if is_alike else scaled_as(data, start.scaling)


def take_weights(pair: Pair, start: Run) -> None:
    """Give the programs the weights of a run.

    Raises:
        InputError: if its programs have other weights, or other shapes.
    """
    weights = start.state(start.checkpoint)["weights"]
    own = pair.state_dict()
    for name in own | weights:
        here, there = (tuple(d[name].shape) if name in d else None for d in (own, weights))
        if here != there:
            raise InputError(
                f"`start={str(start.path)!r}`: '{name}' has shape {there} in its programs, but "
                f"{here} in those of this fit; take its model, guide, networks and `latent_dim`, "
                "and data of its shape"
            )
    pair.load_state_dict(weights)
