"""What a fresh Python holds in memory once it has done something.

``python -m tests.benchmarks.footprint FILE -m MODULE ARGUMENTS``, or ``FILE -c CODE``, does it and
leaves the figures in the file. Linux alone tells them.
"""

import atexit
import json
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["footprint"]

_ROOT = Path(__file__).parents[2]
_STATUS = Path("/proc/self/status")


def footprint(arguments: Sequence[str]) -> dict[str, float]:
    """Do what ``arguments`` tell Python.

    Returns:
        ``peak_mib``, the largest resident memory; ``anonymous_mib``, what of it at the end is no
        file's; ``modules``, how many were imported. Nothing where the system does not tell.

    Raises:
        CalledProcessError: if it fails.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "footprint.json"
        command = [sys.executable, "-m", __name__, str(file), *arguments]
        subprocess.run(command, cwd=_ROOT, capture_output=True, check=True)
        figures: dict[str, float] = json.loads(file.read_text()) if file.is_file() else {}
        return figures


def _leave(file: Path, before: int) -> None:
    status = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    peak, anonymous = (int(status[name].split()[0]) / 1024 for name in ("VmHWM", "RssAnon"))
    modules = len(sys.modules) - before
    file.write_text(json.dumps({"peak_mib": peak, "anonymous_mib": anonymous, "modules": modules}))


def main() -> None:
    """Do it, and leave the figures when Python ends."""
    _, file, how, what, *rest = sys.argv
    if _STATUS.is_file():
        atexit.register(_leave, Path(file), len(sys.modules))
    sys.argv = [what, *rest]
    if how == "-c":
        exec(what, {"__name__": "__main__"})
    else:
        runpy.run_module(what, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
