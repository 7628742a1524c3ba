"""A rank that ends says why, even if its launcher ends it at the same time."""

import os
import signal

import pytest

from ppvae.errors import InputError
from ppvae.training.lifeline import Member, Verdict
from ppvae.training.ranks import Ranks


class Line:
    """A lifeline on which rank 0 dies; the launcher of rank 1 reacts before the verdict."""

    own = Member(1, 1, "here", 7)

    def complain(self, _sentence: str, _patience: float) -> Verdict:
        os.kill(os.getpid(), signal.SIGTERM)
        return Verdict("rank 0 was killed", Member(0, 0, "here", 6), is_dead=True)

    def verdict(self, _patience: float) -> None:
        return None

    def close(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_launcher_does_not_silence_the_reason() -> None:
    ranks = Ranks()
    ranks._line = Line()  # type: ignore[assignment]  # all that it asks for
    before = ranks._term_before = signal.signal(signal.SIGTERM, ranks._asked_to_end)
    try:
        with pytest.raises(InputError, match="rank 0 was killed"), ranks.together():
            raise RuntimeError("connection closed by peer")
        os.kill(os.getpid(), signal.SIGTERM)  # the sentence is not printed yet
        assert signal.alarm(0) > 0  # the system ends it, if it does not end by itself
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGTERM, before)
