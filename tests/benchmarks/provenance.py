"""The origin of a table: its command, the commit of the code, and the date."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["code_version", "provenance", "today"]

ROOT = Path(__file__).parents[2]

CODE = ("ppvae", "models", "guides", "tests/benchmarks/*.py")
"""What a figure depends on."""


def provenance(prog: str, arguments: Sequence[str] | None) -> str:
    """Command, commit and date of this process, as a clause; fits that it reads may be older.

    Args:
        prog: the command.
        arguments: its arguments; ``None`` means those of this process.
    """
    words = " ".join([prog, *(sys.argv[1:] if arguments is None else arguments)])
    return f"`{words}`, commit {code_version()}, {today()}"


def code_version() -> str:
    """The commit that is checked out, and whether code differs from it."""
    commit = _git("rev-parse", "--short", "HEAD") or "unknown"
    return commit + (", changed" if _git("status", "--porcelain", "--", *CODE) else "")


def today() -> str:
    """The date of this moment in UTC."""
    return f"{datetime.now(UTC):%Y-%m-%d}"


def _git(*words: str) -> str:
    told = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip()
