"""The site, built with warnings as errors, and a check of its links and resources.

uv run --group docs python -m tests.support.site build/site
"""

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.support.documentation import ROOT

LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """Links, resources and anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.linked: set[str] = set()
        self.loaded: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif (tag, name) in LOADED and value:
                self.loaded.add(value)
            elif (tag, name) == ("a", "href") and value:
                self.linked.add(value)


def problems(site: Path) -> Iterator[str]:
    """External resources of a page, and broken links within the site."""
    read = cache(Page)
    for path in sorted(set(site.rglob("*.html")) - set(site.glob("_static/**/*"))):
        page = read(path)
        for target in sorted(page.loaded | page.linked):
            url = urlsplit(target)
            where = f"{path.relative_to(site)}: {target}"
            if url.scheme == "data":
                continue
            if url.scheme or url.netloc:
                if target in page.loaded:
                    yield f"{where} is loaded from elsewhere"
                continue
            file = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not file.is_file():
                yield f"{where} is not there"
            elif (
                url.fragment
                and file.suffix == ".html"
                and unquote(url.fragment) not in read(file).anchors
            ):
                yield f"{where} has no such section"


def build(site: Path) -> int:
    """Build the site into a folder, and return the exit status."""
    sphinx = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]
    return subprocess.run([*sphinx, "-c", "docs", ".", str(site)], cwd=ROOT, check=False).returncode


def main(site: Path) -> int:
    """Build the site, check it, and print its problems."""
    if status := build(site):
        return status
    found = list(problems(site))
    print(*found or [f"the site is in {site}"], sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
