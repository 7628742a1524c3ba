"""A fit compared with baselines: paired by row, given the same y, or left out with a reason."""

import json
import math
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from ppvae.data import Data, Split, as_split, from_arrays
from ppvae.diagnostics import Baselines, Comparison, compare_baselines, log_evidence, subject
from ppvae.diagnostics.baselines.answer import ask, sentences_of
from ppvae.diagnostics.baselines.conditioning import by_class
from ppvae.diagnostics.baselines.fitted import Fitted, best
from ppvae.diagnostics.baselines.rows import Matrix, matrix
from ppvae.diagnostics.context import Context
from ppvae.diagnostics.effort import QUICK
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.guides import Delta, MeanField
from ppvae.models import (
    VAE,
    Bernoulli,
    ConditionalVAE,
    Gaussian,
    PerColumn,
    Poisson,
    StandardNormal,
)
from ppvae.networks.columns import Column
from ppvae.programs import Pair, Program
from ppvae.programs.facts import Audit
from tests.support.pca import AFFINE
from tests.support.penguins import COLUMNS, as_modelled, mixed_penguins


def model(x: Tensor) -> None:
    """Independent normals, which do not depend on z: log p(x) is known."""
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(torch.zeros(x.shape[1:]), 1.0).to_event(1), obs=x)


def guide(x: Tensor) -> None:
    scale = pyro.param("scale", torch.ones(()))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(torch.zeros(2), scale).to_event(1))


def table(rows: int = 300) -> np.ndarray:
    generator = np.random.default_rng(0)
    code = generator.normal(size=(rows, 1))
    return (code + 0.5 * generator.normal(size=(rows, 3))).astype(np.float32)


def asked(of: Program, by: Program, data: Data, test: Split | None = None) -> Baselines:
    test = data.test if test is None else test
    batch = test.take(torch.arange(len(test)))
    pair, audit, _ = subject(of, by, batch["x"], batch.get("y"), batch.get("mask"))
    return beside(pair, audit, data, test)


def beside(pair: Pair, audit: Audit, data: Data, test: Split) -> Baselines:
    log_p = None
    if audit.has_evidence:
        log_p = log_evidence(pair, audit, test, samples=4).log_p
    return compare_baselines(pair, audit, data, test, log_p, samples=4)


def test_a_program_of_ones_own_is_compared_row_by_row_with_scikit_learns_figures() -> None:
    data = from_arrays(table())
    found = asked(model, guide, data)
    assert list(found.compared) == ["independent", "pca", "normal", "mixture"]
    assert found.left_out == {}
    train, x = (s.take(torch.arange(len(s)))["x"] for s in (data.train, data.test))
    own = torch.tensor(PCA(2).fit(train.double()).score_samples(x.double()))
    difference = dist.Normal(0.0, 1.0).log_prob(x).sum(1) - own
    pca = found.compared["pca"]
    assert pca.log_p.mean == pytest.approx(float(own.mean()), abs=1e-6)
    assert pca.difference is not None
    assert pca.difference.mean == pytest.approx(float(difference.mean()), abs=1e-5)
    error = float(difference.std()) / math.sqrt(len(x))
    assert pca.difference.standard_error == pytest.approx(error, rel=1e-4)
    assert pca.is_better
    assert found.strongest is found.failures[0]


@pytest.mark.parametrize("x", [table(), table().round() + 3], ids=["real", "whole"])
def test_what_is_constant_in_training_is_left_out_on_both_sides(x: np.ndarray) -> None:
    padded = np.concatenate([x, np.full((len(x), 2), 2.0, np.float32)], 1)
    alone, found = (asked(model, guide, from_arrays(each)) for each in (x, padded))
    assert found.compared.keys() == alone.compared.keys()
    for name, each in found.compared.items():
        wanted = alone.compared[name]
        assert each.about == wanted.about
        assert each.log_p.mean == pytest.approx(wanted.log_p.mean, abs=1e-4), name
        assert each.difference is not None
        assert wanted.difference is not None
        # It contains neither the density of the prior nor that of the two columns.
        assert each.difference.mean == pytest.approx(wanted.difference.mean, abs=1e-3), name
    assert found.note.startswith("2 of 5 elements of x are constant in the training rows")
    assert alone.note == ""


