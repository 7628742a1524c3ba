"""All faults of a table, collected, so that they can be said in one answer."""

from collections.abc import Callable

from ppvae.errors import InputError

_SHOWN = 10


class Faults:
    """What is wrong with a table, fault by fault.

    Args:
        where: the file or name that the answer begins with.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._sentences: list[str] = []

    def add(self, sentence: str) -> None:
        """Add one."""
        self._sentences.append(sentence)

    def attempt[T](self, do: Callable[[], T]) -> T | None:
        """What ``do`` gives; an `InputError` is taken for one fault of several, and gives None."""
        try:
            return do()
        except InputError as error:
            self.add(str(error).removeprefix(f"{self._where}: ").rstrip("."))
            return None

    def check(self) -> None:
        """Say all of them, if there are any.

        Raises:
            InputError: with the fault, or the number of faults and each of them.
        """
        count = len(self._sentences)
        if count == 1:
            raise InputError(f"{self._where}: {self._sentences[0]}.")
        if count:
            shown = [f"({i}) {each}" for i, each in enumerate(self._sentences[:_SHOWN], 1)]
            more = f"; and {count - _SHOWN} more" if count > _SHOWN else ""
            raise InputError(f"{self._where} has {count} faults: {'; '.join(shown)}{more}.")
