"""Pages of the documentation, parsed into blocks of code and commands."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
INDEX = ROOT / "docs" / "index.md"

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.M
)


@dataclass(frozen=True)
class Block:
    """A block of code of a page.

    Attributes:
        language: what follows the opening quotes.
        text: the code.
        mark: an HTML comment in the line before: ``run``, or ``not run: REASON``.
    """

    language: str
    text: str
    mark: str

    @property
    def file(self) -> str:
        """The name of the file to save the block in, from its first line; empty where none."""
        named = re.match(r"# (\S+\.py)\n", self.text)
        return named[1] if named else ""

    @property
    def runs(self) -> bool:
        """Whether a test runs the block: Python unless marked otherwise, a shell's if marked."""
        if self.language == "python":
            return not self.file and not self.mark.startswith("not run: ")
        return self.language == "sh" and self.mark == "run"


def pages() -> list[Path]:
    """Every page of the repository that documentation links to."""
    tops = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "notebooks" / "README.md"]
    return [*tops, *sorted((ROOT / "docs").rglob("*.md"))]


def page_name(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """All blocks of code of a page, in order."""
    found = _BLOCK.finditer(page.read_text("utf-8"))
    return [Block(m["language"], m["text"], m["mark"] or "") for m in found]


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Every ``python -m ppvae.COMMAND`` and ``ppvae COMMAND`` of a shell, with its arguments."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if "-m" in words and words[words.index("-m") + 1].startswith("ppvae."):
                start = words.index("-m") + 1
                found.append((words[start], words[start + 1 :]))
            elif words[:1] == ["ppvae"] and len(words) > 1:
                found.append((f"ppvae.{words[1]}", words[2:]))
    return found


def commands_in_prose(page: Path) -> list[tuple[str, list[str]]]:
    """The same for code in sentences and tables of a page."""
    prose = _BLOCK.sub("", page.read_text("utf-8"))
    quoted = re.findall(r"`([^`]+)`", prose)
    return [command for text in quoted for command in commands(" ".join(text.split()))]
