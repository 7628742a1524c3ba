"""Sections of the page: sentences, pictures, tables and plots."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Picture:
    """A picture within the page.

    Attributes:
        uri: its bytes, as a data URI.
        alt: description for readers who cannot see it.
        name: its id in the page, if something refers to it; else empty.
        caption: the caption below it, if it needs one.
    """

    uri: str
    alt: str
    name: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """A small table; its first column names the rows.

    Attributes:
        caption: what it holds.
        header: a name for each column.
        rows: its cells.
        prose: whether cells are sentences, set as text; other cells are meant to be copied.
        is_open: whether all rows are shown, however many.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    prose: bool = False
    is_open: bool = False


@dataclass(frozen=True)
class Key:
    """An entry of a legend.

    Attributes:
        text: meaning of the sign.
        colour: of the sign.
        sign: ``"line"``, ``"dashed"``, or a marker of Bokeh.
        place: its number, if its points can be shown alone; else -1.
    """

    text: str
    colour: str
    sign: str
    place: int = -1


@dataclass(frozen=True)
class Plot:
    """A Bokeh plot.

    Attributes:
        name: the id of its place in the page.
        item: the plot, as input of Bokeh's ``embed_item``.
        alt: description for readers who cannot see it.
        keys: its legend.
    """

    name: str
    item: Mapping[str, Any]
    alt: str
    keys: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Tile:
    """A headline number.

    Attributes:
        label: its name.
        value: the number.
        note: its context.
        level: ``"good"``, ``"fair"``, ``"bad"``, or nothing.
        share: between 0 and 1, if the value is a share.
    """

    label: str
    value: str
    note: str
    level: str = ""
    share: float | None = None


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: its id.
        title: its heading.
        sentences: its text.
        plot: the interactive plot; it replaces ``still`` where scripts run and there is a screen.
        still: pictures that replace the plot elsewhere.
        pictures: pictures that are always shown.
        tables: its tables.
        commands: lines for a terminal.
        map: input of the script of the latent map.
        readout: the plot next to the map, for data that are not images.
        tiles: its headline numbers.
        is_folded: whether it is closed at first.
    """

    name: str
    title: str
    sentences: tuple[str, ...] = ()
    plot: Plot | None = None
    still: tuple[Picture, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    commands: tuple[str, ...] = ()
    map: Mapping[str, Any] | None = None
    readout: Plot | None = None
    tiles: tuple[Tile, ...] = ()
    is_folded: bool = False


def attempted(name: str, title: str, make: Callable[[], Section]) -> Section:
    """A section, or a sentence that says what went wrong with it.

    The run may hold a user's programs, which may fail here in any way; the rest of the page is
    still useful.
    """
    try:
        return make()
    except Exception as error:  # see above
        return Section(name, title, (f"Left out: {reason_of(error)}.",))


def reason_of(error: Exception) -> str:
    """The message of an error, as the end of a sentence."""
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
