"""The page of a run: its content for every kind of run."""

import base64
import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from ppvae.diagnose import diagnose
from ppvae.diagnostics import decompose
from ppvae.diagnostics.effort import QUICK, Effort
from ppvae.diagnostics.shared.wording import decimals
from ppvae.programs.generation import reconstruct
from ppvae.report import attempt, report, worst
from ppvae.report.interactive import item, plot
from ppvae.report.page_data import PageData
from ppvae.report.rendering import typeset
from ppvae.report.sections import Section, attempted
from ppvae.report.verdict import _strongest
from ppvae.report.verdict import section as verdict
from ppvae.run import Run, load
from tests.support.fits import rewrite_config, rewrite_metrics, small
from tests.support.pages import HOSTILE, KINDS, SECTIONS, Page, cells, quickly, shown_of
from tests.support.slow import few


@pytest.mark.parametrize("kind", few(KINDS, 3))
def test_a_fit_of_any_kind_leaves_a_whole_page_that_asks_the_net_for_nothing(
    kind: str, made: Callable[[str], Run]
) -> None:
    file = made(kind).path / "report.html"
    page = Page(file)
    assert file.stat().st_size < 5e6
    assert [attrs["id"] for attrs in page.all("section")] == SECTIONS
    assert page.all("html")[0]["lang"] == "en"
    (policy,) = (attrs for attrs in page.all("meta") if "http-equiv" in attrs)
    assert policy["content"].startswith("default-src 'none'")
    for tag, attrs in page.tags:
        for name in ("src", "href", "action", "poster", "srcset", "data"):
            assert attrs.get(name, "#").startswith(("#", "data:")), (tag, attrs[name][:80])
    assert not re.search(r"@import|url\(", file.read_text().split("</style>")[0])
    assert all(attrs["alt"].strip() for attrs in page.all("img"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for attrs in page.all("a"):
        assert attrs["href"].removeprefix("#") in ids
    headings = [tag for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert headings == ["h1"] + ["h2"] * len(SECTIONS)
    assert len(page.all("caption")) == len(page.all("table"))
    left_out = [name for name in SECTIONS if "Left out" in page.says(name)]
    assert left_out == (["kl"] if kind == "point-mass" else [])


def test_the_verdict_of_a_fit_is_its_summary(made: Callable[[str], Run]) -> None:
    run = made("table")
    said, summary = Page(run.path / "report.html").says("verdict"), run.summary
    assert summary is not None
    for value in (summary["elbo"], summary["kl"], summary["log_p"]["standard_error"]):
        assert decimals(value) in said
    assert "Not diagnosed yet" in said


def test_without_a_bound_the_page_says_why_and_promises_no_gap(made: Callable[[str], Run]) -> None:
    page = Page(made("point-mass").path / "report.html")
    assert "There is no bound on log p(x)" in page.says("verdict")
    assert "Where nats are lost" not in page.says("verdict")
    assert "the bound is always" not in page.says("verdict")  # though beta is not 1
    assert "no bound, and so no gap to split" in page.says("gaps")
    assert "point mass" in page.says("kl")
    assert "reconstruction" in page.says("worst")


@pytest.mark.slow
def test_a_model_that_is_given_y_has_one_name_for_what_is_bounded(
    made: Callable[[str], Run],
) -> None:
    page = Page(made("conditional").path / "report.html")
    assert "log p(x | y)" in page.says("verdict")
    assert "bound on log p(x | y)" in page.says("worst")
    assert "log p(x)" not in page.text.split("<main")[1].split("<footer")[0]


def test_the_course_in_numbers_is_that_of_metrics_csv(made: Callable[[str], Run]) -> None:
    run = made("pictures")
    with (run.path / "metrics.csv").open() as file:
        found = {(row["epoch"], row["split"]): row for row in csv.DictReader(file)}
    header, *rows = cells(Page(run.path / "report.html"), "Values at some epochs")
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert len(header) == 7
    for row in rows:
        for name, cell in zip(header[1:], row[1:], strict=True):
            term, split = name.split(", ")
            assert cell == decimals(float(found[row[0], split][term]))
    (alt,) = (a["alt"] for a in Page(run.path / "report.html").all("img") if "Curves" in a["alt"])
    assert f"{decimals(float(found['1', 'valid']['elbo']))} at first" in alt
    assert f"{decimals(float(found['3', 'valid']['elbo']))} at last" in alt


def test_the_kl_in_numbers_is_that_of_the_test_data(made: Callable[[str], Run]) -> None:
    run = made("table")
    terms = decompose(run.pair, run.audit, run.data().test, draws=2)  # the KL is in closed form
    kl = terms.kl_by_dimension["z"].mean(0)
    _, *rows = cells(Page(run.path / "report.html"), "KL by dimension")
    assert rows == [[f"z[{i}]", decimals(float(kl[i]), 3)] for i in kl.argsort(descending=True)]


@pytest.mark.parametrize(("kind", "count"), [("pictures", 8), ("table", 5)])
def test_the_worst_data_are_those_of_the_lowest_bound(
    kind: str, count: int, made: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, drawn = made(kind), []

    def draw(*given: Any, **_: Any) -> Figure:
        drawn.append(given)
        return Figure()

    monkeypatch.setattr("ppvae.plots.worst_data", draw)
    with quickly():
        section = worst.section(shown_of(run))
    page = shown_of(run)
    score = page.terms.elbo_by_datum
    assert score is not None
    lowest = sorted(range(len(score)), key=lambda i: float(score[i]))[:count]
    rows = page.order[lowest]
    batch = run.data().test.take(rows)
    ((x, means, captions),) = drawn
    np.testing.assert_allclose(x, batch["x"].numpy())
    np.testing.assert_allclose(means, reconstruct(run.pair, run.audit, batch)[0], atol=1e-6)
    numbers = page.numbers[lowest].tolist()
    said = [(f"#{n}", decimals(float(score[i]), 1)) for n, i in zip(numbers, lowest, strict=True)]
    assert captions == [f"{row}  {value}" for row, value in said]
    (picture,) = section.pictures
    assert picture.alt.endswith(", ".join(f"{r} with {v} nats" for r, v in said) + ".")


def test_an_alarm_of_the_last_epoch_is_told_first(
    made: Callable[[str], Run], tmp_path: Path
) -> None:
    copy = tmp_path / "alarmed"
    shutil.copytree(made("table").path, copy)
    with (copy / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    [row for row in rows if row["split"] == "valid"][-1]["alarm"] = "no unit of z is active"
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    rewrite_metrics(copy, text.getvalue())
    with quickly():
        page = Page(report(load(copy)))
    assert page.words["verdict"][1] == "No unit of z is active."


def test_names_from_data_are_text_and_no_code(made: Callable[[str], Run]) -> None:
    page = Page(made("pictures").path / "report.html")
    assert HOSTILE in page.says("map")
    assert "<img src=x" not in page.text
    # Bokeh reads $$ as mathematics and would load MathJax: plots have no such names.
    held = re.findall(
        r'<script type="application/json" data-plot="[^"]*">(.*?)</script>', page.text
    )
    assert held
    assert not any("onerror" in text for text in held)


def test_figures_that_are_gone_are_named(made: Callable[[str], Run]) -> None:
    assert "figures/samples.png" in Page(made("table").path / "report.html").says("data")


def test_the_same_run_gives_the_same_bytes(made: Callable[[str], Run], tmp_path: Path) -> None:
    run = made("pictures")
    opened_again = load(run.path)
    state = torch.get_rng_state()
    again = report(opened_again, tmp_path / "again.html")
    assert torch.equal(state, torch.get_rng_state())
    assert again.read_bytes() == (run.path / "report.html").read_bytes()


def test_a_run_whose_data_are_gone_still_has_its_course_and_settings(
    made: Callable[[str], Run], tmp_path: Path
) -> None:
    copy = tmp_path / "moved"
    shutil.copytree(made("table").path, copy)
    rewrite_config(copy, lambda config: config.update(data="nowhere.npy"))
    with quickly():
        page = Page(report(load(copy)))
    assert "nowhere.npy" in page.says("map")
    assert "Left out" not in page.says("course") + page.says("settings") + page.says("verdict")


def test_a_run_that_has_not_ended_says_so(made: Callable[[str], Run], tmp_path: Path) -> None:
    copy = tmp_path / "begun"
    shutil.copytree(made("table").path, copy)
    (copy / "summary.json").unlink()
    rewrite_metrics(copy, (copy / "metrics.csv").read_text().splitlines()[0] + "\n")
    with quickly():
        page = Page(report(load(copy)))
    assert "has not ended" in page.says("verdict")
    assert "no finite value" in page.says("course")


def test_a_page_that_cannot_be_written_costs_a_note_and_no_fit(
    made: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device.")

    monkeypatch.setattr("ppvae.report.page.write_text", full)
    run = made("table")
    with quickly():
        note = attempt(run, run.data().test)
    assert note.endswith("report.html could not be made: No space left on device")


def test_a_part_that_fails_is_a_sentence() -> None:
    def fail() -> Section:
        raise RuntimeError("of no use.\nAt all.")

    assert attempted("a", "A", fail).sentences == ("Left out: of no use. At all.",)


@pytest.mark.slow
def test_a_diagnosis_writes_the_page_anew_and_a_fit_that_goes_on_forgets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = asdict(QUICK) | {"refined_rows": 4, "refine_steps": 60, "samples": 30, "climbed_steps": 6}
    monkeypatch.setattr("ppvae.diagnostics.effort.QUICK", Effort(**few))
    with quickly():
        run = small(tmp_path, epochs=1)
        found = diagnose(run, quick=True, only=["deficits"], out=run.path)
        page = Page(run.path / "report.html")
        assert {"decoder", "guide"} <= {each.part for each in found.verdict.deficits}
        for text in found.verdict.sentences:
            said = "".join(typeset(text).striptags().split())
            assert said in "".join(page.says("verdict").split())
        for deficit in found.verdict.deficits:
            assert f"{deficit.part} {decimals(deficit.nats)}" in page.says("gaps")
        assert "--quick" in page.says("settings")
        assert [attrs["id"] for attrs in page.all("section")] == [
            *SECTIONS[:-1], "diagnosis", "settings",
        ]  # fmt: skip
        assert Page(report(run)).text == page.text

        # After the end of a fit, the diagnosis is of earlier weights.
        assert attempt(run, run.data().test) == ""
    page = Page(run.path / "report.html")
    assert "Not diagnosed yet" in page.says("verdict")
    assert "diagnosis" not in page.words


def test_the_figures_of_a_diagnosis_are_those_of_the_page(
    made: Callable[[str], Run], tmp_path: Path
) -> None:
    copy = tmp_path / "diagnosed"
    shutil.copytree(made("table").path, copy)
    names = ["kl_by_dimension", "worst_data", "gaps", "surgery", "of_a_new_question"]
    (copy / "figures").mkdir(exist_ok=True)
    for shade, name in enumerate(names):
        Image.new("L", (2, 2), 9 * shade).save(copy / "figures" / f"{name}.png")
    record = {
        "data": "test", "rows": 9, "sentences": [HOSTILE],
        "figures": [{"name": name, "alt": f"It shows {name}."} for name in [*names, "budget"]],
        "verdict": [
            {"part": "guide: gap", "nats": 0.5, "error": 0.25, "sentence": "`guide='Flow'`."},
            {"part": "prior: gain", "nats": -0.125, "error": None, "sentence": "None."},
        ],
        "answers": {"bound": {"kl_by_dimension": {"z": [0.1, 2.5]}}},
        "not_answered": [
            {"question": "trust", "part": "calibration", "reason": "no plate"},
            {"question": "gap", "part": "gaps", "reason": "too few data"},
        ],
        "no_posterior": "no room",
    }  # fmt: skip
    (copy / "diagnostics.json").write_text(json.dumps(record))
    with quickly():
        page = Page(report(load(copy)))
    for name in names:
        png = base64.b64encode((copy / "figures" / f"{name}.png").read_bytes()).decode()
        assert page.text.count(f"data:image/png;base64,{png}") == 1, name
    _, *lost = cells(page, "Nats per datum lost in each part, and what to change")
    assert lost == [
        ["guide: gap", "0.50", "0.25", "<code>guide='Flow'</code>."],
        ["prior: gain", "\u22120.12", "\u2013", "None."],
    ]
    assert "The gap is not split: too few data." in page.says("gaps")
    assert "posterior.nc" not in page.text
    alts = [attrs["alt"] for attrs in page.all("img")]
    assert {f"It shows {name}." for name in names} <= set(alts)
    assert HOSTILE in page.says("verdict")
    assert "z[1] 2.500 z[0] 0.100" in page.says("kl")
    assert "Pareto k-hat" in page.says("worst")
    assert "trust: calibration no plate" in page.says("diagnosis")


def test_a_record_names_no_file_outside_of_its_run(
    made: Callable[[str], Run], tmp_path: Path
) -> None:
    Image.new("L", (2, 2), 99).save(tmp_path / "secret.png")
    record = {"figures": [{"name": "../secret", "alt": ""}]}
    page = PageData(made("table"), "none", "test", None, tmp_path, record)
    assert page.diagnosis_figure("../secret") is None


def test_plots_made_alike_are_equal_and_their_models_defined_before_use() -> None:
    def made_so() -> dict[str, Any]:
        figure = plot(height=100)
        figure.line([0, 1], [0, 1])
        return item(figure, "place")

    first = made_so()
    assert json.dumps(first) == json.dumps(made_so())
    known: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object":
                known.add(node["id"])
            elif set(node) == {"id"}:
                assert node["id"] in known
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)

    visit(first["doc"]["roots"])
    assert first["root_id"] in known


@pytest.mark.slow
def test_large_colour_pictures_stay_under_five_megabytes(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (60, 3, 96, 96), dtype=np.uint8)
    np.savez(tmp_path / "noise.npz", x=x)
    run = small(tmp_path, data=tmp_path / "noise.npz", epochs=1)
    assert (run.path / "figures" / "samples.svg").is_file()
    file = run.path / "report.html"
    page = Page(file)
    assert "Left out" not in page.says("map")
    assert file.stat().st_size < 5e6


def test_the_verdict_names_measures_of_baselines_that_differ_and_why_others_are_not_there() -> None:
    of = {"about": "A", "measure": "probability", "mean": -3.0, "rows": 9}
    summary: dict[str, Any] = {
        "baselines": {
            "a": of | {"difference": 0.1, "standard_error": 0.2},
            "b": of
            | {"about": "B", "measure": "density", "difference": None, "standard_error": None},
        },
        "baselines_left_out": {"pca": "entries are missing"},
        "baselines_note": None,
    }

    beside: Any = SimpleNamespace(summary=summary, evidence="log p(x)")

    def shown() -> tuple[str, Section]:
        run: Any = SimpleNamespace(
            summary=summary, warnings=(), history=list, path=Path("run"), config={},
        )  # fmt: skip
        page: Any = SimpleNamespace(
            run=run, summary=summary, diagnosis={"sentences": []}, evidence="log p(x)",
        )  # fmt: skip
        found = verdict(page)
        return " ".join(found.sentences), found

    words, found = shown()
    assert "pca (entries are missing)" in words
    first, second = found.tables[0].rows
    assert first == ("A, of whole numbers", "\N{MINUS SIGN}3.00", "0.10 +- 0.20")
    assert second == ("B", "\N{MINUS SIGN}3.00", "\N{EN DASH}")
    assert " ".join(_strongest(beside)).startswith(
        "The strongest simple model of the same rows: B. log p(x) of the fit minus"
    )
    summary["baselines_note"] = "the guide is a point mass"
    assert "The guide is a point mass." in shown()[0]
    del summary["baselines"]["b"]
    summary["baselines_note"] = None
    said = " ".join(_strongest(beside))
    assert "not significant" in said
