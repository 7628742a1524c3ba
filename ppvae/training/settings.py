"""The settings of a fit: are they of the right types, how to climb by them, compiled or not."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ppvae.data import Data
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.training.devices import Compile, Device, Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from ppvae.training.plan import Plan

__all__ = ["decide_compile", "demand_types", "plan_of"]


def decide_compile(settings: Mapping[str, Any], data: Data, pair: Pair, fabric: "Fabric") -> bool:
    """What ``compile`` comes to; ``auto`` asks the number and the size of the steps alone."""
    from ppvae.compilation.step import pays

    if settings["compile"] != "auto":
        return bool(settings["compile"] == "on")
    rows = min(settings["batch_size"], len(data.train))
    return fabric.device.type != "mps" and pays(
        steps=settings["epochs"] * (len(data.train) // rows),
        parameters=sum(p.numel() for p in pair.parameters()),
        numbers=rows * math.prod(data.shape) * settings["particles"],
    )


def plan_of(settings: Mapping[str, Any]) -> "Plan":
    """How to climb, as the settings have it."""
    from ppvae.training.plan import Plan

    names = ("epochs", "batch_size", "beta", "warm_up", "patience", "clip", "seed")
    return Plan(**{name: settings[name] for name in names})


def demand_types(config: Mapping[str, Any], path: Path) -> None:
    """Refuse a ``config.yaml`` whose settings are not what `fit` writes there."""
    whole, number, none = (int,), (int, float), (type(None),)
    types: dict[str, tuple[type, ...]] = {
        "epochs": whole, "batch_size": whole, "warm_up": whole, "seed": whole, "devices": whole,
        "particles": whole, "beta": number, "lr": number, "patience": whole + none,
        "clip": number + none, "labels": whole + none, "tensorboard": (bool,),
    }  # fmt: skip
    words = {
        "device": get_args(Device), "precision": get_args(Precision), "compile": get_args(Compile)
    }  # fmt: skip
    for name, value in config.items():
        if name in types and type(value) not in types[name]:
            raise InputError(f"{path / 'config.yaml'}: {name} is {value!r}; mend it, or fit anew")
        if name in words and value not in words[name]:
            raise InputError(
                f"{path / 'config.yaml'}: {name} is {value!r}, not one of {', '.join(words[name])}"
            )
    missing = (types.keys() | words.keys()) - config.keys()
    if missing:
        raise InputError(f"{path / 'config.yaml'} lacks {', '.join(sorted(missing))}")
    if config["particles"] < 1:
        raise InputError(f"particles is {config['particles']}; it must be at least 1")
