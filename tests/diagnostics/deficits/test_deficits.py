"""Gains of other parts, on probabilistic PCA with one deliberately bad part: known losses."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor

from ppvae.data import as_split
from ppvae.diagnostics.deficits.answer import _longer
from ppvae.diagnostics.deficits.climbing import Climb
from ppvae.diagnostics.deficits.fitted import Fitted
from ppvae.diagnostics.deficits.measuring import (
    Deficits,
    Measured,
    Scores,
    _Measuring,
    deficits,
)
from ppvae.errors import InputError
from ppvae.guides import Delta, MeanField
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.programs import Pair
from tests.support.pca import AFFINE, PCA, affine, pca

ROWS = 1_500
"""Numbers of data: 1,000 training, 250 validation and 250 examined."""


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small added networks, which suffice for these data."""
    monkeypatch.setattr("ppvae.diagnostics.deficits.beside.HIDDEN", (16,))


def measured(
    known: PCA, *parts: str, steps: int = 120, lr: float = 2e-2, beta: float = 1.0
) -> dict[str, Measured]:
    found = measure(known, *parts, steps=steps, lr=lr, beta=beta)
    assert found.refusals == {}
    return {each.part: each for each in found.measured}


def measure(known: PCA, *parts: str, steps: int, lr: float, beta: float = 1.0) -> Deficits:
    train, valid, examined = (as_split(known.x[rows]) for rows in parted(ROWS))
    fitted = Fitted(known.pair, known.facts, {"x": known.x[:8]}, TraceMeanField_ELBO, 1, {})
    climb = Climb(train, valid, steps, lr, batch_size=200, choices=4)
    return deficits(
        fitted, climb, examined, beta=beta, draws=20, slow=False, longer="`epochs=60`", parts=parts
    )


def parted(rows: int) -> tuple[slice, slice, slice]:
    return slice(0, rows - 500), slice(rows - 500, rows - 250), slice(rows - 250, rows)


def test_of_the_exact_posterior_and_the_true_model_nothing_is_to_be_won() -> None:
    found = measured(pca(rows=ROWS), "decoder", "encoder", "guide", "latents", steps=12)
    assert {each: abs(m.along.mean) < 0.05 for each, m in found.items()} == dict.fromkeys(
        found, True
    )


@pytest.mark.slow
def test_a_rotated_basis_is_the_guides_loss_by_its_closed_form() -> None:
    known = pca(rows=ROWS, rotated=True, variance=0.1)
    m = known.precision
    gap = float(m.diagonal().log().sum() - torch.logdet(m)) / 2
    assert gap > 0.2
    known.pair.model.requires_grad_(False)  # which could turn the basis
    guide = measured(known, "guide", steps=80)["guide"]
    assert guide.name == "FullRank"
    assert guide.along.mean == pytest.approx(gap, abs=0.1 * gap + 4 * guide.along.standard_error)
    assert guide.log_p is None


def test_a_shifted_encoder_is_amortization() -> None:
    """More steps gain nothing if all other parts are fixed."""
    known = pca(rows=ROWS, shift=0.5)
    scale = known.precision.diagonal().rsqrt()
    off = known.posterior_loc + 0.5
    lost = float(known.kl(off, scale).mean())
    known.pair.requires_grad_(False)
    encoder = measured(known, "encoder", steps=80)["encoder"]
    assert encoder.along.mean == pytest.approx(lost, rel=0.2)
    assert encoder.held is not None
    assert 0 < encoder.held.mean <= encoder.along.mean + 0.05


@pytest.mark.slow
def test_weights_that_were_not_trained_are_the_optimizations_loss_and_no_other_parts() -> None:
    known = pca(rows=ROWS, shift=0.5)
    lost = float(known.kl(known.posterior_loc + 0.5, known.precision.diagonal().rsqrt()).mean())
    found = measured(known, "encoder", "decoder", steps=80)
    assert found["optimization"].along.mean == pytest.approx(lost, rel=0.2)
    for part in ("encoder", "decoder"):
        assert found[part].along.mean < 0.2 * lost


