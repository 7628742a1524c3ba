"""Names of data that are paths."""

from pathlib import Path

from ppvae.errors import InputError


def is_path(name: str | Path) -> bool:
    """Return whether ``name`` can only mean a file or a folder."""
    if isinstance(name, Path):
        return True
    path = Path(name)
    return len(path.parts) != 1 or name != path.name or bool(path.suffix) or path.exists()


def check_exists(name: str | Path, parameter: str = "data") -> None:
    """Refuse a path where nothing is; names of data pass.

    Raises:
        InputError: naming the path and the parameter.
    """
    if is_path(name) and not Path(name).expanduser().exists():
        raise InputError(
            f"`{parameter}={str(name)!r}`: there is no such file or folder; check the path."
        )
