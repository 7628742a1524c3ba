"""The tree of the site has every page once, and its sections list their pages."""

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.test_pages import links
from tests.support.documentation import INDEX, ROOT, pages

TREE: dict[str, Any] = yaml.safe_load((INDEX.parent / "_toc.yml").read_text("utf-8"))
SECTIONS: list[dict[str, Any]] = TREE["entries"]
SOURCES = [
    *(page for page in pages() if INDEX.parent in page.parents),
    *(ROOT / "notebooks").glob("*.ipynb"), ROOT / "notebooks" / "README.md",
    *(ROOT / "tests" / "benchmarks").rglob("*.md"), ROOT / "CHANGELOG.md",
]  # fmt: skip


def below(entry: dict[str, Any]) -> list[Path]:
    """The pages under an entry of the tree."""
    inner = [*entry.get("entries", ())]
    inner += [each for tree in entry.get("subtrees", ()) for each in tree["entries"]]
    return [page for each in inner for page in [*named(each), *below(each)]]


def named(entry: dict[str, Any]) -> list[Path]:
    """The pages that an entry names itself."""
    pattern = entry.get("file") or entry["glob"]
    return [
        page
        for page in SOURCES
        if fnmatch(page.relative_to(ROOT).with_suffix("").as_posix(), pattern)
        and page.relative_to(ROOT).with_suffix("").as_posix().count("/") == pattern.count("/")
    ]


def test_every_page_is_in_the_tree_once() -> None:
    listed = [INDEX, *below(TREE)]
    assert sorted(listed) == sorted(SOURCES)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda each: each["file"])
def test_a_section_links_to_its_pages(section: dict[str, Any]) -> None:
    (page,) = named(section)
    linked = {(page.parent / name).resolve() for name in links(page)}
    nested = {inner for entry in section.get("entries", ()) for inner in below(entry)}
    assert set(below(section)) - nested <= linked


def test_every_page_has_a_title() -> None:
    texts = [page for page in SOURCES if page.suffix == ".md"]
    assert [page for page in texts if not page.read_text("utf-8").startswith("# ")] == []
