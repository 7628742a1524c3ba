"""Assembling and writing the page."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor

from ppvae.data import Split
from ppvae.errors import InputError
from ppvae.report import (
    course,
    diagnosis,
    dimensions,
    glance,
    latent_map,
    pictures,
    provenance,
    verdict,
    worst,
)
from ppvae.report.page_data import PageData, read_diagnosis
from ppvae.report.rendering import rendered
from ppvae.report.sections import Section, attempted, reason_of
from ppvae.run import Run
from ppvae.run.store import WriteError, check_writable, write_text, writing
from ppvae.training.data_and_programs import true_labels

SECTIONS: tuple[tuple[str, str, Callable[[PageData], Section]], ...] = (
    ("glance", glance.TITLE, glance.section),
    ("map", latent_map.TITLE, latent_map.section),
    ("verdict", "Verdict", verdict.section),
    ("course", course.TITLE, course.section),
    ("data", pictures.TITLE, pictures.section),
    ("kl", dimensions.TITLE, dimensions.section),
    ("gaps", diagnosis.GAPS_TITLE, diagnosis.deficits),
    ("worst", worst.TITLE, worst.section),
    ("diagnosis", diagnosis.REST_TITLE, diagnosis.rest),
    ("settings", provenance.TITLE, provenance.section),
)


def report(run: Run, out: str | Path | None = None) -> Path:
    """Write a run as one page: a file that opens offline in any browser, and can be mailed.

    It shows the test data of the run, and their diagnosis if there is one. A sentence replaces what
    cannot be shown and says why. The same run gives the same page.

    Args:
        run: the run.
        out: the file; default ``report.html`` in the run. An existing file is replaced.

    Returns:
        The file.

    Example::

        from ppvae.report import report

        report(ppvae.load("runs/digits"))
    """
    target = run.path / "report.html" if out is None else Path(out)
    check_writable(target)
    with writing(target.parent):
        rows, labels = _own(run)
        page = PageData(run, rows, "test", labels, run.path, read_diagnosis(run.path))
        write_text(target, _render(page))
    return target


def attempt(
    run: Run,
    rows: Split,
    *,
    labels: Tensor | None = None,
    data_name: str = "test",
    diagnosis: Path | None = None,
) -> str:
    """Write the page of a finished fit or diagnosis, and return why if that fails.

    Args:
        run: the run.
        rows: the data to show.
        labels: their labels, ``(data,)``, if they differ from those in the data.
        data_name: name of the data; ``"test"`` is the test data of the run.
        diagnosis: the folder of the diagnosis, where the page is written too; without it the page
            shows the fit only, and no diagnosis of earlier weights.

    Returns:
        Why it could not be made, or ``""``.

    Raises:
        WriteError: if it cannot be written to disk.
    """
    folder = run.path if diagnosis is None else diagnosis
    record = None if diagnosis is None else read_diagnosis(diagnosis)
    try:
        page = PageData(run, rows, data_name, labels, folder, record)
        write_text(folder / "report.html", _render(page))
    except WriteError:
        raise
    except Exception as error:  # a missing page must not fail the fit
        return f"{folder / 'report.html'} could not be made: {reason_of(error)}"
    return ""


def _own(run: Run) -> tuple[Split | str, Tensor | None]:
    """The test data of the run and their labels; or why they cannot be read."""
    try:
        everything = run.data(hidden=False)
        data = everything if run.config.get("labels") is None else run.data()
    except InputError as error:
        return str(error), None
    return data.test, true_labels(everything)


def _render(page: PageData) -> str:
    sections = [
        attempted(name, title, partial(make, page))
        for name, title, make in SECTIONS
        if name != "diagnosis" or page.diagnosis is not None
    ]
    return rendered(
        page.run.path.resolve().name, provenance.subtitle(page.run), sections,
        facts=provenance.facts(page.run),
    )  # fmt: skip
