"""The command ``diagnose``: its answers, files and refusals."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray
from PIL import Image

from ppvae.cli.flags_in_sentences import in_flags
from ppvae.diagnose import diagnose, main
from ppvae.diagnostics import active_units, embed, questions
from ppvae.diagnostics.effort import Effort
from ppvae.diagnostics.questions import QUESTIONS
from ppvae.diagnostics.verdict import Diagnosis
from ppvae.errors import InputError
from ppvae.run import Run
from ppvae.run.figures import save
from tests.support.fits import program, quick, small, table
from tests.support.slow import few

__all__ = ["quick"]  # a fixture, used by every test here

TINY = Effort(
    rows=40, evidence_rows=9, samples=30, trusted_rows=9, trusted_samples=40, refined_rows=4,
    refine_steps=30, annealed_rows=2, temperatures=5, chains=2, sampled_rows=1, nuts_draws=6,
    simulations=20, replications=5, estimates=4, particles=(1, 2), kept_rows=3, kept_draws=5,
    climbed_steps=6, climbed_rows=9, climbed_draws=2,
)  # fmt: skip


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few data and draws for every figure, and no pictures, which take half of the time."""
    monkeypatch.setattr("ppvae.diagnostics.effort.QUICK", TINY)
    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    monkeypatch.setattr("ppvae.diagnostics.evidence.annealing.PILOT_WARM_UP", 2)
    monkeypatch.setattr("ppvae.diagnostics.evidence.annealing.PILOT_TEMPERATURES", 4)


def affine(tmp_path: Path, **settings: Any) -> Run:
    """A fit of a linear-Gaussian program, whose log p(x) is known."""
    flat = {"class_path": "MLP", "init_args": {"hidden": []}}
    chosen: dict[str, Any] = {"decoder": flat, "encoder": flat, "lr": 3e-2, "epochs": 8}
    return small(tmp_path, batch_size=8, **(chosen | settings))


def look(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "diagnostics.json").read_text())
    return record


@pytest.mark.slow
def test_a_diagnosis_leaves_its_pictures_in_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.run.figures.save", save)
    run = affine(tmp_path)
    main([str(run.path), "--quick"])
    for picture in (run.path / "figures").glob("*.png"):
        with Image.open(picture) as image:
            image.verify()
    drawn = {p.stem for p in (run.path / "figures").glob("*.png")}
    assert {
        "budget", "kl_by_dimension", "surgery", "bound_curve", "sandwich", "gaps", "reliability",
        "worst_data", "posterior", "calibration", "predictive", "estimators",
    } <= drawn  # fmt: skip


def test_a_diagnosis_answers_all_and_leaves_it_in_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = affine(tmp_path)
    before = {p: p.read_bytes() for p in run.path.rglob("[!.]*") if p.is_file()}
    state = torch.get_rng_state()
    main([str(run.path), "--quick"])
    assert torch.equal(state, torch.get_rng_state())
    assert all(path.read_bytes() == content for path, content in before.items())

    record = look(run.path)
    assert set(record["answers"]) == set(QUESTIONS)
    assert record["not_answered"] == []
    assert record["settings"]["quick"] is True
    answers = record["answers"]
    terms = answers["bound"]
    assert terms["elbo"]["value"] == pytest.approx(
        -terms["distortion"]["value"] - terms["rate"]["value"]
    )
    assert terms["bits_per_dim"]["value"] == pytest.approx(
        -terms["elbo"]["value"] / (3 * math.log(2))
    )
    test = run.data().test
    assert terms["active_units"]["z"] == active_units(embed(run.pair, run.audit, test).loc["z"])
    # The parts of the gap are of the same data, and add up.
    gap = answers["gap"]
    assert gap["total_gap"]["value"] == pytest.approx(
        gap["approximation_gap"]["value"] + gap["amortization_gap"]["value"], abs=1e-5
    )
    # Each has the numbers of data and draws.
    nuts, model = answers["trust"]["nuts"], answers["model"]
    assert (nuts["chains"], nuts["draws"], nuts["warmup"]) == (2, 6, 6)
    assert (gap["rows"], gap["draws"], gap["steps"]) == (4, 1000, 30)
    assert model["replications"] == 5
    # log p(x) is known, and importance sampling and annealing are estimates of it.
    evidence = answers["evidence"]
    assert evidence["importance_sampled"]["value"] == pytest.approx(
        evidence["exact"]["value"], abs=0.1
    )
    assert any("known exactly" in sentence for sentence in record["sentences"])
    # The gain of more samples of some data is separate, and included in the sum.
    further = evidence["further"]
    assert (further["samples"], further["rows"]) == (40, 9)
    assert evidence["log_p"]["value"] == pytest.approx(
        evidence["importance_sampled"]["value"] + further["value"]
    )
    assert evidence["annealed_less_importance_sampled"]["samples"] == 40
    assert any(
        "(30 samples per datum, 9 data; 40 for 9 of them)" in sentence
        for sentence in record["sentences"]
    )
    tree = xarray.open_datatree(run.path / "posterior.nc", engine="h5netcdf")
    assert tree["posterior"]["z"].sizes == {"chain": 4, "draw": 5, "data": 3, "z_dim": 2}
    assert "prior_sbc" in tree.children
    assert "log_likelihood" not in tree.children
    tree.close()

    said = capsys.readouterr().out
    for word in ("What is log p(x)?", "Where nats are lost", "Verdict", "diagnostics.json"):
        assert word in said
    for sentence in record["sentences"]:
        assert in_flags(sentence) in said.replace("\n", " ")
    printed = " ".join(said.split())
    assert "2 chains of 6 draws, after 6 to warm up" in printed
    assert "4 data, 1,000 draws each, 30 steps to the best guide" in printed
    assert "in 5 sets, p" in printed


