"""Settings and versions of the run, and the command that reproduces it."""

from collections.abc import Iterator, Mapping
from typing import Any

from ppvae.diagnostics.shared.wording import decimals
from ppvae.report.commands import diagnosis_command, fit_command, handed
from ppvae.report.page_data import PageData
from ppvae.report.sections import Section, Table
from ppvae.run import Run, versions

TITLE = "Settings, versions, and how to reproduce the run"


def section(page: PageData) -> Section:
    """Settings, versions, commands."""
    run = page.run
    objects = handed(run)
    sentences, commands = [], []
    if objects:
        named = ", ".join(f"{key} ({name})" for key, name in objects.items())
        sentences.append(
            f"No command reproduces this run, since it was given Python objects: {named}. In "
            "Python, call ppvae.fit.fit with such objects and the settings below."
        )
    else:
        sentences.append(
            "This command fits the run again; equal seeds give equal weights on one machine."
        )
        commands.append(fit_command(run))
    diagnosis = diagnosis_command(page)
    if diagnosis is not None:
        commands.append(diagnosis)
    return Section(
        "settings", TITLE, tuple(sentences),
        commands=tuple(commands), tables=(_settings(run), _versions(run)),
    )  # fmt: skip


def subtitle(run: Run) -> str:
    """The fit in one line."""
    parts = {name: _named(run.settings.get(name)) for name in ("model", "guide", "elbo")}
    data = run.resolved.get("data")
    data = data if isinstance(data, Mapping) else {}
    rows = data.get("rows")
    rows = rows if isinstance(rows, Mapping) else {}
    counts = ", ".join(f"{n:,} {split}" for split, n in rows.items() if isinstance(n, int))
    return (
        f"{parts['model']} with guide {parts['guide']}, fitted by {parts['elbo']} to "
        f"{data.get('name')} ({counts} rows)"
    )


def facts(run: Run) -> tuple[str, ...]:
    """Start, duration and device of the fit."""
    summary = run.summary or {}
    began, seconds = str(run.resolved.get("began") or ""), summary.get("seconds")
    steps, parameters = summary.get("steps"), run.resolved.get("parameters")
    told = [began.replace("T", " ").removesuffix("+00:00") + " UTC" if began else ""]
    if isinstance(seconds, (int, float)):
        told.append(f"trained for {_time(float(seconds))}")
    if isinstance(steps, int):
        told.append(f"{decimals(summary.get('epochs'), 0)} epochs, {steps:,} steps")
    if isinstance(parameters, int):
        told.append(f"{parameters:,} parameters")
    told.append(f"on {run.resolved.get('device')}" if run.resolved.get("device") else "")
    return tuple(filter(None, told))


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def flattened(settings: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, str]]:
    """Settings by flag: each part, then its arguments; unset ones are left out."""
    for key, value in settings.items():
        name = f"{under}{key}"
        if isinstance(value, Mapping) and "class_path" in value:
            yield name, str(value["class_path"])
            yield from flattened(value.get("init_args") or {}, f"{name}.")
        elif isinstance(value, Mapping):
            yield from flattened(value, f"{name}.")
        elif value is not None:
            yield name, str(value)


def _settings(run: Run) -> Table:
    return Table("Settings", ("setting", "value"), tuple(flattened(run.settings)))


def _versions(run: Run) -> Table:
    """Versions of the packages, of the fit and of this page."""
    fitted = run.resolved.get("versions")
    fitted = fitted if isinstance(fitted, Mapping) else {}
    now = versions()
    return Table(
        "Versions", ("package", "of the fit", "of this page"),
        tuple((name, str(fitted.get(name, "unknown")), now[name]) for name in now),
    )  # fmt: skip


def _named(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("class_path") or value.get("python_object") or "a program")
    return "a custom program" if value is None else str(value)
