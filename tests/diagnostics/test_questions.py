"""A new question needs its folder and one line in the list; all output is made from answers."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ppvae.diagnose import diagnose, show_answers, show_verdict
from ppvae.diagnostics.answer import Answer, Deficit, Picture, Row, first
from ppvae.diagnostics.context import Context
from ppvae.diagnostics.questions import QUESTIONS
from ppvae.errors import InputError
from ppvae.settings import Diagnose, settings_of
from tests.support.fits import small
from tests.support.pages import Page, cells, quickly

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw() -> "Figure":
    from ppvae import plots

    return plots.samples([[0.0, 1.0]])


@dataclass(frozen=True)
class LengthAnswer(Answer):
    """A question that counts the data."""

    length: int

    question = "How many data are there?"

    @property
    def metrics(self) -> dict[str, Any]:
        return {"length": self.length}

    @property
    def rows(self) -> tuple[Row, ...]:
        return (("length", f"{self.length}", "counted"),)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return (Picture("length", f"There are {self.length} data.", draw),)

    @property
    def deficits(self) -> tuple[Deficit, ...]:
        return (Deficit("data: too few", 3.5, 0.5, "more `data`"),)

    def sentences(self, answers: Iterable[Answer], /) -> tuple[str, ...]:
        assert first(answers, LengthAnswer) is self
        return (f"{self.length} data are few.",)


def ask(context: Context) -> LengthAnswer:
    return LengthAnswer({"width": "nobody measured it"}, len(context.data))


def test_a_new_question_is_seen_in_verdict_table_record_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(QUESTIONS, "length", ask)
    monkeypatch.setattr(settings_of(Diagnose)["only"][1].values, "words", (*QUESTIONS, "length"))
    with quickly():
        run = small(tmp_path, epochs=1)
        found = diagnose(run, quick=True, only=["length"])
    sentences = (
        "The fit was still climbing when it ended; the largest deficit measured: data: too "
        "few, 3.50 +- 0.50 nats. Change: more `data`.",
        "9 data are few.",
        "Not answered, for the reasons given: width.",
    )
    assert found.verdict.sentences == sentences

    capsys.readouterr()
    show_answers(found.data, found.rows)(found.answers["length"])
    show_verdict(found)
    said = capsys.readouterr().out
    for words in ("How many data are there?", "counted", "3.50 +- 0.50", "nobody measured it"):
        assert words in said

    record = json.loads((found.path / "diagnostics.json").read_text())
    assert record["answers"] == {"length": {"length": 9}}
    assert record["sentences"] == list(sentences)
    assert record["verdict"] == [
        {"part": "data: too few", "nats": 3.5, "error": 0.5, "sentence": sentences[0]}
    ]
    assert record["not_answered"] == [
        {"question": "length", "part": "width", "reason": "nobody measured it"}
    ]
    assert {"name": "length", "alt": "There are 9 data."} in record["figures"]
    assert (found.path / "figures" / "length.png").is_file()

    page = Page(found.path / "report.html")
    assert "9 data are few." in page.says("verdict")
    assert cells(page, "Nats per datum lost")[1][:3] == ["data: too few", "3.50", "0.50"]
    assert "length: width nobody measured it" in page.says("diagnosis")
    assert "There are 9 data." in [image["alt"] for image in page.all("img")]


@pytest.mark.slow
def test_a_record_has_the_same_keys_for_every_run(tmp_path: Path) -> None:
    """Keys of metrics are identifiers, not labels or sentences."""
    with quickly():
        run = small(tmp_path, epochs=1)
        diagnose(run, quick=True, only=["bound", "training"])
    record = json.loads((run.path / "diagnostics-bound-training/diagnostics.json").read_text())
    for metrics in record["answers"].values():
        assert all(key.isidentifier() and key.islower() for key in metrics)


def test_an_unknown_question_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"`only` .*'evidense'.* among .*did you mean evidence"):
        Diagnose("runs/x", only=["evidence", "evidense"])
