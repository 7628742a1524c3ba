"""Which runs are seeds of one setting, and what tells settings apart."""

import itertools
import re
from collections.abc import Sequence

from ppvae.report.commands import handed
from ppvae.report.provenance import flattened
from ppvae.run import Run
from ppvae.settings import Settings, settings_of

_BESIDE = {"seed", "recipe", "data_dir"} | {
    name
    for name, (_, about) in settings_of(Settings).items()
    if about.group == "output" or (about.group == "machine" and name != "precision")
}
"""Settings that leave a fit what it is, but for its seed: where it was made, and what it wrote."""

UNSET = "unset"


def grouped(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs by their settings, in the order of the first of each.

    A run of Python objects stands alone: equal names do not make equal objects.
    """
    groups: dict[tuple[object, ...], list[Run]] = {}
    for number, run in enumerate(runs):
        key = (*sorted(told_settings(run).items()), number if handed(run) else None)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def told_settings(run: Run) -> dict[str, str]:
    """What a fit was made with, as flags name it."""
    kept = {name: value for name, value in run.settings.items() if name not in _BESIDE}
    told = dict(flattened(kept))
    if run.fingerprint is not None:  # wherever they lie
        told["data"] = run.fingerprint.sha256
    return told


def differing(groups: Sequence[Sequence[Run]]) -> list[dict[str, str]]:
    """For each group the settings in which it is unlike another one."""
    each = [told_settings(group[0]) for group in groups]
    names = list(dict.fromkeys(name for settings in each for name in settings))
    unlike = [n for n in names if len({settings.get(n) for settings in each}) > 1]
    if "data" in unlike:
        for group, settings in zip(groups, each, strict=True):
            settings["data"] = str(group[0].config.get("data"))
    return [{n: settings.get(n, UNSET) for n in unlike} for settings in each]


def names_of(groups: Sequence[Sequence[Run]]) -> list[str]:
    """A name for each group: its folder's, or what those of its seeds begin with."""
    short = [_name([run.path.resolve().name for run in group]) for group in groups]
    # Folders of the same name are told apart by all of their path.
    long = [_name([str(run.path) for run in group], whole=True) for group in groups]
    alike = {name for name in short if short.count(name) > 1}
    return [b if a in alike else a for a, b in zip(short, long, strict=True)]


def _name(names: Sequence[str], *, whole: bool = False) -> str:
    if len(names) == 1:
        return names[0]
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    begin = re.sub(r"[^\W_]*$", "", "".join(first for first, *_ in alike)).rstrip("-_. /")
    return f"{names[0] if whole or not begin else begin} ({len(names)} seeds)"
