"""Fits that a benchmark keeps, each found again by the settings that it was asked for.

A folder's own ``config.yaml`` says what was fitted there; nothing else is believed.
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
"""Settings that say how a fit is named, and where and how fast it runs, not what is fitted."""


def kept(folder: Path, asked: Mapping[str, Any]) -> Run | None:
    """The fit of these settings in a folder, ended or not; ``None``: none was begun.

    Raises:
        InputError: if the folder holds a fit of other settings, with what differs.
    """
    if not (folder / "config.yaml").is_file():
        return None
    run = Run(folder)
    if others := differences(run.config, asked):
        raise InputError(
            f"{folder} holds a fit of other settings ({', '.join(others)}); take another `--out`, "
            "or remove it"
        )
    return run


def differences(config: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Settings of a run that are not those asked for, each with both values.

    Args:
        config: ``config.yaml`` of the run.
        asked: the settings of a fit, as `ppvae.fit.fit` takes them.
    """
    settings = Settings.of_arguments(**asked)
    resolved = settings.recorded() | {"data": recorded(settings.data)}
    resolved |= chosen_parts(settings).recorded()
    for name, default in DEFAULTS.items():
        part = factory_for(name, getattr(settings, name) or default, settings.trust)
        # What its program does not take is recorded as none.
        resolved[name] = None if config.get(name) is None else part.spec.plain()
    may_be_open = ("binarize", "epochs", "devices", "nodes")
    left_open = [name for name in may_be_open if resolved[name] is None]
    return [
        f"{name}: {config.get(name)}, not {value}"
        for name, value in resolved.items()
        if name not in (*FREE, *left_open) and config.get(name) != value
    ]
