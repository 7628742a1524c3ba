"""Names of rows: short and different; for several seeds, their common part."""

from pathlib import Path
from typing import Any, cast

import pytest

from ppvae.comparison.held_out.grouping import names_of


class Placed:
    def __init__(self, path: str) -> None:
        self.path, self.home = Path(path), "memory" if path.startswith("/dev") else None


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        ([["runs/a"], ["runs/b"]], ["a", "b"]),
        ([["runs/wide-0", "runs/wide-1"], ["runs/narrow"]], ["wide (2 seeds)", "narrow"]),
        ([["runs/a/seed-0", "runs/a/seed-1"], ["runs/b/seed-0"]], ["a (2 seeds)", "b/seed-0"]),
        ([["/dev/1/run"], ["/dev/2/run", "/dev/3/run"]], ["run-1", "run (2 seeds)"]),
        ([["x/run"], ["y/run"]], ["x/run", "y/run"]),
        ([["runs/one", "runs/two"], ["runs/b"]], ["one (2 seeds)", "b"]),
        (
            [["runs/d-1", "runs/d-2"], ["runs/d-3", "runs/d-4"]],
            ["runs/d-1 (2 seeds)", "runs/d-3 (2 seeds)"],
        ),
    ],
)
def test_rows_are_named(groups: list[list[str]], names: list[str]) -> None:
    runs = [[cast("Any", Placed(path)) for path in group] for group in groups]
    assert names_of(runs) == names
