"""Faults of a table, collected and reported in one error."""

from collections.abc import Callable

from ppvae.errors import InputError

_SHOWN = 10


class Faults:
    """A list of faults of a table.

    Args:
        where: the file or name with which the error begins.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._sentences: list[str] = []

    def add(self, sentence: str) -> None:
        """Add a fault."""
        self._sentences.append(sentence)

    def attempt[T](self, do: Callable[[], T]) -> T | None:
        """The result of ``do``; an `InputError` becomes one of the faults, and gives None."""
        try:
            return do()
        except InputError as error:
            self.add(str(error).removeprefix(f"{self._where}: ").rstrip("."))
            return None

    def check(self) -> None:
        """Report all faults, if there are any.

        Raises:
            InputError: with the fault, or their number and each of them.
        """
        count = len(self._sentences)
        if count == 1:
            raise InputError(f"{self._where}: {self._sentences[0]}.")
        if count:
            shown = [f"({i}) {each}" for i, each in enumerate(self._sentences[:_SHOWN], 1)]
            more = f"; and {count - _SHOWN} more" if count > _SHOWN else ""
            raise InputError(f"{self._where} has {count} faults: {'; '.join(shown)}{more}.")
