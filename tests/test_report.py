"""The page of a run: what stands in it for every kind of run, and what a browser makes of it."""

import base64
import csv
import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from fits import SMALL, small
from matplotlib.figure import Figure
from PIL import Image

from ppvae.data import as_split
from ppvae.diagnose import diagnose
from ppvae.diagnosis.effort import QUICK, Effort
from ppvae.diagnostics import decompose
from ppvae.fit import main
from ppvae.generation import posterior_means, reconstruct
from ppvae.models import VAE
from ppvae.report import attempt, report, worst
from ppvae.report.interactive import item, plot
from ppvae.report.losses import ALTS
from ppvae.report.material import Material
from ppvae.report.parts import Section, attempted, decimals
from ppvae.report.plane import decoded, plane_of
from ppvae.report.provenance import flattened
from ppvae.report.typography import typeset
from ppvae.run import Run, load

HOSTILE = "<img src=x onerror=alert(1)>"
SECTIONS = ["verdict", "course", "data", "map", "kl", "gaps", "worst", "settings"]


class Page(HTMLParser):
    """A page, taken apart."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: dict[str, list[str]] = {}
        self._open: list[str] = []
        self._section = ""
        self.text = path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        self._open.append(tag)
        if tag == "section":
            self._section = given["id"]

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if data.strip() and not {"script", "style"} & set(self._open):
            self.words.setdefault(self._section, []).append(" ".join(data.split()))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]

    def says(self, section: str) -> str:
        return " ".join(self.words.get(section, []))


def cells(page: Page, caption: str) -> list[list[str]]:
    """The rows of a table, its header first."""
    (body,) = re.findall(
        rf"<caption>{re.escape(caption)}[^<]*</caption>(.*?)</table>", page.text, re.S
    )
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.S)
    return [[unescape(c) for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def shown_of(run: Run) -> Material:
    """What a page of the run's test data is made from."""
    return Material(run, run.data().test, "test", None, run.path, None)


def pictured(folder: Path, **settings: Any) -> Run:
    """A fit of small pictures in three classes, one of them of an evil name."""
    generator = np.random.default_rng(0)
    kinds = generator.integers(0, 3, 90)
    x = (generator.random((90, 8, 8)) < 0.15 + 0.3 * kinds[:, None, None]).astype(np.uint8) * 255
    np.savez(folder / "pictures.npz", x=x, y=np.array([HOSTILE, "good", "plain"])[kinds])
    chosen: dict[str, Any] = {"likelihood": ..., "data": folder / "pictures.npz"}
    return small(folder, **(chosen | {"binarize": "threshold", "epochs": 3} | settings))