def test_a_point_mass_is_beside_them_without_a_difference() -> None:
    of, by = VAE(StandardNormal(2), Gaussian((3,), variance=1.0), AFFINE), Delta(2, (3,), AFFINE)
    found = asked(of, by, from_arrays(table()))
    assert all(each.difference is None for each in found.compared.values())
    assert "point mass" in found.note
    assert found.strongest is None
    assert json.dumps(found.to_dict())


def test_missing_entries_are_left_to_baselines_that_take_them() -> None:
    x = table()
    mask = np.random.default_rng(1).random(x.shape) < 0.8
    of, by = (
        VAE(StandardNormal(2), Gaussian((3,), variance=1.0), AFFINE),
        MeanField(2, (3,), AFFINE),
    )
    found = asked(of, by, from_arrays(x, mask=mask))
    assert list(found.compared) == ["independent"]
    assert set(found.left_out) == {"pca", "normal", "mixture"}
    assert "missing" in found.left_out["pca"]
    binary = (x > 0).astype(np.float32)
    of, by = VAE(StandardNormal(2), Bernoulli((3,)), AFFINE), MeanField(2, (3,), AFFINE)
    found = asked(of, by, from_arrays(binary, mask=mask))
    assert list(found.compared) == ["independent", "mixture"]


def test_entries_that_are_missing_from_the_scored_rows_alone_are_missing() -> None:
    x = torch.tensor(table())
    mask = torch.rand(len(x), 3, generator=torch.Generator().manual_seed(0)) < 0.5
    of, by = VAE(StandardNormal(2), Gaussian((3,)), AFFINE), MeanField(2, (3,), AFFINE)
    data = from_arrays(x.numpy(), scale="none")
    found = asked(of, by, data, as_split(x.where(mask, 0), mask=mask))
    assert list(found.compared) == ["independent"]
    assert set(found.left_out) == {"pca", "normal", "mixture"}


def binomial(*trials: float) -> Program:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            fn = dist.Binomial(torch.tensor(trials), logits=z)
            pyro.sample("x", fn.to_event(1), obs=x)

    return model


def test_elements_that_end_apart_have_no_baseline_with_a_reason_and_one_end_has_two() -> None:
    generator = np.random.default_rng(0)
    apart = generator.binomial([5, 10], 0.5, (100, 2))
    found = asked(binomial(5.0, 10.0), guide, from_arrays(apart, scale="none"))
    assert not found.compared
    assert "5 or up to 10" in found.left_out["independent"]
    alike = from_arrays(generator.binomial(5, 0.5, (100, 2)), scale="none")
    assert set(asked(binomial(5.0, 5.0), guide, alike).compared) == {"independent", "histogram"}


def test_a_defect_of_a_baseline_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TypeError("a defect")

    monkeypatch.setattr("ppvae.diagnostics.baselines.applicable.fit_pca", broken)
    with pytest.raises(TypeError, match="a defect"):
        asked(model, guide, from_arrays(table()))


def test_counts_with_covariates_are_beside_elements_that_are_not_told_them() -> None:
    generator = np.random.default_rng(0)
    age = generator.normal(size=(100, 1)).astype(np.float32)
    data = from_arrays(generator.poisson(3.0, (100, 3)), age, scale="none")
    of = ConditionalVAE(StandardNormal(2), Poisson((3,)), AFFINE, 1)
    found = asked(of, MeanField(2, (3,), AFFINE, 1), data)
    assert list(found.compared) == ["independent"]
    assert found.independent is not None
    assert found.independent.about == "independent Poisson elements, without y"
    assert "covariates" in found.left_out["negative_binomial"]


def test_a_class_without_validation_rows_has_the_simplest_size() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(200, 2), torch.arange(200) % 2
    train = Matrix(x, None, y, torch.arange(200))
    valid = train.where(y == 0)
    tried: list[int] = []

    def fit(own: Matrix, other: Matrix) -> Fitted:
        tried.append(len(other))
        return best([Fitted(f"size {k}", partial(constant, k)) for k in (1.0, 2.0, 3.0)], other)

    def constant(value: float, rows: Matrix) -> Tensor:
        return torch.full((len(rows),), value)

    fitted = by_class(fit)(train, valid)
    assert tried == [100, 0]
    assert fitted.log_prob(train).tolist() == [3.0, 1.0] * 100


