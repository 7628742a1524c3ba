"""Grouping of runs: seeds of one setting, and the settings that differ."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from ppvae.report.commands import handed
from ppvae.report.provenance import flattened
from ppvae.run import Run
from ppvae.settings import Settings, settings_of

_BESIDE = {"seed", "recipe", "data_dir"} | {
    name
    for name, (_, about) in settings_of(Settings).items()
    if about.group == "output" or (about.group == "machine" and name != "precision")
}
"""Settings that do not define a fit: its seed, where it was made, and its output."""

UNSET = "unset"


def grouped(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs with equal settings together, groups in the order of their first runs.

    A run of Python objects is a group alone, as equal names do not make equal objects.
    """
    groups: dict[tuple[object, ...], list[Run]] = {}
    for number, run in enumerate(runs):
        key = (*sorted(told_settings(run).items()), number if handed(run) else None)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def told_settings(run: Run) -> dict[str, str]:
    """The settings that define a fit, by the names of their flags."""
    kept = {name: value for name, value in run.settings.items() if name not in _BESIDE}
    told = dict(flattened(kept))
    if run.fingerprint is not None:  # the same data, whatever their path
        told["data"] = run.fingerprint.sha256
    return told


def differing(groups: Sequence[Sequence[Run]]) -> list[dict[str, str]]:
    """For each group the settings in which it differs from another one."""
    each = [told_settings(group[0]) for group in groups]
    names = list(dict.fromkeys(name for settings in each for name in settings))
    unlike = [n for n in names if len({settings.get(n) for settings in each}) > 1]
    if "data" in unlike:
        for group, settings in zip(groups, each, strict=True):
            settings["data"] = str(group[0].config.get("data"))
    return [{n: settings.get(n, UNSET) for n in unlike} for settings in each]


def names_of(groups: Sequence[Sequence[Run]]) -> list[str]:
    """A name for each group: that of its folder, or the common beginning of its seeds' folders.

    Runs in memory, whose folders have no chosen names, are numbered.
    """
    numbers = itertools.count(1)
    short = [
        _name([_short(run.path) if run.home is None else f"run-{next(numbers)}" for run in group])
        for group in groups
    ]
    # Folders of the same name are distinguished by their whole path.
    long = [_name([str(run.path) for run in group]) for group in groups]
    alike = {name for name in short if short.count(name) > 1}
    whole = [b if a in alike else a for a, b in zip(short, long, strict=True)]
    return [
        f"{group[0].path} ({len(group)} seeds)" if whole.count(name) > 1 else name
        for name, group in zip(whole, groups, strict=True)
    ]


def _short(path: Path) -> str:
    """The name of a run's folder; for a ``seed-N`` folder also that of its parent."""
    name = path.resolve().name
    return f"{path.resolve().parent.name}/{name}" if re.fullmatch(r"seed-\d+", name) else name


def _name(names: Sequence[str]) -> str:
    """The name of one run, or the common beginning of several names."""
    if len(names) == 1:
        return names[0]
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    begin = re.sub(r"[^\W_]*$", "", "".join(first for first, *_ in alike))
    begin = begin.removesuffix("seed-").rstrip("-_. /")
    return f"{begin or names[0]} ({len(names)} seeds)"