def own_model(x: torch.Tensor) -> None:
    """A story in two chapters, with sites of other names."""
    scale = pyro.param("scale", torch.ones(()))
    with pyro.plate("data", len(x)):
        mood = pyro.sample("mood", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pace = pyro.sample("pace", dist.Normal(mood.sum(-1), 1.0))
        loc = (mood.sum(-1) + pace)[..., None] * scale
        pyro.sample("x", dist.Normal(loc, torch.ones(3)).to_event(1), obs=x)


def own_guide(x: torch.Tensor) -> None:
    weight = pyro.param("weight", torch.full((3, 2), 0.1))
    with pyro.plate("data", len(x)):
        mood = pyro.sample("mood", dist.Normal(x @ weight, 0.7).to_event(1))
        pyro.sample("pace", dist.Normal(mood.mean(-1), 0.7))


KINDS: dict[str, Callable[[Path], Run]] = {
    "pictures": pictured,
    "table": lambda folder: small(folder, latent_dim=4, epochs=2),
    "point-mass": lambda folder: small(folder, guide="Delta", beta=0.0, latent_dim=1, epochs=1),
    "hierarchy": lambda folder: small(
        folder, model="HierarchicalVAE", guide="TopDown", decoder=SMALL, encoder=..., epochs=1
    ),
    "conditional": lambda folder: pictured(folder, model="ConditionalVAE", epochs=1),
    "own": lambda folder: small(
        folder, model=own_model, guide=own_guide, likelihood=..., decoder=..., encoder=..., epochs=1
    ),
}


def dot(_: object, path: str | Path) -> Path:
    """Save a figure as one white dot: laying out the letters is the slow part of a page."""
    Image.new("L", (1, 1), 255).save(path, "PNG")
    return Path(path)


def dotted_gallery(run: Run, *_: object) -> None:
    """Leave the figures of a fit as dots."""
    (run.path / "figures").mkdir()
    for name in ("elbo", "reconstructions", "samples", "latent"):
        dot(None, run.path / "figures" / f"{name}.png")


@contextmanager
def quickly(*, in_full: bool = False) -> Iterator[None]:
    """One draw behind each figure, and no pictures but those of the page, which are dots.

    In full there are those of the fit too, as dots, and those of the page are as they are.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ppvae.svi.DRAWS", 1)
        patch.setattr("ppvae.conclusion.DRAWS", 1)
        if in_full:
            patch.setattr("ppvae.conclusion.gallery.draw", dotted_gallery)
        else:
            patch.setattr("ppvae.conclusion.gallery.draw", lambda *_: [])
            patch.setattr("ppvae.plots.save", dot)
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Each kind of run, fitted when it is first asked for; the first in full."""
    runs: dict[str, Run] = {}

    def make(kind: str) -> Run:
        if kind not in runs:
            with quickly(in_full=kind == "pictures"):
                runs[kind] = KINDS[kind](tmp_path_factory.mktemp(kind))
        return runs[kind]

    return make


@pytest.mark.parametrize("kind", KINDS)
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
    assert "ppvae.diagnose" in said


def test_without_a_bound_the_page_says_why_and_promises_no_gap(made: Callable[[str], Run]) -> None:
    page = Page(made("point-mass").path / "report.html")
    assert "There is no bound on log p(x)" in page.says("verdict")
    assert "Where the nats are lost" not in page.says("verdict")
    assert "the bound is always" not in page.says("verdict")  # though beta is not 1
    assert "no bound whose gap could be split" in page.says("gaps")
    assert "point mass" in page.says("kl")
    assert "reconstruction" in page.says("worst")


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
    header, *rows = cells(Page(run.path / "report.html"), "Some epochs in numbers")
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
    _, *rows = cells(Page(run.path / "report.html"), "KL in numbers")
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
    material = shown_of(run)
    score = material.terms.elbo_by_datum
    assert score is not None
    lowest = sorted(range(len(score)), key=lambda i: float(score[i]))[:count]
    rows = material.order[lowest]
    batch = run.data().test.take(rows)
    ((x, means, captions),) = drawn
    np.testing.assert_allclose(x, batch["x"].numpy())
    np.testing.assert_allclose(means, reconstruct(run.pair, run.audit, batch)[0], atol=1e-6)
    said = [(f"#{row}", decimals(float(score[i]), 1)) for row, i in zip(rows, lowest, strict=True)]
    assert captions == [f"{row}  bound {value}" for row, value in said]
    (picture,) = section.pictures
    assert picture.alt.endswith(", ".join(f"{r} with bound {v}" for r, v in said) + ".")


def test_an_alarm_of_the_last_epoch_is_told_first(
    made: Callable[[str], Run], tmp_path: Path
) -> None:
    copy = tmp_path / "alarmed"
    shutil.copytree(made("table").path, copy)
    with (copy / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    [row for row in rows if row["split"] == "valid"][-1]["alarm"] = "no unit of z is active"
    with (copy / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with quickly():
        page = Page(report(load(copy)))
    assert page.words["verdict"][1] == "Alarm: no unit of z is active."


def test_names_from_data_are_text_and_no_code(made: Callable[[str], Run]) -> None:
    page = Page(made("pictures").path / "report.html")
    assert HOSTILE in page.says("map")
    assert "<img src=x" not in page.text
    # Bokeh reads $$ as mathematics, and would fetch what typesets it: names are in no plot's text.
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
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(re.sub(r"(?m)^data: .*$", "data: nowhere.npy", config))
    with quickly():
        page = Page(report(load(copy)))
    assert "nowhere.npy" in page.says("map")
    assert "Left out" not in page.says("course") + page.says("settings") + page.says("verdict")


def test_a_run_that_has_not_ended_says_so(made: Callable[[str], Run], tmp_path: Path) -> None:
    copy = tmp_path / "begun"
    shutil.copytree(made("table").path, copy)
    (copy / "summary.json").unlink()
    (copy / "metrics.csv").write_text((copy / "metrics.csv").read_text().splitlines()[0] + "\n")
    with quickly():
        page = Page(report(load(copy)))
    assert "has not ended" in page.says("verdict")
    assert "no finite figure" in page.says("course")


def test_a_page_that_cannot_be_written_costs_a_note_and_no_fit(
    made: Callable[[str], Run], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device.")

    monkeypatch.setattr("ppvae.report.page.write_text", full)
    run = made("table")
    capsys.readouterr()
    with quickly():
        attempt(run, run.data().test)
    said = capsys.readouterr().out
    assert said.startswith("note: ")
    assert "report.html could not be written: No space left on device\n" in said


def test_a_part_that_fails_is_a_sentence() -> None:
    def fail() -> Section:
        raise RuntimeError("of no use.\nAt all.")

    assert attempted("a", "A", fail).sentences == ("Left out: of no use. At all.",)


def test_a_diagnosis_writes_the_page_anew_and_a_fit_that_goes_on_forgets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = asdict(QUICK) | {"refined_rows": 4, "refine_steps": 60, "samples": 30}
    monkeypatch.setattr("ppvae.diagnosis.effort.QUICK", Effort(**few))
    with quickly():
        run = small(tmp_path, epochs=1)
        found = diagnose(run, quick=True, only=["gap"], out=run.path)
        page = Page(run.path / "report.html")
        assert len(found.verdict.losses) == 2
        for text in found.verdict.sentences:
            said = "".join(typeset(text).striptags().split())
            assert said in "".join(page.says("verdict").split())
        for loss in found.verdict.losses:
            assert f"{loss.where} {decimals(loss.nats)}" in page.says("gaps")
        assert "--quick" in page.says("settings")
        assert [attrs["id"] for attrs in page.all("section")] == [
            *SECTIONS[:-1], "diagnosis", "settings",
        ]  # fmt: skip
        assert Page(report(run)).text == page.text

        attempt(run, run.data().test)  # the end of a fit: what was found is of earlier weights
    page = Page(run.path / "report.html")
    assert "was not asked yet" in page.says("verdict")
    assert "diagnosis" not in page.words


def test_the_figures_of_a_diagnosis_are_those_of_the_page(
    made: Callable[[str], Run], tmp_path: Path
) -> None:
    copy = tmp_path / "diagnosed"
    shutil.copytree(made("table").path, copy)
    names = ["kl_by_dimension", "worst_data", *ALTS, "of_another_version"]
    (copy / "figures").mkdir(exist_ok=True)
    for shade, name in enumerate(names):
        Image.new("L", (2, 2), 9 * shade).save(copy / "figures" / f"{name}.png")
    record = {
        "data": "test", "rows": 9, "verdict": [HOSTILE], "figures": [*names, "budget"], "losses": [
            {"where": "guide: gap", "nats": 0.5, "standard_error": 0.25, "remedy": "--guide Flow"},
            {"where": "prior: gain", "nats": -0.125, "standard_error": None, "remedy": "none"},
        ],
        "answers": {
            "bound": {"kl_by_dimension": {"z": [0.1, 2.5]}},
            "trust": {"pareto_k": {"worst_rows": [7], "worst_k": [0.875]}},
            "gap": {"approximation_gap": {"value": 0.375}, "amortization_gap": {"value": 0.25}},
        },
        "not_answered": {
            "trust: calibration": "no plate", "gap: gaps": "too few data", "posterior.nc": "no room"
        },
    }  # fmt: skip
    (copy / "diagnostics.json").write_text(json.dumps(record))
    with quickly():
        page = Page(report(load(copy)))
    for name in names:
        png = base64.b64encode((copy / "figures" / f"{name}.png").read_bytes()).decode()
        assert page.text.count(f"data:image/png;base64,{png}") == 1, name
    _, *lost = cells(page, "Nats per datum lost in each place, and what to change")
    assert lost == [
        ["guide: gap", "0.50", "0.25", "<code>--guide</code> Flow"],
        ["prior: gain", "\u22120.12", "\u2013", "none"],
    ]
    assert "The gap is not split: too few data." in page.says("gaps")
    assert "posterior.nc" not in page.text
    alts = [attrs["alt"] for attrs in page.all("img")]
    assert any(alt.endswith("on average 0.38 and 0.25 nats.") for alt in alts)
    assert any(alt.endswith("first row 7, with 0.88.") for alt in alts)
    (kl,) = (alt for alt in alts if "KL of each" in alt)
    assert "below the variance" not in kl  # no site has one in the record
    assert HOSTILE in page.says("verdict")
    assert "z[1] 2.500 z[0] 0.100" in page.says("kl")
    assert "Pareto k-hat" in page.says("worst")
    assert "trust: calibration no plate" in page.says("diagnosis")


def test_the_command_on_the_page_makes_the_run_again(
    made: Callable[[str], Run], tmp_path: Path
) -> None:
    run = made("table")
    said = Page(run.path / "report.html").says("settings")
    command = re.search(r"python -m ppvae\.fit (--config \S+)", said)
    assert command is not None
    with quickly():
        main([*shlex.split(command[1]), "--out", str(tmp_path / "again")])
    drop = {"seconds"}
    again = [
        {k: v for k, v in row.items() if k not in drop}
        for row in load(tmp_path / "again").metrics()
    ]
    assert again == [{k: v for k, v in row.items() if k not in drop} for row in run.metrics()]


def test_code_that_is_not_the_package_is_to_be_trusted_by_name(tmp_path: Path) -> None:
    prior = {"class_path": "mine.prior.Spike", "init_args": {"width": 0.5}}
    config = {"prior": prior, "guide": {"class_path": "MeanField"}, "lr": -1, "run": {"format": 1}}
    config["data"] = "my -1 --file.npy"
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    (tmp_path / "metrics.csv").write_text("epoch,step,split\n")
    run = Run(tmp_path)  # whose code is not there: nothing of it can be decoded
    page = Page(report(run))
    assert f"--config {tmp_path}/config.yaml --trust mine" in page.says("settings")
    assert f"ppvae.diagnose {tmp_path} --quick --trust mine" in page.says("verdict")
    # What is to be copied stands as it is.
    assert ["lr", "-1"] in cells(page, "Settings")
    assert ["data", "my -1 --file.npy"] in cells(page, "Settings")
    assert "Left out" in page.says("map")


def test_a_record_names_no_file_outside_of_its_run(
    made: Callable[[str], Run], tmp_path: Path
) -> None:
    Image.new("L", (2, 2), 99).save(tmp_path / "secret.png")
    material = Material(made("table"), "none", "test", None, tmp_path, {"figures": ["../secret"]})
    assert material.diagnosis_figure("../secret") is None


def test_python_objects_have_no_command(made: Callable[[str], Run]) -> None:
    page = Page(made("own").path / "report.html")
    assert "own_model" in page.says("settings")
    assert "--config" not in page.says("settings")
    assert "python -m" not in page.says("verdict")
    assert "model=..., guide=...)" in page.says("verdict")


def test_settings_are_told_as_flags() -> None:
    prior = {"class_path": "VampPrior", "init_args": {"components": 5, "start": None}}
    settings = {"prior": prior, "clip": None, "lr": 0.1}
    assert list(flattened(settings)) == [
        ("prior", "VampPrior"), ("prior.components", "5"), ("lr", "0.1"),
    ]  # fmt: skip


def test_a_sentence_is_set_with_signs_and_unbroken_flags_and_is_escaped() -> None:
    said = (
        "log p(x) is -24.1 +- 0.27 (from -25 on), of 1-2 <b>; take --encoder.hidden, or --k-hat 3."
    )
    assert typeset(said) == (
        "log p(x) is \u221224.1 \u00b1\u00a00.27 (from \u221225 on), of 1-2 &lt;b&gt;; take "
        "<code>--encoder.hidden</code>, or <code>--k-hat</code> 3."
    )


def test_numbers_have_a_true_minus_and_zero_no_sign() -> None:
    assert decimals(-1234.567) == "\u22121,234.57"
    assert decimals(-0.001) == "0.00"
    assert decimals(None) == decimals("many") == "\u2013"


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


def test_the_plane_of_more_latents_is_that_of_the_principal_components() -> None:
    torch.manual_seed(0)
    axes = torch.linalg.qr(torch.randn(5, 5).double()).Q
    codes = torch.randn(400, 5).double() * torch.tensor([3.0, 2.0, 0.1, 0.1, 0.1]) @ axes.T + 1.0
    plane = plane_of(codes)
    covariance = torch.cov(codes.T)
    values, vectors = torch.linalg.eigh(covariance)
    for k in range(2):
        cosine = float(plane.directions[k] @ vectors[:, -1 - k])
        assert abs(cosine) == pytest.approx(1.0, abs=1e-9)
        assert plane.directions[k].abs().max() == plane.directions[k].max()
    share = float(values[-2:].sum() / values.sum())
    assert f"{share:.0%} of their variance" in plane.sentence
    nodes = plane.nodes(5, 3)
    places = plane.coordinates(nodes).reshape(3, 5, 2)
    torch.testing.assert_close(places[0, 0], torch.tensor([plane.low[0], plane.high[1]]).double())
    torch.testing.assert_close(places[2, 4], torch.tensor([plane.high[0], plane.low[1]]).double())
    inside = (plane.coordinates(codes) >= torch.tensor(plane.low)).all(1)
    assert inside.float().mean() > 0.9


@pytest.mark.parametrize("width", [1, 2])
def test_few_latents_are_their_own_plane(width: int) -> None:
    codes = torch.arange(12.0).reshape(-1, width) / 10
    plane = plane_of(codes)
    torch.testing.assert_close(plane.coordinates(codes)[:, :width], codes.double())
    assert plane.nodes(4, 1).shape == (4, width)


@pytest.mark.parametrize(("spread", "side"), [(0.0, 4.0), (0.01, 0.5), (0.4, 1.04)])
def test_a_frame_does_not_follow_codes_that_hardly_spread(spread: float, side: float) -> None:
    codes = torch.zeros(200, 3).double()
    codes[:100, 0], codes[100:, 0] = -spread, spread
    plane = plane_of(codes)
    sides = [high - low for low, high in zip(plane.low, plane.high, strict=True)]
    assert sides == pytest.approx([side, side])
    assert ("does not follow" in plane.sentence) == (spread < 0.1)
    assert spread != 0.01 or "spread by only 0.01" in plane.sentence


def test_a_node_of_the_plane_is_decoded_as_the_model_decodes_it(made: Callable[[str], Run]) -> None:
    run = made("table")
    model = run.model
    assert isinstance(model, VAE)
    material = Material(run, run.data().test, "test", None, run.path, None)
    codes = torch.randn(6, 4).double()
    with torch.no_grad():
        expected = model.likelihood(model.decoder(codes.float())).mean
    torch.testing.assert_close(decoded(material, codes, 0), expected)


def test_layers_are_decoded_from_the_codes_of_each(made: Callable[[str], Run]) -> None:
    """At the codes of a datum itself, the map shows what its reconstruction is."""
    for kind in ("hierarchy", "own", "conditional"):
        run = made(kind)
        rows = as_split(**run.data().test.take(torch.arange(3)))
        material = Material(run, rows, "test", None, run.path, None)
        one = material.rows.take(torch.tensor([1]))
        assert set(posterior_means(run.pair, run.audit, one)) == set(material.embedding.loc)
        codes = material.embedding.joined()[1:2]
        means, _ = reconstruct(run.pair, run.audit, one)
        torch.testing.assert_close(decoded(material, codes, 1), means)


def test_large_colour_pictures_stay_under_five_megabytes(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (60, 3, 96, 96), dtype=np.uint8)
    np.savez(tmp_path / "noise.npz", x=x)
    with quickly():
        run = small(tmp_path, data=tmp_path / "noise.npz", epochs=1)
    file = run.path / "report.html"
    page = Page(file)
    assert "Left out" not in page.says("map")
    assert file.stat().st_size < 5e6


# In a browser

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
in_browser = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="needs Debian's chromium and chromium-driver: apt-get install chromium chromium-driver",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.add_argument("--window-size=1200,900")
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


def opened(browser: Any, file: Path, *, width: int = 1200, scheme: str = "light") -> Any:
    """The page in the browser, once its plots stand."""
    from selenium.webdriver.support.ui import WebDriverWait

    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [feature]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(file.resolve().as_uri())
    ready = "return 'ready' in document.documentElement.dataset"
    WebDriverWait(browser, 30).until(lambda driver: driver.execute_script(ready))
    return browser


def seen(browser: Any, kind: str) -> tuple[str, str]:
    """What the map shows decoded, and what it says."""
    where = browser.execute_script("return document.getElementById('map-where').textContent")
    shown = {
        "pictures": "return document.getElementById('map-canvas-decoded').toDataURL()",
        "table": "return JSON.stringify(Bokeh.documents.map((each) => each.get_model_by_name("
        "'decoded')).find((each) => each !== null).data)",
    }
    return str(browser.execute_script(shown[kind])), str(where)


@in_browser
@pytest.mark.parametrize("kind", ["pictures", "table"])
def test_the_map_answers_to_mouse_and_keys(
    kind: str, made: Callable[[str], Run], browser: Any
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    opened(browser, made(kind).path / "report.html")
    plane = browser.find_element(By.ID, "map-plane")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plane)
    views = [seen(browser, kind)]
    for left, up in ((-120, -90), (100, 110)):
        ActionChains(browser, 0).move_to_element_with_offset(plane, left, up).perform()
        views.append(seen(browser, kind))
    plane.send_keys(Keys.SHIFT, Keys.ARROW_LEFT)
    views.append(seen(browser, kind))
    plane.send_keys(Keys.NULL, *[Keys.ARROW_DOWN] * 3)
    views.append(seen(browser, kind))
    assert len({shown for shown, _ in views}) == len({where for _, where in views}) == len(views)

    which = "return document.getElementById('map-which').textContent"
    plane.send_keys(Keys.ENTER)
    by_key = browser.execute_script(which)
    nearest = re.search(r"Nearest: (.*)\.$", views[-1][1])
    assert nearest is not None
    assert by_key == f"In the ring: {nearest[1]}."
    ActionChains(browser, 0).move_to_element_with_offset(plane, -140, 140).click().perform()
    corner = re.search(r"Nearest: (.*)\.$", seen(browser, kind)[1])
    assert corner is not None
    assert browser.execute_script(which) == f"In the ring: {corner[1]}."


def values_of(browser: Any, kind: str, what: str) -> Any:
    """The numbers of what the map shows: red of each pixel as a share, or the values drawn."""
    if kind == "pictures":
        read = (
            f"const canvas = document.getElementById('map-canvas-{what}');"
            "const {width, height} = canvas;"
            "const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);"
            "return [width, height, [...data].filter((_, i) => i % 4 === 0)];"
        )
        width, height, red = browser.execute_script(read)
        return np.array(red, dtype=np.float64).reshape(height, width) / 255
    read = (
        "return [...Bokeh.documents.map((each) => each.get_model_by_name"
        f"('{what}')).find((each) => each !== null).data.value]"
    )
    return np.array(browser.execute_script(read))


def said_at(browser: Any) -> list[float]:
    """Where the cross is, by what is said of it."""
    said = browser.execute_script("return document.getElementById('map-where').textContent")
    return [
        float(number.replace("\N{MINUS SIGN}", "-"))
        for number in re.findall(r" (\N{MINUS SIGN}?\d+\.\d+)[,.]", said.split("Nearest")[0])
    ]


@in_browser
@pytest.mark.parametrize("kind", ["pictures", "table"])
def test_the_map_shows_what_is_decoded_at_the_cross_and_the_datum_in_the_ring(
    kind: str, made: Callable[[str], Run], browser: Any
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    run = made(kind)
    material = shown_of(run)
    codes = material.embedding.joined()
    plane = plane_of(codes)
    side = 25
    nodes = plane.nodes(side, side)
    means = decoded(material, nodes, 0).squeeze().numpy()
    grid = plane.coordinates(nodes).numpy()
    tolerance = 0.51 / 255 if kind == "pictures" else 1e-5

    def demand(place: int) -> None:
        """The cross is at a node, the decoder's values are those there, and the right way up."""
        there = values_of(browser, kind, "decoded")
        np.testing.assert_allclose(there, means[place], atol=tolerance)
        np.testing.assert_allclose(said_at(browser), grid[place], atol=0.006)

    opened(browser, run.path / "report.html")
    box = browser.find_element(By.ID, "map-plane")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
    middle = side // 2 * side + side // 2
    demand(middle)
    box.send_keys(*[Keys.ARROW_LEFT] * 2, *[Keys.ARROW_UP] * 7)
    place = (side // 2 - 7) * side + side // 2 - 2
    demand(place)
    if kind == "pictures":  # another tile, or this one another way up, would not have passed
        for other in (means[place][::-1], means[place][:, ::-1], means[place].T, means[middle]):
            assert np.abs(other - means[place]).max() > 3 * tolerance

    box.send_keys(Keys.ENTER)
    far = (plane.coordinates(codes).numpy() - grid[place]) ** 2
    row = int(material.order[int(far.sum(1).argmin())])
    data = run.data(hidden=False).test.take(torch.tensor([row]))
    np.testing.assert_allclose(
        values_of(browser, kind, "original"), data["x"].squeeze().numpy(), atol=tolerance
    )
    which = browser.execute_script("return document.getElementById('map-which').textContent")
    names = run.label_names
    label = "" if names is None else f", label {names[int(data['y'][0])]}"
    assert which == f"In the ring: row {row} of the test data{label}."

    # Keys that the browser has for itself, and Home.
    for held in (Keys.CONTROL, Keys.ALT, Keys.META):
        browser.execute_script("arguments[0].focus()", box)
        ActionChains(browser).key_down(held).send_keys("x", Keys.HOME).key_up(held).perform()
        demand(place)
    box.send_keys(Keys.HOME)
    demand(middle)

    # Right and up on the screen are right and up on the plane.
    ActionChains(browser, 0).move_to_element_with_offset(box, 130, -60).perform()
    a, b = said_at(browser)
    assert a > grid[middle][0]
    assert b > grid[middle][1]
    at = int(((grid - [a, b]) ** 2).sum(1).argmin())
    np.testing.assert_allclose(values_of(browser, kind, "decoded"), means[at], atol=tolerance)


@in_browser
def test_a_finger_moves_the_cross_with_the_ring(made: Callable[[str], Run], browser: Any) -> None:
    from selenium.webdriver.common.by import By

    opened(browser, made("pictures").path / "report.html")
    box = browser.find_element(By.ID, "map-plane")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
    before = seen(browser, "pictures")
    place = browser.execute_script(
        "const box = arguments[0].getBoundingClientRect();"
        "return {x: box.x + 0.8 * box.width, y: box.y + 0.3 * box.height}", box
    )  # fmt: skip
    for kind, points in (("touchStart", [place]), ("touchEnd", [])):
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    after = seen(browser, "pictures")
    assert before != after
    nearest = re.search(r"Nearest: (.*)\.$", after[1])
    which = browser.execute_script("return document.getElementById('map-which').textContent")
    assert nearest is not None
    assert which == f"In the ring: {nearest[1]}."


@in_browser
def test_each_step_on_a_narrow_plane_changes_what_is_said(
    made: Callable[[str], Run], browser: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    text = (made("table").path / "report.html").read_text()
    narrow = re.sub(r'"(low|high)": \[[^]]*\]', r'"\1": [\1, \1]', text)
    narrow = narrow.replace("[low, low]", "[-0.002, -0.002]").replace(
        "[high, high]", "[0.002, 0.002]"
    )
    assert narrow != text
    (tmp_path / "narrow.html").write_text(narrow)
    opened(browser, tmp_path / "narrow.html")
    box = browser.find_element(By.ID, "map-plane")
    places = [tuple(said_at(browser))]
    for key in [Keys.ARROW_RIGHT] * 3 + [Keys.ARROW_DOWN] * 3:
        box.send_keys(key)
        places.append(tuple(said_at(browser)))
    assert len(set(places)) == 7


@in_browser
def test_the_map_is_one_stop_of_the_tab_key_and_is_told_to_who_does_not_see_it(
    made: Callable[[str], Run], browser: Any
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    for kind in ("pictures", "table"):
        opened(browser, made(kind).path / "report.html")
        told = "return document.getElementById(arguments[0]).getAttribute('aria-live')"
        for name in ("map-where", "map-which"):
            assert browser.execute_script(told, name) == "polite"
        stops = browser.execute_script(
            "const walk = (root) => [...root.querySelectorAll('*')].flatMap((each) => ["
            "...(each.tabIndex >= 0 ? [each.className] : []),"
            "...(each.shadowRoot ? walk(each.shadowRoot) : [])]);"
            "return [...document.querySelectorAll('.plot')].flatMap(walk)"
        )
        assert stops == []
    body = browser.find_element(By.TAG_NAME, "body")
    for _ in range(40):
        body.send_keys(Keys.TAB)
        if browser.execute_script("return document.activeElement.id") == "map-plane":
            break
        body = browser.switch_to.active_element
    outline = browser.execute_script(
        "const style = getComputedStyle(document.activeElement);"
        "return [document.activeElement.id, style.outlineStyle, style.outlineWidth]"
    )
    assert outline == ["map-plane", "solid", "3px"]


@in_browser
def test_the_browser_has_nothing_to_complain_of_and_asks_for_nothing(
    made: Callable[[str], Run], browser: Any
) -> None:
    from selenium.webdriver.common.by import By

    opened(browser, made("pictures").path / "report.html")
    assert [line for line in browser.get_log("browser") if line["level"] != "INFO"] == []
    events = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert asked
    assert all(url.startswith(("file:", "data:")) for url in asked)
    images = browser.find_elements(By.TAG_NAME, "img")
    assert len(images) >= 6
    assert all(browser.execute_script("return arguments[0].naturalWidth", i) > 0 for i in images)


@in_browser
@pytest.mark.parametrize("kind", ["pictures", "table"])
def test_nothing_is_wider_than_a_phone(kind: str, made: Callable[[str], Run], browser: Any) -> None:
    opened(browser, made(kind).path / "report.html", width=375)
    for details in ("false", "true"):
        browser.execute_script(
            f"document.querySelectorAll('details').forEach((each) => {{ each.open = {details} }})"
        )
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= 375


def luminance(colour: str) -> float:
    """Relative luminance, as the contrast of WCAG 2 takes it."""
    parts = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_the_light_and_in_the_dark(
    scheme: str, made: Callable[[str], Run], browser: Any
) -> None:
    opened(browser, made("pictures").path / "report.html", scheme=scheme)
    text, page = browser.execute_script(
        "const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]"
    )
    assert (luminance(text) > luminance(page)) == (scheme == "dark")
    both = sorted([luminance(text), luminance(page)])
    assert (both[1] + 0.05) / (both[0] + 0.05) > 7
    label = browser.execute_script(
        "return [...Bokeh.documents[0].all_models].find((each) => each.type === 'LinearAxis')"
        ".axis_label_text_color"
    )
    assert label == {"light": "#1b1d1f", "dark": "#e8eaed"}[scheme]


@in_browser
def test_on_paper_the_still_pictures_take_the_place_of_the_moving(
    made: Callable[[str], Run], browser: Any
) -> None:
    opened(browser, made("pictures").path / "report.html")
    shown = (
        "return ['.live', '.still'].map((name) => "
        "getComputedStyle(document.querySelector(`#map ${name}`)).display)"
    )
    assert browser.execute_script(shown) == ["block", "none"]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.execute_script(shown) == ["none", "block"]
    opens = "return [...document.querySelectorAll('details')].map((each) => each.open)"
    browser.execute_script("document.querySelector('details').open = true")
    before = browser.execute_script(opens)
    assert set(before) == {True, False}
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert all(browser.execute_script(opens))
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert browser.execute_script(opens) == before
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {})["data"]
    assert base64.b64decode(pdf).startswith(b"%PDF")
