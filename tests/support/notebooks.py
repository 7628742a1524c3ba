"""Running the notebooks, and cleaning their outputs.

python -m tests.support.notebooks                        # all, in full; outputs written in place
python -m tests.support.notebooks notebooks/02_*.ipynb   # some
"""

import base64
import io
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import zmq
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from PIL import Image
from traitlets import Type

FOLDER = Path(__file__).parents[2] / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"

COLOURS = 256
"""Colours of a committed picture; fewer make classes of a legend look alike."""

GREYS = 32
"""The same of a picture without colours."""

type Notebook = Any  # nbformat's type is a dictionary with attributes


class _Shell(AsyncZMQSocketChannel):
    """Channel of requests and replies that misses no reply.

    Sending clears the notification that a reply has arrived. If the state of a widget is sent while
    the client waits for a cell, the reply would only be read when the time of the cell has run out.
    """

    def send(self, msg: dict[str, Any]) -> None:
        super().send(msg)
        if self.socket is not None:
            self.socket.get(zmq.EVENTS)  # notices replies that have arrived


class _Client(AsyncKernelClient):
    shell_channel_class = Type(_Shell)


class _Manager(AsyncKernelManager):
    client_factory = Type(_Client)


def notebooks() -> list[Path]:
    """All notebooks, in order."""
    return sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> Notebook:
    """A notebook, in the format whose cells have ids."""
    with path.open(encoding="utf-8") as file:
        return nbformat.read(file, as_version=4)


def code(notebook: Notebook) -> list[Any]:
    """The code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def execute(notebook: Notebook, folder: Path, *, quick: bool = False) -> Notebook:
    """Run a notebook in ``folder`` with this Python; an error of a cell is raised.

    A quick run uses data that ship with a dependency and the smallest settings.
    """
    client = NotebookClient(
        notebook,
        timeout=120 if quick else 300,  # seconds that a cell may take
        kernel_name="python3",
        kernel_manager_class=_Manager,
        # Being stopped at the end is no error.
        extra_arguments=["--IPKernelApp.log_level=50"],
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=_environment(os.environ, quick=quick))
    return notebook


def _environment(outer: Mapping[str, str], *, quick: bool) -> dict[str, str]:
    """The kernel's environment variables, without those of a shell that change its output."""
    kept = {
        name: value for name, value in outer.items() if name not in ("MPLBACKEND", "PPVAE_QUICK")
    }
    if quick:
        kept.pop("PPVAE_DATA", None)
        kept["PPVAE_QUICK"] = "1"
    return kept


def clean(notebook: Notebook) -> Notebook:
    """Remove time stamps, machine names and widgets, which need a kernel, from outputs.

    Pictures have few colours.
    """
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    for cell in code(notebook):
        cell.outputs = [out for out in cell.outputs if WIDGET not in out.get("data", {})]
        for output in cell.outputs:
            output.get("metadata", {}).clear()
            if picture := output.get("data", {}).get("image/png"):
                output["data"]["image/png"] = _of_few_colours(picture)
    return notebook


def _of_few_colours(png: str) -> str:
    """A picture in base64, with few colours if that makes it smaller."""
    small = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        colours = picture.convert("RGB")
        is_grey = colours.convert("L").convert("RGB") == colours
        few = colours.quantize(GREYS if is_grey else COLOURS, dither=Image.Dither.NONE)
    few.save(small, "PNG", optimize=True)
    return min(png, base64.b64encode(small.getvalue()).decode(), key=len)


def write(path: Path, notebook: Notebook) -> None:
    """Write a notebook to its file."""
    with path.open("w", encoding="utf-8") as file:
        nbformat.write(notebook, file)


def main(argv: list[str]) -> None:
    """Run the given notebooks, or all, in temporary folders, and keep their outputs."""
    import tempfile

    for path in [Path(name) for name in argv] or notebooks():
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            write(path, clean(execute(read(path), Path(folder))))
        print(f"{path.name}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
