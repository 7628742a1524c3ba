"""The site: Sphinx reads the pages of docs/, the notebooks as committed, and the docstrings.

uv run --group docs python -m tests.support.site build/site
"""

from collections import namedtuple
from importlib.metadata import version as _version
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]

project = "ppvae"
author = "the authors of ppvae"
version = release = _version("ppvae")
language = "en"
smartquotes = False  # two dashes are a flag's

extensions = [
    "myst_nb",
    "sphinx_external_toc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
]
# The source is the repository, so that a link that works on GitHub works here as it stands.
external_toc_path = "docs/_toc.yml"
include_patterns = ["docs/**", "notebooks/*", "tests/benchmarks/**.md", "CHANGELOG.md"]
exclude_patterns = [
    "**/.*",
    "**/CMakeFiles",
    "**/runs",
    *(
        path.name
        for path in _ROOT.iterdir()
        if path.name not in ("docs", "notebooks", "tests", "CHANGELOG.md")
    ),
]

myst_heading_anchors = 4  # by GitHub's rule
myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "off"
nb_merge_streams = True

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_default_options = {"show-inheritance": True, "exclude-members": "forward"}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "code"
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "ppvae"
html_extra_path = ["_extra"]  # from the root of the site to its front page
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": "ppvae"},
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


_FIELD = type(namedtuple("Pair", ["left"]).left)


def _is_left_out(_app: Any, _what: str, _name: str, member: object, skip: bool, *_: object) -> bool:
    """Whether a member has no line of its own: fields of a tuple are among its attributes."""
    return skip or isinstance(member, _FIELD)


def setup(app: Any) -> None:
    """Tell Sphinx which members have no line."""
    app.connect("autodoc-skip-member", _is_left_out)
