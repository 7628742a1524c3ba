"""The notebooks run, their text agrees with their outputs, and they define no reusable code."""

import ast
import base64
import io
import re
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image

from tests.support.notebooks import COLOURS, clean, code, execute, notebooks, read

EACH = pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)

PROGRAM_LINES = 12  # of a function that is a Pyro program
CLASS_LINES = 25  # of a class that is a part of one
CALLBACK_LINES = 6  # of what a widget calls
IMPORTS = 6  # of the first cell; later ones are made where the text says what they are for

NUMBER = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.]|\d)")
SETTINGS = re.compile(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$", re.DOTALL)
"""Parts of the text that state no results: code and mathematics."""

GIVEN = {
    "04_swapping_priors": {"3.0"},  # of docs/results/published-numbers.md
}
"""Numbers that are in no output of a notebook."""

MACHINE = re.compile(
    r"(?<![\w.])/(home|root|tmp|work|mnt|Users|usr|opt|var|private)/|\b[A-Z]:\\\\\w|file://"
)
HOSTS = re.compile(
    r"pypi|pythonhosted|conda\.(org|com)|artifactory|index-url|extra-index|--find-links"
    r"|localhost|127\.0\.0\.1",
    re.IGNORECASE,
)


def texts(cell: Any) -> list[str]:
    """The text of a cell's outputs."""
    found = []
    for output in cell.outputs:
        found.append(output.get("text", ""))
        found.extend(
            text
            for kind, text in output.get("data", {}).items()
            if isinstance(text, str) and not kind.startswith("image/")
        )
    return found


def has_picture(cell: Any) -> bool:
    return any("image/png" in output.get("data", {}) for output in cell.outputs)


def complaints(cell: Any) -> list[Any]:
    """Errors and warnings among a cell's outputs."""
    return [
        output
        for output in cell.outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


def source(cell: Any) -> str:
    """A cell's code without IPython's own commands."""
    return "\n".join(
        "" if line.startswith(("%", "!")) else line for line in cell.source.splitlines()
    )


def definitions(path: Path) -> list[tuple[ast.AST, str]]:
    """Every function and class of a notebook, with its text."""
    return [
        (node, ast.get_source_segment(text, node) or "")
        for text in map(source, code(read(path)))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_runs_from_top_to_bottom_without_a_warning(path: Path, tmp_path: Path) -> None:
    notebook = execute(read(path), tmp_path, quick=True)
    assert [complaints(cell) for cell in code(notebook) if complaints(cell)] == []
    assert any(has_picture(cell) for cell in code(notebook))


@pytest.mark.slow
def test_is_run_by_the_python_that_runs_the_tests(tmp_path: Path) -> None:
    lines = "import sys, os; print(sys.prefix, bool(os.environ.get('PPVAE_QUICK')))"
    cell = nbformat.v4.new_code_cell(lines)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    execute(notebook, tmp_path, quick=True)
    assert texts(notebook.cells[0]) == [f"{sys.prefix} True\n"]


@pytest.mark.slow
def test_no_reply_is_overlooked_while_a_widget_is_told_its_state(tmp_path: Path) -> None:
    lines = "import ipywidgets\nout = ipywidgets.Output()\n"
    lines += "for i in range(30):\n    with out:\n        print(i, flush=True)"
    cells = [nbformat.v4.new_code_cell(lines) for _ in range(20)]
    start = time.monotonic()
    execute(nbformat.v4.new_notebook(cells=cells), tmp_path, quick=True)
    assert time.monotonic() - start < 100  # one reply overlooked is 120 seconds


@EACH
def test_is_committed_as_one_run_left_it_with_its_pictures(path: Path) -> None:
    cells = code(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any(has_picture(cell) for cell in cells)
    assert [complaints(cell) for cell in cells if complaints(cell)] == []
    assert path.stat().st_size < 1_000_000


def is_shown(number: str, outputs: list[float]) -> bool:
    """Whether some output is this number, rounded as it is written."""
    digits = len(number.split(".")[1])
    return any(f"{abs(value):.{digits}f}" == number for value in outputs)


@EACH
def test_a_number_told_is_a_number_shown(path: Path) -> None:
    notebook = read(path)
    told = [
        number
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for number in NUMBER.findall(SETTINGS.sub("", cell.source))
    ]
    outputs = " ".join(text for cell in code(notebook) for text in texts(cell))
    shown = [float(n) for n in re.findall(r"\d+\.\d+", outputs)]
    shown += [float(n) for cell in code(notebook) for n in re.findall(r"\d+\.\d+", cell.source)]
    assert {n for n in told if not is_shown(n, shown)} == GIVEN.get(path.stem, set())


@EACH
def test_outputs_tell_nothing_of_the_machine(path: Path) -> None:
    for cell in code(read(path)):
        for text in texts(cell):
            assert MACHINE.search(text) is None, text
            assert HOSTS.search(text) is None, text


@EACH
def test_defines_pyro_programs_at_most(path: Path) -> None:
    for node, text in definitions(path):
        lines = len(text.splitlines())
        is_program = "pyro." in text or "dist." in text
        if isinstance(node, ast.ClassDef):
            assert node.bases, (
                f"a class that is no part of a program belongs in the package:\n{text}"
            )
            assert lines <= CLASS_LINES, text
        else:
            assert lines <= (PROGRAM_LINES if is_program else CALLBACK_LINES), text


@EACH
def test_says_in_its_first_cell_how_it_is_made_quick(path: Path) -> None:
    assert "PPVAE_QUICK" in code(read(path))[0].source


@EACH
def test_opens_with_few_imports(path: Path) -> None:
    opening = ast.parse(source(code(read(path))[0])).body
    imports = [node for node in opening if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert sum(len(node.names) for node in imports) <= IMPORTS


@EACH
def test_a_slider_is_followed_by_a_picture(path: Path) -> None:
    for cell, after in pairwise(code(read(path))):
        assert "interact(" not in cell.source or has_picture(after)


@EACH
def test_opens_with_its_question_and_sets_maths_that_closes(path: Path) -> None:
    words = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    assert words[0].startswith("# ")
    for text in words:
        prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
        assert prose.count("$") % 2 == 0, text


def test_pictures_are_committed_small() -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(drawn).save(data, "PNG")
    png = base64.b64encode(data.getvalue()).decode()
    output = nbformat.v4.new_output("display_data", {"image/png": png})
    cell = nbformat.v4.new_code_cell("", outputs=[output])
    (kept,) = clean(nbformat.v4.new_notebook(cells=[cell])).cells[0].outputs
    with Image.open(io.BytesIO(base64.b64decode(kept["data"]["image/png"]))) as picture:
        assert picture.size == (80, 80)
        assert len(picture.getcolors() or []) <= COLOURS
    assert len(kept["data"]["image/png"]) < len(png) / 2