def test_of_a_fit_that_is_far_from_converged_a_part_that_wins_nothing_comes_out_at_nothing() -> (
    None
):
    """All parts are trained for as many steps as the programs that they are compared with."""
    found = measured(pca(rows=ROWS, shift=3.0), "guide", steps=40, lr=1e-2)
    won = found["optimization"].along.mean
    assert won > 5
    wanted = "`epochs=60` (measured with 40 more steps), then a larger `lr`"
    assert found["optimization"].remedy == wanted
    assert abs(found["guide"].along.mean) < 0.01 * won  # 0.14 with 3/4 of the steps


def test_the_error_of_a_gain_has_the_spread_of_two_trainings_in_it() -> None:
    found = measure(pca(rows=ROWS, shift=0.5), "encoder", steps=12, lr=1e-2)
    assert found.spread > 0
    for each in found.measured:
        assert each.along.standard_error > found.spread


def test_a_score_that_is_not_finite_is_refused_with_the_number_of_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = _Measuring.scores

    def overflowing(self: _Measuring, fitted: Fitted) -> Scores:
        found = scores(self, fitted)
        found.bound[-3:] = -torch.inf
        return found

    monkeypatch.setattr(_Measuring, "scores", overflowing)
    found = measure(pca(rows=ROWS), "decoder", steps=2, lr=1e-2)
    assert not found.measured
    assert found.refusals.keys() == {"optimization", "decoder"}
    for why in found.refusals.values():
        assert "3 of 250 examined data is not finite" in why


def test_a_likelihood_starts_from_rows_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorted files."""
    seen: list[Tensor] = []

    def none(_: Any, batch: Any, *__: Any) -> list[Any]:
        seen.append(batch["x"])
        raise InputError("none")

    monkeypatch.setattr("ppvae.diagnostics.deficits.measuring.STARTED", 20)
    monkeypatch.setattr("ppvae.diagnostics.deficits.measuring.likelihoods", none)
    known = pca(rows=ROWS)
    assert measure(known, "likelihood", steps=1, lr=1e-2).refusals == {"likelihood": "none"}
    (rows,) = seen
    assert len(rows) == 20
    assert not torch.equal(rows, known.x[:20].to(rows))


def test_a_prior_of_another_scale_is_the_priors_loss() -> None:
    """N(0, s^2 I) instead of N(0, I) as the prior, with decoder and true posterior fixed."""
    known = pca(rows=ROWS)
    scale = 0.4
    model = known.pair.program("model")
    assert isinstance(model, VAE)
    assert isinstance(model.prior, StandardNormal)
    model.prior.scale.fill_(scale)
    known.pair.requires_grad_(False)
    prior = measured(known, "prior", steps=16)["prior"]
    # E log N(z; 0, 1) - log N(z; 0, s^2) at draws of q(z), which is N(0, I).
    lost = 2 * (torch.tensor(scale).log() + (scale**-2 - 1) / 2)
    assert prior.held is not None
    for found in (prior.held, prior.along):
        assert found.mean == pytest.approx(float(lost), rel=0.2)


def log_p(x: Tensor, w: Tensor, b: Tensor, variance: float) -> Tensor:
    covariance = w @ w.T + variance * torch.eye(len(b), dtype=w.dtype)
    exact: Tensor = torch.distributions.MultivariateNormal(b, covariance).log_prob(x)
    return exact


@pytest.mark.slow
def test_a_variance_that_is_wrong_is_the_likelihoods_loss() -> None:
    """A variance four times too large, with the model's posterior under it as the guide."""
    known = pca(rows=ROWS, variance=0.25)
    wrong = pca(rows=ROWS, variance=1.0)  # the same W and b
    wrong = replace(wrong, x=known.x)
    wrong.pair.model.decoder.requires_grad_(False)
    examined = known.x[parted(ROWS)[2]]
    best = log_p(examined, known.w, known.b, 0.25).mean()
    lost = float(best - log_p(examined, known.w, known.b, 1.0).mean())
    likelihood = measured(wrong, "likelihood", steps=120, lr=4e-2)["likelihood"]
    assert likelihood.along.mean == pytest.approx(lost, rel=0.25)
    assert likelihood.log_p is not None
    assert likelihood.log_p.mean == pytest.approx(lost, rel=0.25)