def test_why_a_fit_has_no_log_p_is_passed_on_and_read_from_a_summary() -> None:
    data = from_arrays(table())
    pair, audit, _ = subject(model, guide, data.test.take(torch.arange(9))["x"])
    found = compare_baselines(pair, audit, data, data.test, None, samples=4, reason="it is lost")
    assert found.note.endswith("it is lost")
    summary: dict[str, Any] = {
        "baselines": found.to_dict(), "baselines_left_out": {"pca": "so"},
        "baselines_note": found.note,
    }  # fmt: skip
    read = Baselines.of_summary(summary, "log p(x)")
    assert read.strongest is None
    assert (read.note, read.left_out) == (found.note, {"pca": "so"})
    summary["baselines_note"] = None
    of_no_number = Baselines.of_summary(summary, "log p(x)").strongest
    assert of_no_number is not None
    assert of_no_number.is_better


def test_a_tie_is_not_a_lead() -> None:
    def said(mean: float) -> str:
        one = Comparison("a", "A", "density", Estimate(0, 1), Estimate(mean, 0.11), 9)
        return sentences_of(Baselines("log p(x)", {"a": one}, {}))[0]

    assert "by -0.05 +- 0.11 nats, which is not significant" in said(-0.05)
    assert "leads it by 1.00 +- 0.11 nats." in said(1.0)


