"""The course of a fit over its evaluated epochs."""

from typing import Any, cast

import pytest

from ppvae.diagnostics.training.course import Course, course
from ppvae.run import Run


class Table:
    """A run that has only ``metrics.csv``."""

    def __init__(self, evaluated: dict[int, float], epochs: int, warm_up: int = 0) -> None:
        self._evaluated, self._epochs, self._warm_up = evaluated, epochs, warm_up

    def history(self) -> list[dict[str, Any]]:
        rows = []
        for epoch in range(1, self._epochs + 1):
            common = {"epoch": epoch, "beta": min(1.0, epoch / (self._warm_up + 1))}
            rows.append(common | {"split": "train", "objective": 0.0})
            if epoch in self._evaluated:
                rows.append(common | {"split": "valid", "objective": self._evaluated[epoch]})
        return rows


@pytest.mark.parametrize(
    ("evaluated", "epochs", "warm_up", "expected"),
    [
        ({n: -10.0 / n for n in range(1, 21)}, 20, 0, Course(20, 20, 2, 10 / 18 - 0.5, 0.0)),
        # Every 7 epochs: the last tenth is the last evaluation and the one before.
        ({**{n: -10.0 / n for n in range(7, 101, 7)}, 100: -0.2}, 100, 0,
         Course(100, 98, 2, 0.0, 0.2 - 10 / 98)),
        ({7 * n: float(n) for n in range(1, 8)}, 49, 14, Course(49, 49, 7, 1.0, 0.0)),
        ({7 * n: float(n) for n in range(1, 5)}, 28, 0, None),
    ],
)  # fmt: skip
def test_course(
    evaluated: dict[int, float], epochs: int, warm_up: int, expected: Course | None
) -> None:
    found = course(cast("Run", Table(evaluated, epochs, warm_up)))
    if expected is None:
        assert found is None
    else:
        assert vars(found) == pytest.approx(vars(expected))