@pytest.mark.slow
def test_too_few_latents_lose_the_eigenvalue_that_they_leave_out() -> None:
    """One latent for data of two: the optimum is probabilistic PCA with one latent."""
    known = pca(rows=ROWS, variance=0.2)
    w, b = known.w[:, :1], known.b  # the first column has the largest eigenvalue
    one = from_pca(known, w, b)
    examined = known.x[parted(ROWS)[2]]
    lost = float((log_p(examined, known.w, b, 0.2) - log_p(examined, w, b, 0.2)).mean())
    found = measured(one, "latents", "decoder", steps=100, lr=4e-2)
    assert found["latents"].along.mean == pytest.approx(lost, rel=0.25)
    assert found["decoder"].along.mean < 0.5 * lost


def from_pca(known: PCA, w: Tensor, b: Tensor) -> PCA:
    """A model with other loadings and its exact posterior as the guide, for the same data."""
    latent, columns = w.shape[1], len(b)
    model = VAE(StandardNormal(latent), Gaussian((columns,), known.variance), AFFINE).double()
    guide = MeanField(latent, (columns,), AFFINE).double()
    m = torch.eye(latent, dtype=torch.float64) + w.T @ w / known.variance
    gain = torch.linalg.solve(m, w.T) / known.variance
    decoder, encoder = affine(model.decoder), affine(guide.encoder)
    with torch.no_grad():
        decoder.weight.copy_(w), decoder.bias.copy_(b)
        encoder.weight.zero_()
        encoder.weight[:latent] = gain
        encoder.bias[:latent] = -gain @ b
        encoder.bias[latent:] = 10 * (-m.diagonal().log() / 20).atanh()
    pair = Pair(model, guide, {"x": known.x[:8]})
    fitted = Fitted(pair, known.facts, {"x": known.x[:8]}, TraceMeanField_ELBO, 1, {}).again()
    return replace(known, pair=pair, facts=fitted.facts, w=w, b=b)


def test_beta_is_a_part_where_it_is_not_one() -> None:
    known = pca(rows=ROWS)
    found = measured(known, "decoder", beta=4.0, steps=20)
    assert list(found) == ["optimization", "beta", "decoder"]
    assert found["beta"].along.mean == pytest.approx(0, abs=0.05)


def test_the_programs_are_left_as_they_were_and_the_figures_a_function_of_the_seed() -> None:
    known = pca(rows=ROWS, rotated=True)
    before = {name: value.clone() for name, value in known.pair.state_dict().items()}
    parts = ("decoder", "likelihood", "guide")
    first = measure(known, *parts, steps=4, lr=1e-2)
    torch.rand(3)
    again = measure(known, *parts, steps=4, lr=1e-2)
    assert [each.along for each in first.measured] == [each.along for each in again.measured]
    after = known.pair.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(p.requires_grad for p in known.pair.parameters())


def test_a_point_mass_has_no_bound_to_raise() -> None:
    known = pca(rows=ROWS)
    guide = Delta(2, (4,), AFFINE).double()
    pair = Pair(known.pair.program("model"), guide, {"x": known.x[:8]})
    fitted: Any = Fitted(pair, known.facts, {"x": known.x[:8]}, TraceMeanField_ELBO, 1, {}).again()
    climb = Climb(as_split(known.x), as_split(known.x), 4, 1e-2)
    with pytest.raises(InputError, match="point mass"):
        deficits(fitted, climb, as_split(known.x))


@pytest.mark.parametrize(
    ("config", "gone", "wanted"),
    [
        ({"epochs": 400, "patience": 2}, 87, "a larger `patience`, such as `patience=10`"),
        ({"epochs": 400, "patience": 20}, 87, "a larger `patience`, such as `patience=40`"),
        ({"epochs": 400, "patience": 20}, 400, "`epochs=800`, twice as many"),
        ({"epochs": 400, "patience": None}, 400, "`epochs=800`, twice as many"),
        ({}, None, "twice the `epochs`"),
    ],
)
def test_a_longer_fit_is_of_more_patience_after_an_early_stop(
    config: dict[str, Any], gone: int | None, wanted: str
) -> None:
    run: Any = SimpleNamespace(config=config, summary=gone and {"epochs": gone})
    assert _longer(run) == wanted
