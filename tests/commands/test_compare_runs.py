"""Comparison of runs: measurements, grouping of seeds, files and refusals."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ppvae.compare import compare, compare_runs, main
from ppvae.comparison.held_out import measuring
from ppvae.data import as_split
from ppvae.diagnostics import decompose, log_evidence
from ppvae.errors import InputError
from ppvae.run import Run
from tests.support.fits import program, quick, rewrite_config, small, small_copy
from tests.support.pages import HOSTILE, Page, cells

__all__ = ["quick"]  # a fixture, used by every test here

QUICK: dict[str, Any] = {"samples": 20, "device": "cpu"}


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Two seeds of one setting, and another setting between them."""
    return [
        small_copy(tmp_path, "wide-0"), small_copy(tmp_path, "narrow", latent_dim=1, epochs=3),
        small_copy(tmp_path, "wide-1", seed=1),
    ]  # fmt: skip


@pytest.mark.slow
def test_seeds_are_one_row_and_figures_are_those_of_log_evidence(
    three: list[Path], tmp_path: Path
) -> None:
    runs = [Run(path) for path in three]
    states = [{k: v.clone() for k, v in run.pair.state_dict().items()} for run in runs]
    random = torch.get_rng_state()
    result = compare(runs, **QUICK, out=tmp_path / "c")
    assert torch.equal(torch.get_rng_state(), random)
    rows = {row.name: row for row in result.rows}
    assert set(rows) == {"wide (2 seeds)", "narrow"}
    assert rows["narrow"].settings == {"latent_dim": "1", "epochs": "3"}
    assert rows["wide (2 seeds)"].settings == {"latent_dim": "2", "epochs": "2"}
    assert [run.seed for run in rows["wide (2 seeds)"].runs] == [0, 1]
    found = {run.path: run for row in result.rows for run in row.runs}
    for run, state in zip(runs, states, strict=True):
        test = run.data().test
        again = log_evidence(run.pair, run.audit, test, samples=20)
        torch.testing.assert_close(found[run.path].log_p, again.log_p.double())
        assert found[run.path].elbo.mean == pytest.approx(again.elbo.mean().item(), abs=0.5)
        assert found[run.path].parameters == run.resolved["parameters"]
        assert run.summary is not None
        assert found[run.path].seconds == run.summary["seconds"]
        assert all(torch.equal(v, state[k]) for k, v in run.pair.state_dict().items())
    means = [row.log_p.mean for row in result.rows]
    assert means == sorted(means, reverse=True)
    assert result.count == len(runs[0].data().test)
    assert result.measure == "density"
    other = next(row for row in result.rows if row is not result.best)
    assert other.difference.mean == pytest.approx(other.log_p.mean - result.best.log_p.mean)


def test_the_folder_holds_numbers_a_figure_and_a_page(
    three: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c"
    words = [*map(str, three[:1]), "--samples", "20", *map(str, three[1:]), "--out", str(out)]
    main([*words, "--device", "cpu", "--rows", "7"])
    told = " ".join(capsys.readouterr().out.split())
    record = json.loads((out / "comparison.json").read_text())
    assert record["kind"] == "held-out"
    assert record["rows"] == 7
    assert " ".join(record["sentence"].split()) in told
    lines = (out / "log_p.csv").read_text().splitlines()
    assert len(lines) == 1 + 7
    by_run = {run["path"]: run for row in record["compared"] for run in row["runs"]}
    assert set(by_run) == set(map(str, three))
    columns = [name.strip('"') for name in lines[0].split(",")]
    values = np.array([line.split(",") for line in lines[1:]], dtype=float).mean(0)
    for name, value in zip(columns, values, strict=True):
        assert by_run[name]["log_p"]["mean"] == pytest.approx(value, abs=1e-5)
    assert (out / "figures" / "compare.png").stat().st_size > 10_000

    page = Page(out / "compare.html")
    ids = [attrs["id"] for attrs in page.all("section")]
    assert ids == ["glance", "verdict", "settings", "runs"]
    assert "highest held-out log p(x)" in page.says("glance")
    for tag, attrs in page.tags:
        for name in ("src", "href"):
            assert attrs.get(name, "#").startswith(("#", "data:")), (tag, attrs[name][:80])
    assert all(attrs["alt"].strip() for attrs in page.all("img"))
    assert [row[0] for row in cells(page, "Figures of each run")[1:]] == columns
    words_of_page = re.sub(r"base64,[^\"]*", "", page.text).split("</style>")[1]
    assert not re.search(r"\bloo\b|leave-one-out", f"{words_of_page} {told}", re.IGNORECASE)

    with pytest.raises(InputError, match="overwrite=True"):
        main(words)


def test_new_rows_are_compared_on_alike_and_a_frame_is_for_arviz(
    three: list[Path], tmp_path: Path
) -> None:
    rows = as_split(torch.zeros(9, 3))
    result = compare_runs(three, rows, **QUICK, out=tmp_path / "c")
    assert result.count == 9
    assert result.data == "given"
    import arviz

    frame = result.to_frame()
    assert frame.attrs["kind"] == "held-out"
    assert list(frame.index) == [row.name for row in result.rows]
    collection = arviz.plot_compare(frame, backend="none")
    assert collection is not None
    assert frame["mlpd_diff"].iloc[0] == 0
    assert (frame["mlpd_diff"] <= 0).all()


def test_few_rows_have_many_draws_each(
    three: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws: list[int] = []

    def counted(*args: Any, **given: Any) -> Any:
        draws.append(given["draws"])
        return decompose(*args, **given)

    monkeypatch.setattr(measuring, "decompose", counted)
    result = compare_runs(three[:2], **QUICK, out=tmp_path / "c")
    assert all(count * result.count >= measuring.ALL_DRAWS for count in draws)
    assert len(draws) == 2


@pytest.mark.slow
def test_rows_of_training_are_not_called_held_out(three: list[Path], tmp_path: Path) -> None:
    result = compare_runs(three, split="train", **QUICK, out=tmp_path / "c")
    assert "the highest training log p(x)" in result.sentence
    assert result.to_frame().attrs["kind"] == "training"
    page = Page(tmp_path / "c" / "compare.html")
    assert "held-out" not in (page.says("glance") + page.says("verdict")).lower()


def test_runs_of_python_objects_are_never_seeds_of_each_other(tmp_path: Path) -> None:
    runs = [
        small(
            tmp_path, name, model=program, guide=program_guide, likelihood=..., decoder=...,
            encoder=..., seed=seed,
        )
        for name, seed in (("one-0", 0), ("one-1", 1))
    ]  # fmt: skip
    result = compare(runs, **QUICK, out=tmp_path / "c")
    assert len(result.rows) == 2
    assert "ppvae.compare" not in Page(tmp_path / "c" / "compare.html").text


def program_guide(x: torch.Tensor) -> None:
    import pyro
    import pyro.distributions as dist

    weight = pyro.param("weight", torch.full((3, 2), 0.1))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x @ weight, 0.7).to_event(1))


