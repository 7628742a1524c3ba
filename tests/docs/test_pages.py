"""The pages: links and names exist, and the front page is short."""

import pkgutil
import re
from pathlib import Path

import pytest

from ppvae.components.kinds import KINDS
from tests.support.documentation import INDEX, ROOT, page_name, pages
from tests.support.notebooks import notebooks, read
from tests.test_architecture import FLOORS
from tests.test_architecture import _modules as modules

LINK = re.compile(r"\]\(([^)#\s]+)")
ANCHOR = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.M)
FILE = re.compile(r"`((?:ppvae|models|guides|tests|notebooks|docs)/[\w/.-]*)`")
NAME = re.compile(r"`(ppvae(?:\.\w+)+)")

EACH = pytest.mark.parametrize("page", pages(), ids=page_name)


def links(page: Path) -> list[str]:
    """Files of the repository that a page links to or shows."""
    return [target for target in LINK.findall(page.read_text("utf-8")) if "://" not in target]


@EACH
def test_what_a_page_links_to_and_shows_is_there(page: Path) -> None:
    missing = [name for name in links(page) if not (page.parent / name).is_file()]
    assert missing == []
    named = FILE.findall(page.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.*)$", _CODE.sub("", page.read_text("utf-8")), re.M)
    words = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower() for title in titles)
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in words}


@EACH
def test_the_sections_that_a_page_links_to_are_there(page: Path) -> None:
    dead = [
        f"{name}#{anchor}"
        for name, anchor in ANCHOR.findall(page.read_text("utf-8"))
        if "://" not in name and anchor not in anchors(page.parent / name if name else page)
    ]
    assert dead == []


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_what_a_notebook_links_to_is_there(path: Path) -> None:
    words = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    linked = [name for text in words for name in LINK.findall(text) if "://" not in name]
    assert [name for name in linked if not (path.parent / name).is_file()] == []


@pytest.mark.parametrize("page", ["README.md", "notebooks/README.md"])
def test_every_notebook_is_listed(page: str) -> None:
    listed = [Path(name).name for name in links(ROOT / page) if name.endswith(".ipynb")]
    assert sorted(listed) == [path.name for path in notebooks()]


@EACH
def test_what_a_page_names_can_be_imported(page: Path) -> None:
    for name in NAME.findall(page.read_text("utf-8")):
        pkgutil.resolve_name(name)  # raises if it does not exist


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"optimizer", "schedule"}))
def test_the_page_of_parts_names_every_choice(kind: str) -> None:
    text = (INDEX.parent / "reference" / "parts.md").read_text("utf-8")
    assert [name for name in KINDS[kind].names() if f"`{name}`" not in text] == []


def test_the_map_for_contributors_shows_every_concept_on_its_floor() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    table = text.split("## Where things are")[1].split("\n\n")[2]
    rows = [
        re.findall(r"`(?:ppvae/)?(\w+)(?:/|\.py)`", row.split("|")[1]) for row in table.splitlines()
    ]
    shown = [set(row) for row in rows if row]
    floors = [set(names) & modules().keys() for names in FLOORS]
    assert shown == [floor for floor in reversed(floors) if floor]


def test_the_front_page_is_short_and_its_pictures_have_words() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 150
    pictures = re.findall(r"!\[([^\]]*)\]\(", text)
    assert pictures
    assert all(pictures)
