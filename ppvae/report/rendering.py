"""Sections to the text of a self-contained page."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ppvae.report.interactive import inline_script
from ppvae.report.sections import Section

if TYPE_CHECKING:
    from markupsafe import Markup

HERE = Path(__file__).parent


def typeset(text: str) -> "Markup":
    """Escaped text, with signs for +- and minus; text in backquotes becomes code."""
    from markupsafe import Markup, escape

    signs = str(escape(text)).replace(" +- ", " \N{PLUS-MINUS SIGN}\N{NO-BREAK SPACE}")
    signs = re.sub(r"(?<![^\s(\[])-(?=\d)", "\N{MINUS SIGN}", signs)
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", signs))


def rendered(
    name: str, subtitle: str, sections: Sequence[Section], *, facts: Sequence[str] = ()
) -> str:
    """The text of a page.

    Args:
        name: its heading.
        subtitle: the line below it.
        sections: its parts, in order.
        facts: short facts for the line after.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    # A plot defines each of its models at the first use: keep their order.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    environment.filters["typeset"] = typeset
    has_plots = any(section.plot is not None for section in sections)
    return environment.get_template("report.html.j2").render(
        name=name,
        subtitle=subtitle,
        facts=facts,
        sections=sections,
        style=Markup((HERE / "report.css").read_text()),
        script=Markup((HERE / "report.js").read_text()),
        bokeh=Markup(inline_script()) if has_plots else "",
    )