@pytest.mark.parametrize("examined", ["train", "valid", "test"])
def test_no_row_is_scored_that_fitted_a_baseline_or_chose_its_size(
    examined: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = from_arrays(table(), scale="none")
    pair, audit, _ = subject(model, guide, data.test.take(torch.arange(9))["x"])
    given: list[tuple[Data, Split]] = []

    def compare(
        _pair: Pair, _audit: Audit, data: Data, test: Split, *_: object, **__: object
    ) -> Any:
        given.append((data, test))
        return Baselines("log p(x)", {}, {})

    monkeypatch.setattr("ppvae.diagnostics.baselines.answer.compare_baselines", compare)
    run: Any = SimpleNamespace(path=Path("run"), scaling=data.scaling)  # and no `data()`
    answer = ask(
        Context(
            run, pair, audit, data.splits[examined], examined, True, None,
            None if examined == "train" else data.train, data.valid, QUICK, 0,
            torch.device("cpu"), lambda *_: nullcontext(lambda *_: None),
        )
    )  # fmt: skip
    if examined == "train":
        assert "rows that are examined" in answer.refusals["baselines"]
        return
    ((by, scored),) = given
    assert by.train is data.train
    rows = [
        {tuple(x) for x in s.take(torch.arange(len(s)))["x"].tolist()} for s in (by.valid, scored)
    ]
    assert not rows[0] & rows[1]
    assert rows[1] <= {
        tuple(x)
        for x in data.splits[examined].take(torch.arange(len(data.splits[examined])))["x"].tolist()
    }


def test_what_is_given_labels_or_covariates_is_beside_baselines_that_are_too() -> None:
    x, generator = table(150), np.random.default_rng(1)
    y = generator.integers(0, 3, len(x))
    of = ConditionalVAE(StandardNormal(2), Gaussian((3,), variance=1.0), AFFINE, 3)
    by = MeanField(2, (3,), AFFINE, 3)
    far = from_arrays(x + 10 * y[:, None].astype(np.float32), y)
    told = asked(of, by, far).compared
    untold = asked(model, guide, from_arrays(np.asarray(far.train.x))).compared  # type: ignore[attr-defined]  # kept in memory
    assert told["normal"].log_p.mean > untold["independent"].log_p.mean + 2
    assert "3 classes" in told["normal"].about

    age = generator.normal(size=(len(x), 1)).astype(np.float32)
    of = ConditionalVAE(StandardNormal(2), Gaussian((3,), variance=1.0), AFFINE, 1)
    by = MeanField(2, (3,), AFFINE, 1)
    plain = asked(model, guide, from_arrays(x, scale="none")).compared["normal"].log_p.mean
    given = asked(of, by, from_arrays(x + 5 * age, age, scale="none")).compared["normal"]
    assert given.log_p.mean == pytest.approx(plain, abs=0.3)
    assert "regression" in given.about


def test_whole_numbers_under_a_density_are_compared_with_counts_as_probabilities() -> None:
    counts = np.random.default_rng(0).poisson(3.0, (300, 3))
    found = asked(model, guide, from_arrays(counts, scale="none"))
    kinds = {name: each.measure for name, each in found.compared.items()}
    assert kinds["normal"] == "density"
    assert kinds["negative_binomial"] == kinds["histogram"] == "probability"
    assert found.compared["negative_binomial"].is_better


def test_rows_are_all_or_a_seeded_sample_and_fresh_noise_is_drawn_as_in_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grey = np.random.default_rng(0).random((300, 1, 4, 4)).astype(np.float32)
    data = from_arrays(grey, binarize="dynamic")
    rows = matrix(data.train, 0)
    assert len(rows) == 10_000 // len(data.train) * len(data.train)
    share = rows.x.reshape(-1, len(data.train), 16).mean(0)
    assert bool(((share > 0) & (share < 1)).any())
    assert torch.equal(rows.x, matrix(data.train, 0).x)
    monkeypatch.setattr("ppvae.diagnostics.baselines.rows.NUMBERS", 250 * 16)
    wide = from_arrays(np.random.default_rng(0).random((500, 16)).astype(np.float32))
    few = matrix(wide.train, 0).numbers
    assert len(few) == 250
    assert few.max() > 300
    assert not torch.equal(few, matrix(wide.train, 1).numbers)


def test_of_a_single_row_nothing_is_told_and_no_number_is_worse_than_any() -> None:
    def compared(mean: float, error: float) -> Comparison:
        return Comparison("normal", "", "density", Estimate(0, 1), Estimate(mean, error), 1)

    assert not compared(-9.0, math.nan).is_better
    assert not compared(9.0, math.nan).is_beaten
    assert compared(-9.0, 1.0).is_better
    assert not compared(-1.9, 1.0).is_better
    for mean in (math.nan, -math.inf):
        assert compared(mean, math.nan).is_better
    found = Baselines("log p(x)", {"a": compared(1.0, 0.1), "b": compared(math.nan, 0.1)}, {})
    assert found.strongest is found.compared["b"]


def test_what_does_not_observe_x_alone_and_whole_has_none() -> None:
    def other(x: Tensor) -> None:
        model(x)
        with pyro.plate("more", len(x)):
            pyro.sample("sum", dist.Normal(0.0, 1.0), obs=x.sum(-1))

    found = asked(other, guide, from_arrays(table()))
    assert not found.compared
    assert "'sum'" in found.left_out["independent"]


def test_columns_of_a_mixed_table_are_each_of_their_own_family() -> None:
    x, mask = as_modelled(mixed_penguins(600))
    data = from_arrays(x.numpy(), mask=mask.numpy(), scale="none")
    likelihood = PerColumn((len(COLUMNS),), COLUMNS, {"body_mass_g": "Laplace"})
    of, by = VAE(StandardNormal(2), likelihood, AFFINE), MeanField(2, (len(COLUMNS),), AFFINE)
    test = data.test.take(torch.arange(len(data.test)))
    pair, audit, _ = subject(of, by, test["x"], mask=test["mask"])
    found = beside(pair, audit, data, data.test)
    independent = found.compared["independent"]
    families = "Categorical, Normal, Laplace, NegativeBinomial"
    assert independent.about == f"independent columns of {families}"
    assert independent.measure == "density"
    train = data.train.take(torch.arange(len(data.train)))
    h = likelihood.fit_marginal(train["x"], train["mask"])
    assert h is not None
    each = likelihood(h.float()).base_dist.log_prob(test["x"])
    want = each.where(test["mask"], 0).sum(1).mean()
    assert independent.log_p.mean == pytest.approx(float(want.detach()), abs=0.05)
    assert {"pca", "normal", "mixture"} == found.left_out.keys()
    assert "columns of several families" in found.left_out["pca"]


def test_a_table_of_categories_alone_is_told_a_probability() -> None:
    columns = [Column(name, "category", tuple("uvw")) for name in "mq"]
    data = from_arrays(np.arange(120).reshape(60, 2) % 3, scale="none")
    of, by = VAE(StandardNormal(2), PerColumn((2,), columns), AFFINE), MeanField(2, (2,), AFFINE)
    test = data.test.take(torch.arange(len(data.test)))
    pair, audit, _ = subject(of, by, test["x"])
    assert beside(pair, audit, data, data.test).compared["independent"].measure == "probability"
