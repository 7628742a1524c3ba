"""What the run was made with, and the command that makes it again."""

from collections.abc import Iterator, Mapping
from shlex import join
from typing import Any

from ppvae.report.material import Material
from ppvae.report.parts import Section, Table
from ppvae.run import Run, versions

__all__ = ["flattened", "section", "subtitle"]

OWN = ("ppvae", "torch", "pyro")
"""Packages whose classes need nobody's trust."""


def section(material: Material) -> Section:
    """Settings, versions, commands."""
    run = material.run
    objects = [key for key, value in run.settings.items() if _object(value) is not None]
    said, commands = [], []
    if objects:
        named = ", ".join(f"{key} ({_object(run.settings[key])})" for key in objects)
        said.append(
            f"No command makes this run again, since it was handed Python objects: {named}. In "
            "Python, ppvae.fit.fit does, given the like and the settings below."
        )
    else:
        said.append(
            "This command fits the run again; equal seeds give equal weights on one machine."
        )
        commands.append(join(_command(run)))
    asked = (material.diagnosis or {}).get("settings")
    if isinstance(asked, Mapping) and asked.get("data") is None:  # a record has no path of others
        commands.append(join(_diagnosis(run, asked)))
    return Section(
        "settings", "Settings, versions, and how to make it again", tuple(said),
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


def flattened(settings: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, str]]:
    """Settings as flags name them: a part, then its own arguments; unset ones are left out."""
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
    """Of the fit, and of this page."""
    fitted = run.resolved.get("versions")
    fitted = fitted if isinstance(fitted, Mapping) else {}
    now = versions()
    return Table(
        "Versions", ("package", "of the fit", "of this page"),
        tuple((name, str(fitted.get(name, "unknown")), now[name]) for name in now),
    )  # fmt: skip


def _command(run: Run) -> list[str]:
    """The fit, by its own settings; code that is not this package's is to be trusted by name."""
    parts = [value for value in run.settings.values() if isinstance(value, Mapping)]
    modules = {str(part.get("class_path", "")).rpartition(".")[0] for part in parts} - {""}
    roots = sorted({module.split(".")[0] for module in modules} - set(OWN))
    trust = [word for root in roots for word in ("--trust", root)]
    return ["python", "-m", "ppvae.fit", "--config", str(run.path / "config.yaml"), *trust]


def _diagnosis(run: Run, settings: Mapping[str, Any]) -> list[str]:
    command = ["python", "-m", "ppvae.diagnose", str(run.path)]
    if settings.get("quick"):
        command.append("--quick")
    for name in ("split", "samples", "seed", "checkpoint"):
        value = settings.get(name)
        if value is not None and (name, value) not in (("split", "test"), ("seed", 0)):
            command += [f"--{name}", str(value)]
    for question in settings.get("only") or ():
        command += ["--only", str(question)]
    return [*command, "--overwrite"]


def _object(value: Any) -> Any:
    return value.get("python_object") if isinstance(value, Mapping) else None


def _named(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("class_path") or value.get("python_object") or "a program")
    return "a program of its own" if value is None else str(value)
