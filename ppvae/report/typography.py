"""Sentences of the terminal, set for a page."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["typeset"]

_MINUS = re.compile(r"(?<![^\s(\[])-(?=\d)")
_FLAG = re.compile(r"(?<![\w-])--[a-z][\w.-]*\w")


def typeset(text: str) -> "Markup":
    """Escaped, with signs for +- and minus, and flags that are not broken over lines."""
    from markupsafe import Markup, escape

    signs = str(escape(text)).replace(" +- ", " \N{PLUS-MINUS SIGN}\N{NO-BREAK SPACE}")
    signs = _MINUS.sub("\N{MINUS SIGN}", signs)
    return Markup(_FLAG.sub(r"<code>\g<0></code>", signs))
