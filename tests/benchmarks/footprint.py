"""Memory of a fresh Python process after it has run a module or code.

``python -m tests.benchmarks.footprint FILE -m MODULE ARGUMENTS``, or ``FILE -c CODE``, runs it and
writes the figures to the file. They are measured on Linux only.
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
    """Run Python with ``arguments``.

    Returns:
        ``peak_mib``, the peak of resident memory; ``anonymous_mib``, the anonymous resident memory
        at the end; ``modules``, the number of modules imported. Empty if the system is not Linux.

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
    """Run the module or code, and write the figures when Python exits."""
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
