"""What a page is made of: sections of sentences, pictures, tables and plots."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Picture:
    """A picture within the page.

    Attributes:
        uri: its bytes, as a data URI.
        alt: what it shows, for who does not see it.
        name: its id in the page, where something refers to it; else empty.
        caption: what is said below it, where it does not speak for itself.
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
        prose: whether cells are sentences, to be set as such; others are to be copied as they are.
        is_open: whether all of it is shown, however long it is.
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
        text: what the sign stands for.
        colour: of the sign.
        sign: ``"line"``, ``"dashed"``, or a marker of Bokeh.
        place: its number, where those that it stands for can be shown alone; else -1.
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
        item: the plot, as Bokeh's ``embed_item`` takes it.
        alt: what it shows, for who does not see it.
        keys: its legend.
    """

    name: str
    item: Mapping[str, Any]
    alt: str
    keys: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Tile:
    """A figure to be seen first.

    Attributes:
        label: what it is.
        value: the figure.
        note: what it is to be read beside.
        level: ``"good"``, ``"fair"``, ``"bad"``, or nothing.
        share: between 0 and 1, where it is one of a whole.
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
        sentences: what it says.
        plot: what moves; where there is a script and a screen it stands for ``still``.
        still: pictures that stand for the plot elsewhere.
        pictures: pictures that are always there.
        tables: its tables.
        commands: lines for a terminal.
        map: what the script of the latent map wants to know.
        readout: the plot beside the map of data that are no images.
        tiles: figures to be seen first.
        is_folded: whether it is closed until somebody opens it.
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
    """A section, or, whatever went wrong with it, the sentence that says so.

    A run may hold anybody's programs: what is asked of them here may fail in any way, and the rest
    of the page is worth having.
    """
    try:
        return make()
    except Exception as error:  # see above
        return Section(name, title, (f"Left out: {reason_of(error)}.",))


def reason_of(error: Exception) -> str:
    """What went wrong, as the end of a sentence."""
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
