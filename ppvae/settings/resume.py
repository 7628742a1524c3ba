"""Settings of a resumed fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ppvae.settings.fit import Settings
from ppvae.settings.setting import (
    DATA,
    OUTPUT,
    PROGRAMS,
    Checked,
    Setting,
    again,
    setting,
    settings_of,
)
from ppvae.settings.values import (
    PLACE,
    Class,
    Device,
    Figures,
    MetricsLogger,
    Source,
    Tracker,
    Word,
)


@dataclass(frozen=True)
class FitCommand(Settings):
    """Settings of the command in addition to those of a fit."""

    # fmt: off
    resume: str | None = setting(
        None, OUTPUT, PLACE, "Resume the fit in this run directory.", "a new fit",
        is_recorded=False, is_for_people=True
    )
    checkpoint: Literal["last", "best"] | None = setting(
        None, OUTPUT, Word(Literal["last", "best"]),
        "With --resume: last, or best if last is damaged.", "last", is_recorded=False,
        may_change=True
    )
    # fmt: on


def _changed(name: str) -> Any:
    """A setting of a resumed fit: unset, it keeps its value."""
    if not settings_of(Settings)[name][1].may_change:
        raise TypeError(f"{name} cannot change in a resumed fit")
    return again(Settings, name, default=None, unset="as in the fit")


@dataclass(frozen=True)
class Resume(Checked):
    """Settings of `ppvae.fit.resume`: a run, and the settings that may change."""

    # fmt: off
    run: str | Path = field(metadata={"setting": Setting(DATA, PLACE, "The run directory.")})
    epochs: int | None = _changed("epochs")
    patience: int | None = _changed("patience")
    data_dir: str | Path | None = _changed("data_dir")
    data_memory: float | None = _changed("data_memory")
    device: Device | None = _changed("device")
    devices: int | None = _changed("devices")
    nodes: int | None = _changed("nodes")
    threads: int | None = _changed("threads")
    tensorboard: bool | None = _changed("tensorboard")
    figures: Figures = again(Settings, "figures")
    tracker: str | Tracker | MetricsLogger | None = again(Settings, "tracker")
    oversubscribe: bool | None = _changed("oversubscribe")
    trust: Sequence[str] | None = _changed("trust")
    model: Callable[..., Any] | None = setting(
        None, PROGRAMS, Class(), "The model object, for a fit that was started with one.",
        "that of the run"
    )
    guide: Callable[..., Any] | None = setting(
        None, PROGRAMS, Class(), "The guide object, for a fit that was started with one.",
        "that of the run",
    )
    data: Any = setting(
        None, DATA, Source(), "The data object, for a fit that was started with one.",
        "that of the run",
    )
    checkpoint: Literal["last", "best"] = setting(
        "last", OUTPUT, Word(Literal["last", "best"]),
        "The checkpoint to resume from: last, or best if last is damaged."
    )
    # fmt: on

    def changes(self) -> dict[str, Any]:
        """The recorded settings that change."""
        names = [name for name, (_, about) in settings_of(Settings).items() if about.is_recorded]
        changed = {n: getattr(self, n) for n in names if settings_of(Settings)[n][1].may_change}
        del changed["data_dir"]  # the current location of the data is not recorded
        return {name: value for name, value in changed.items() if value is not None}
