"""Commands that reproduce a run, or its diagnosis."""

from collections.abc import Iterable, Mapping
from shlex import join

from ppvae.components.arguments import code_paths
from ppvae.report.page_data import PageData
from ppvae.run import Run

_PROGRAMS = ("model", "guide")
"""Arguments that `ppvae.load` accepts as objects."""

_SESSION = "__main__"
"""The module of classes that were defined in a script or a notebook."""


def handed(run: Run) -> dict[str, str]:
    """Objects and classes of a Python session that the fit was given: no command can name them."""
    return {
        key: str(value.get("python_object") or value.get("class_path"))
        for key, value in run.settings.items()
        if isinstance(value, Mapping)
        and (value.get("python_object") is not None or _SESSION in _roots([value]))
    }


def fit_command(run: Run) -> str:
    """The command of the fit, from its settings."""
    return join(
        ["python", "-m", "ppvae.fit", "--config", str(run.path / "config.yaml"), *_trust(run)]
    )


def ask_command(run: Run) -> str:
    """The command of a quick diagnosis."""
    return join(["python", "-m", "ppvae.diagnose", str(run.path), "--quick", *_trust(run)])


def ask_in_python(run: Run) -> str:
    """The same in Python, for a run that no command can open."""
    objects = handed(run)
    is_session = _SESSION in _roots(run.settings.values())
    parts = "".join(f", {part}=..." for part in _PROGRAMS if part in objects)
    parts += f", trust=[{_SESSION!r}]" if is_session else ""
    data = ", data=..." if "data" in objects else ""
    return (
        f"ppvae.diagnose.diagnose(run{data}, quick=True), where run is what the fit returned, or "
        f"ppvae.load({str(run.path)!r}{parts}) with objects like those that the fit was given"
    )


def diagnosis_command(page: PageData) -> str | None:
    """The command of the diagnosis on the page; None if the path of its data is not recorded."""
    settings = (page.diagnosis or {}).get("settings")
    if not isinstance(settings, Mapping) or settings.get("data") is not None:
        return None
    if handed(page.run):
        return None
    command = ["python", "-m", "ppvae.diagnose", str(page.run.path)]
    if settings.get("quick"):
        command.append("--quick")
    for name in ("split", "samples", "seed", "checkpoint"):
        value = settings.get(name)
        if value is not None and (name, value) not in (("split", "test"), ("seed", 0)):
            command += [f"--{name}", str(value)]
    for question in settings.get("only") or ():
        command += ["--only", str(question)]
    return join([*command, *_trust(page.run), "--overwrite"])


def _trust(run: Run) -> list[str]:
    """Flags that trust, by name, the code outside this package that the parts use."""
    return [word for root in sorted(_roots(run.settings.values())) for word in ("--trust", root)]


def _roots(settings: Iterable[object]) -> set[str]:
    """The packages and modules, other than this package, of parts among settings."""
    parts = [
        value for value in settings if isinstance(value, Mapping) and "python_object" not in value
    ]
    return {path.split(".")[0] for path in code_paths(parts)} - {"ppvae"}