@pytest.mark.slow
def test_the_answer_is_a_function_of_the_seed(tmp_path: Path) -> None:
    run = affine(tmp_path)
    some: dict[str, Any] = {"quick": True, "only": ["evidence", "trust"]}
    one = diagnose(run, out=tmp_path / "one", **some)
    torch.rand(5)
    two = diagnose(run.path, out=tmp_path / "two", **some)
    some["only"] = ["evidence"]
    other = diagnose(run.path, out=tmp_path / "other", seed=1, **some)
    assert isinstance(one, Diagnosis)

    def answers(folder: str) -> Any:
        return look(tmp_path / folder)["answers"]

    assert answers("one") == answers("two")
    assert answers("one")["evidence"] != answers("other")["evidence"]
    assert two.rows == other.rows == 9


def test_one_question_alone(tmp_path: Path) -> None:
    run = small(tmp_path)
    found = diagnose(run.path, quick=True, only="gap")
    assert list(found.answers) == ["gap"]
    text = f"{found}\n{found.answers['gap']}"
    assert text.startswith(f"Diagnosis of test data, {found.rows} rows, nats per datum\n")
    assert found.verdict.sentences[0] in text
    assert "\namortization gap " in text
    assert "tensor" not in text
    assert found.path == run.path / "diagnostics-gap"  # a full diagnosis is kept
    assert list(look(found.path)["answers"]) == ["gap"]
    assert not (found.path / "posterior.nc").exists()
    with pytest.raises(InputError, match=r"diagnostics.json exists already.*`overwrite=True`"):
        diagnose(run.path, quick=True, only=["gap"])
    diagnose(run.path, quick=True, only=["gap"], seed=1, overwrite=True)
    assert look(found.path)["settings"]["seed"] == 1
    with pytest.raises(InputError, match=r"`only` is .*evidense.*did you mean evidence"):
        diagnose(run.path, only=["evidense"])
    with pytest.raises(InputError, match="`samples` is 0"):
        diagnose(run.path, samples=0)


def test_new_data_and_other_parts_have_folders_of_their_own(tmp_path: Path) -> None:
    run = small(tmp_path)
    np.save(tmp_path / "new.npy", table(rows=12, seed=5))
    some: dict[str, Any] = {"quick": True, "only": ["bound", "training"]}
    new = diagnose(run.path, data=tmp_path / "new.npy", **some)
    assert new.path == run.path / "diagnostics-new-bound-training"
    assert (new.rows, new.data) == (12, "new")
    assert look(new.path)["settings"]["data"] == "new"
    train = diagnose(run.path, split="train", **some)
    assert train.path == run.path / "diagnostics-train-bound-training"
    assert "it needs training data" in train.answers["bound"].refusals["another prior"]
    assert not (run.path / "diagnostics.json").exists()
    (tmp_path / "x.npy").unlink()  # the training data, which new data do not need
    again = diagnose(run.path, data=tmp_path / "new.npy", overwrite=True, **some)
    assert "another prior" in again.answers["bound"].refusals


