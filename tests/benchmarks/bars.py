"""Bars: upper bounds on figures."""

from dataclasses import dataclass

__all__ = ["Bar"]


@dataclass(frozen=True)
class Bar:
    """An upper bound ``most`` on the figure ``what``; ``reached``: its value, None if not run."""

    what: str
    most: float
    reached: float | None

    @property
    def verdict(self) -> str:
        """``met``, ``not run``, or by how much the bar is missed."""
        if self.reached is None:
            return "not run"
        if self.reached <= self.most:
            return "met"
        return f"missed by {self.reached / self.most - 1:.1%}"
