"""Sentences of the terminal, set for a page."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["typeset"]

_MINUS = re.compile(r"(?<![^\s(\[])-(?=\d)")
_CODE = re.compile(r"`([^`]+)`")


def typeset(text: str) -> "Markup":
    """Escaped, with signs for +- and minus, and what is in backquotes as code."""
    from markupsafe import Markup, escape

    signs = str(escape(text)).replace(" +- ", " \N{PLUS-MINUS SIGN}\N{NO-BREAK SPACE}")
    signs = _MINUS.sub("\N{MINUS SIGN}", signs)
    return Markup(_CODE.sub(r"<code>\1</code>", signs))