def test_a_point_mass_is_told_what_it_has_and_what_not(tmp_path: Path) -> None:
    run = small(tmp_path, guide="Delta", beta=0.0)
    found = diagnose(run.path, quick=True)
    record = look(run.path)
    assert "elbo" not in record["answers"]["bound"]
    assert record["answers"]["bound"]["distortion"]["value"] > 0
    assert "annealed" in record["answers"]["evidence"]  # log p(x) of the model
    refused = [each["part"] for each in record["not_answered"]]
    for what in ("importance sampling", "gaps", "Pareto k-hat", "calibration"):
        assert what in refused
    assert any("point mass" in sentence for sentence in found.verdict.sentences)
    assert (run.path / "posterior.nc").is_file()


@pytest.mark.slow
def test_programs_of_ones_own_with_several_latents(tmp_path: Path) -> None:
    import pyro
    import pyro.distributions as dist
    from torch import nn

    encoder, decoder = nn.Linear(3, 6), nn.Linear(3, 3)

    def model(x: torch.Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("rows", len(x)):
            u = pyro.sample("u", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            v = pyro.sample("v", dist.Normal(0.0, 1.0))
            loc = decoder(torch.cat([u, v[..., None]], -1)).tanh()
            pyro.sample("obs", dist.Normal(loc, 0.5).to_event(1), obs=x)

    def guide(x: torch.Tensor) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("rows", len(x)):
            loc, scale = encoder(x).chunk(2, -1)
            pyro.sample("u", dist.Normal(loc[..., :2], scale[..., :2].exp()).to_event(1))
            pyro.sample("v", dist.Normal(loc[..., 2], scale[..., 2].exp()))

    run = small(
        tmp_path, model=model, guide=guide, likelihood=..., decoder=..., encoder=..., epochs=6
    )
    found = diagnose(run, quick=True)
    refused = {name: answer.refusals for name, answer in found.answers.items() if answer.refusals}
    assert refused.keys() == {"deficits"}  # the parts of a user's own code are unknown
    record = look(run.path)
    (kept,) = record["answers"]["deficits"]["parts"]
    assert kept["part"] == "optimization"
    known = {each.part for each in found.verdict.deficits if each.along is None}
    assert known == {"guide", "encoder", "prior", "overfitting"}
    assert set(record["answers"]["bound"]["active_units"]) == {"u", "v"}
    assert "exact" not in record["answers"]["evidence"]


def test_a_latent_that_all_data_share_leaves_what_can_be_said(tmp_path: Path) -> None:
    import pyro
    import pyro.distributions as dist
    from torch import nn

    encoder = nn.Linear(3, 2)

    def model(x: torch.Tensor) -> None:
        shift = pyro.sample("shift", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z[..., None] + shift, 0.5).to_event(1), obs=x)

    def guide(x: torch.Tensor) -> None:
        loc = pyro.param("loc", torch.zeros(3))
        pyro.sample("shift", dist.Normal(loc, 0.1).to_event(1))
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            h = encoder(x)
            pyro.sample("z", dist.Normal(h[..., 0], h[..., 1].exp()))

    run = small(tmp_path, model=model, guide=guide, likelihood=..., decoder=..., encoder=...)
    found = diagnose(run, quick=True)
    record = look(run.path)
    assert set(record["answers"]["bound"]["kl"]) == {"shift", "z"}
    assert "importance_sampled" not in record["answers"]["evidence"]
    assert "estimator" in record["answers"]
    assert any("shared by all data" in each["reason"] for each in record["not_answered"])
    assert found.verdict.sentences


def test_a_collapsed_run_is_told_so_and_how_to_mend_it(tmp_path: Path) -> None:
    run = small(tmp_path, beta=100.0, epochs=12, lr=3e-2, batch_size=8)
    found = diagnose(run.path, quick=True, only=["bound"])
    (said,) = [s for s in found.verdict.sentences if "collapse" in s]
    for remedy in ("`warm_up`", "free bits", "another prior"):
        assert remedy in said
    active = look(found.path)["answers"]["bound"]["active_units_by_threshold"]
    assert [each["active_units"]["z"] for each in active if each["threshold"] == 0.01] == [0]


@pytest.mark.slow
def test_other_data_are_not_called_overfitting(tmp_path: Path) -> None:
    run = small(tmp_path, epochs=6)
    np.save(tmp_path / "far.npy", table(rows=30, seed=5) + 5)
    found = diagnose(run.path, data=tmp_path / "far.npy", quick=True, only=["training", "deficits"])
    assert not any("overfitting" in each.part for each in found.verdict.deficits)
    assert any("the data differ" in sentence for sentence in found.verdict.sentences)
    own = diagnose(run.path, quick=True, only=["training", "deficits"])
    assert any("overfitting" in each.part for each in own.verdict.deficits)


def test_a_second_diagnosis_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    run = small(tmp_path)
    out = tmp_path / "out"
    diagnose(run, quick=True, only=["bound"], out=out)
    (out / "figures").mkdir(exist_ok=True)
    (out / "figures" / "surgery.png").touch()
    (out / "figures" / "mine.png").touch()
    (out / "posterior.nc").touch()
    diagnose(run, quick=True, only=["model"], out=out, overwrite=True)
    left = {path.name for path in out.rglob("*") if path.is_file()}
    assert left == {"diagnostics.json", "mine.png"}
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file; give a folder"):
        diagnose(run, quick=True, only=["model"], out=tmp_path / "file", overwrite=True)


@pytest.mark.slow
def test_a_single_datum_is_given_no_errors_and_no_significant_deficit(tmp_path: Path) -> None:
    run = small(tmp_path, epochs=6)
    np.save(tmp_path / "one.npy", table(rows=1, seed=5))
    found = diagnose(run.path, data=tmp_path / "one.npy", quick=True, only=["evidence", "gap"])
    assert not any(each.is_significant for each in found.verdict.deficits)
    sampled = look(found.path)["answers"]["evidence"]["importance_sampled"]
    assert sampled["standard_error"] is None


def test_answers_are_not_lost_where_draws_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.arviz.sizes.LIMIT", 1)
    ask = questions.ask_questions
    monkeypatch.setattr(
        questions, "ask_questions", lambda context, _, *more: ask(context, ["bound"], *more)
    )
    run = small(tmp_path)
    diagnose(run, quick=True)
    record = look(run.path)
    assert "draws" in record["no_posterior"]
    assert record["answers"]["bound"]["elbo"]["value"] < 0


def test_a_diagnosis_that_is_stopped_has_shown_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setitem(questions.QUESTIONS, "evidence", stopped)
    run = small(tmp_path)
    capsys.readouterr()
    with pytest.raises(KeyboardInterrupt):
        main([str(run.path), "--quick", "--device", "cpu"])
    said = capsys.readouterr().out
    assert "nats per datum, +- one standard error" in said
    assert "elbo" in said


# Mistakes


@pytest.mark.parametrize(
    ("flags", "sentence"),
    few(
        [
            (["nowhere"], "there is no run nowhere"),
            (
                ["{run}", "--only", "gaps"],
                "deficits (did you mean gap?)",
            ),
            (["{run}", "--data", "nothing.npy"], "nothing.npy"),
            (["{run}", "--split", "testing"], "split"),
            (["{run}", "--samples", "-3"], "`samples` is -3"),
            (["{run}", "--data", "x.npy", "--split", "train"], "`data` gives others"),
            (["{run}", "--checkpoint", "step-1"], "no checkpoint 'step-1'"),
        ],
        2,
    ),
)
def test_mistakes_are_one_sentence(tmp_path: Path, flags: list[str], sentence: str) -> None:
    run = small(tmp_path)
    with pytest.raises(InputError) as told:
        main([flag.format(run=run.path) for flag in flags])
    assert sentence in str(told.value)
    assert not (run.path / "diagnostics.json").exists()


def test_a_function_given_in_python_is_examined_too(tmp_path: Path) -> None:
    """A model with no network, whose distribution of x is only broadcast to the shape of x."""
    run = small(tmp_path, model=program, likelihood=..., decoder=...)
    found = diagnose(run, quick=True, only=["evidence", "model"])
    assert "exact" in found.answers["evidence"].metrics
    for question, what in (("evidence", "sandwich"), ("model", "predictive check")):
        assert "broadcast" in found.answers[question].refusals[what]
