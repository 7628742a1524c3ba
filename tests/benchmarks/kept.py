"""Fits of earlier runs of a benchmark, found by their settings.

The settings are those of ``config.yaml`` in the folder of the fit.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppvae.components.names import DEFAULTS
from ppvae.errors import InputError
from ppvae.run import Run
from ppvae.settings import Settings
from ppvae.training.chosen_parts import chosen_parts, factory_for
from ppvae.training.data_and_programs import recorded

FREE = ("recipe", "data_dir", "device", "threads", "compile", "tensorboard")
"""Settings that do not change what is fitted: names, places, device and speed."""


def kept(folder: Path, asked: Mapping[str, Any]) -> Run | None:
    """The fit with these settings in a folder, finished or not; ``None`` if there is no fit.

    Raises:
        InputError: if the folder holds a fit with other settings.
    """
    if not (folder / "config.yaml").is_file():
        return None
    run = Run(folder)
    if others := differences(run.config, asked):
        raise InputError(
            f"{folder} holds a fit with other settings ({', '.join(others)}); choose another "
            "`--out`, or remove it"
        )
    return run


def differences(config: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Settings of a run that differ from those asked for, each with both values.

    Args:
        config: ``config.yaml`` of the run.
        asked: settings of a fit, as `ppvae.fit.fit` takes them.
    """
    settings = Settings.of_arguments(**asked)
    resolved = settings.recorded() | {"data": recorded(settings.data)}
    resolved |= chosen_parts(settings).recorded()
    for name, default in DEFAULTS.items():
        part = factory_for(name, getattr(settings, name) or default, settings.trust)
        # A setting that the program does not use is recorded as none.
        resolved[name] = None if config.get(name) is None else part.spec.plain()
    may_be_open = ("binarize", "epochs", "devices", "nodes")
    left_open = [name for name in may_be_open if resolved[name] is None]
    return [
        f"{name}: {config.get(name)}, not {value}"
        for name, value in resolved.items()
        if name not in (*FREE, *left_open) and config.get(name) != value
    ]
