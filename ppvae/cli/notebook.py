"""Detection of a Jupyter notebook, and a line of output in it that can be updated."""

import sys
from typing import Any


def in_notebook() -> bool:
    """Whether this process is a Jupyter kernel."""
    ipython, shells = sys.modules.get("IPython"), sys.modules.get("ipykernel.zmqshell")
    if ipython is None or shells is None:
        return False
    return isinstance(ipython.get_ipython(), shells.ZMQInteractiveShell)


class LiveLine:
    """A line of text below a cell, replaced by each new text."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        """Show this text in place of the previous one."""
        from IPython.display import display

        shown = {"text/plain": text}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)
