"""Error messages of commands."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ppvae.cli.answering import answer


def refusal(
    command: Callable[[Sequence[str]], None], capsys: pytest.CaptureFixture[str], *argv: str | Path
) -> str:
    """The error message of a command."""
    with pytest.raises(SystemExit) as left:
        answer(command, [str(word) for word in argv])
    assert left.value.code == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith("error: ")
    assert sentence.count("\n") == 1
    return sentence
