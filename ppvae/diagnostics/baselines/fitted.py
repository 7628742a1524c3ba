"""A baseline that has been fitted, and the choice of its size."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from ppvae.diagnostics.baselines.rows import Matrix


@dataclass(frozen=True)
class Fitted:
    """A simple model of x, with its parameters.

    Attributes:
        about: what it is, in words, with the sizes that were chosen.
        log_prob: its log-density or log-probability of each row, ``(rows,)``, in nats.
    """

    about: str
    log_prob: Callable[[Matrix], Tensor]


def best(candidates: Iterable[Fitted], valid: Matrix, *, patience: int = 2) -> Fitted:
    """The candidate with the highest likelihood on ``valid``, until ``patience`` were worse.

    If ``valid`` has no rows, the first and simplest candidate is taken.
    """
    if not len(valid):
        return next(iter(candidates))
    chosen, most, worse = None, -float("inf"), 0
    for candidate in candidates:
        score = float(candidate.log_prob(valid).double().mean())
        if chosen is None or score > most:
            chosen, most, worse = candidate, score, 0
        else:
            worse += 1
        if worse == patience:
            break
    assert chosen is not None, "there is always a candidate"
    return chosen
