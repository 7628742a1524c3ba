"""A bar: what a figure is to be at most."""

from dataclasses import dataclass

__all__ = ["Bar"]


@dataclass(frozen=True)
class Bar:
    """``what`` is to be at most ``most``; ``reached`` is what it is, None where it was not run."""

    what: str
    most: float
    reached: float | None

    @property
    def verdict(self) -> str:
        """Whether the bar is met, and by how much it is not."""
        if self.reached is None:
            return "not run"
        if self.reached <= self.most:
            return "met"
        return f"missed by {self.reached / self.most - 1:.1%}"