def test_a_hostile_name_is_only_text(tmp_path: Path) -> None:
    runs = [small_copy(tmp_path, HOSTILE.replace("/", "")), small_copy(tmp_path, "b", latent_dim=1)]
    compare(runs, **QUICK, out=tmp_path / "c")
    assert "<img src=x" not in (tmp_path / "c" / "compare.html").read_text()


def unfinished(run: Path) -> Path:
    (run / "summary.json").unlink()
    return run


def damaged(run: Path) -> Path:
    step = (run / "checkpoints" / "best").read_text().strip()
    weights = run / "checkpoints" / step / "tensors.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    return run


def rescaled(run: Path) -> Path:
    rewrite_config(run, lambda config: config["run"]["data"].update(scaling={"kind": "as-is"}))
    return run


def standardized_otherwise(run: Path) -> Path:
    def change(config: dict[str, Any]) -> None:
        config["run"]["data"]["scaling"]["loc"][0] += 1.0

    rewrite_config(run, change)
    return run


def of_other_data(run: Path) -> Path:
    def change(config: dict[str, Any]) -> None:
        config["run"]["data"]["fingerprint"]["sha256"] = 64 * "0"

    rewrite_config(run, change)
    return run


REFUSALS: dict[str, tuple[Callable[[Path], list[Path]], str]] = {
    "alone": (lambda f: [small_copy(f, "a")], r"only .*a is given.*`run='.*a'`"),
    "none": (lambda f: [], "there is no run: give two"),
    "twice": (lambda f: [small_copy(f, "a"), f / "b" / ".." / "a"], "a is given twice"),
    "nowhere": (lambda f: [small_copy(f, "a"), f / "nowhere"], "there is no run"),
    "unfinished": (
        lambda f: [small_copy(f, "a"), unfinished(small_copy(f, "b", latent_dim=1))],
        "the fit of .*b has not finished.*resume",
    ),
    "damaged": (
        lambda f: [small_copy(f, "a"), damaged(small_copy(f, "b", latent_dim=1))], "b/.*damaged"
    ),
    "a point mass": (
        lambda f: [small_copy(f, "a"), small_copy(f, "b", guide="Delta", beta=0.0)],
        "the guide of .*b is a point mass",
    ),
    "another scaling": (
        lambda f: [small_copy(f, "a"), rescaled(small_copy(f, "b"))],
        "a and .*b are scaled differently .*standardized.*values as they are",
    ),
    "other means": (
        lambda f: [small_copy(f, "a"), standardized_otherwise(small_copy(f, "b"))],
        r"training rows, by different means and deviations\), .* or fit both to the same data$",
    ),
    "other data": (
        lambda f: [small_copy(f, "a"), of_other_data(small_copy(f, "b"))],
        "a and .*b were fitted to different data.*x.npy.*x.npy",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_cannot_be_compared_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    make, sentence = REFUSALS[kind]
    runs = make(tmp_path)
    with pytest.raises(InputError, match=sentence):
        compare(runs, **QUICK, out=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def bits(folder: Path) -> Path:
    path = folder / "bits.npy"
    np.save(path, np.random.default_rng(0).integers(0, 2, (60, 4)).astype(np.float32))
    return path


def test_a_density_is_not_compared_with_a_probability(tmp_path: Path) -> None:
    common: dict[str, Any] = {"data": bits(tmp_path), "scale": "none"}
    a = small(tmp_path, "a", **common, likelihood="Bernoulli")
    b = small(tmp_path, "b", **common, likelihood="Gaussian")
    with pytest.raises(InputError, match=r"a and .*b have different measures, a prob"):
        compare([a, b], **QUICK)


def test_other_binarizations_are_not_compared(tmp_path: Path) -> None:
    common: dict[str, Any] = {"data": "digits", "likelihood": "Bernoulli", "epochs": 1}
    a, b = (small(tmp_path, how, **common, binarize=how) for how in ("threshold", "static"))
    with pytest.raises(InputError, match="'threshold' and 'static'"):
        compare([a, b], **QUICK)


def test_flags_of_the_other_comparison_are_refused(three: list[Path]) -> None:
    with pytest.raises(InputError, match="--epochs belongs to a comparison of two bounds"):
        main([*map(str, three), "--epochs", "3"])
    with pytest.raises(InputError, match="--samples belongs to a comparison of runs"):
        main(["--samples", "3"])
