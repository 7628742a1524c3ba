"""A fit of real numbers starts at probabilistic PCA, whatever the guide or the likelihood."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from pyro.infer import Trace_ELBO
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from torch import Tensor

from ppvae.components.building import build_programs
from ppvae.components.initial_pca import GUIDES, LIKELIHOODS, start_at_pca
from ppvae.components.spec import Spec
from ppvae.data import load
from ppvae.guides import Delta, MeanField
from ppvae.models import VAE, Bernoulli, Gaussian, StandardNormal
from ppvae.networks import MLP
from ppvae.training.chosen_parts import part_of, suited_programs

LATENTS = 4


def table() -> Tensor:
    """Breast cancer: 569 rows of 30 standardized, correlated columns."""
    x = load_breast_cancer().data
    return torch.from_numpy((x - x.mean(0)) / x.std(0)).float()


def built(x: Tensor, mask: Tensor | None = None, latent_dim: int = LATENTS, **parts: Any) -> Any:
    networks = {
        name: Spec("MLP", {"hidden": [32], "shortcut": True}) for name in ("decoder", "encoder")
    }
    torch.manual_seed(0)
    return build_programs(
        {"likelihood": Spec("Gaussian"), **networks, **parts},
        latent_dim=latent_dim, data_shape=tuple(x.shape[1:]), examples=x, mask=mask,
    )  # fmt: skip


def bound(programs: Any, x: Tensor) -> float:
    torch.manual_seed(1)
    elbo = Trace_ELBO(num_particles=20, vectorize_particles=True, max_plate_nesting=1)
    return -float(elbo.loss(programs.model, programs.guide, x)) / len(x)


@pytest.mark.parametrize("guide", [each.__name__ for each in GUIDES])
def test_the_bound_of_one_variance_starts_at_the_log_density_of_pca(guide: str) -> None:
    x = table()
    started = bound(built(x, guide=Spec(guide)), x)
    known = float(PCA(LATENTS).fit(x.double().numpy()).score(x.double().numpy()))
    # A flow and correlations start with small random weights.
    assert started == pytest.approx(
        known, abs=0.1 if guide in ("MeanField", "SemiAmortized") else 0.5
    )


@pytest.mark.parametrize(
    "likelihood",
    [
        *(Spec("Gaussian", {"variance": v}) for v in ("per-element", "per-pixel", "optimal")),
        Spec("Laplace", {"scale": "learned"}), Spec("StudentT", {"scale": "learned"}),
    ],
    ids=str,
)  # fmt: skip
def test_each_likelihood_fits_its_marginal_to_the_noise(likelihood: Spec) -> None:
    x = table()
    assert bound(built(x, likelihood=likelihood), x) > bound(built(x), x) - 1.5


@pytest.mark.parametrize("likelihood", [each.__name__ for each in LIKELIHOODS])
def test_the_start_is_better_than_at_the_marginal(
    likelihood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = table()
    started = bound(built(x, likelihood=Spec(likelihood)), x)
    monkeypatch.setattr("ppvae.components.building.start_at_pca", lambda *_: False)
    assert started > bound(built(x, likelihood=Spec(likelihood)), x)


def test_a_fixed_variance_stays() -> None:
    programs = built(table(), likelihood=Spec("Gaussian", {"variance": 0.3}))
    assert float(programs.model.likelihood.variance) == pytest.approx(0.3)


def test_missing_values_start_near_the_complete_table() -> None:
    x = table()
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.9
    holes = x.where(mask, torch.nan)
    started = built(holes, mask=mask)
    assert bound(started, x) > bound(built(x), x) - 3


@pytest.mark.parametrize(("rows", "latents"), [(30, 29), (30, 20), (12, 20)])
def test_fewer_rows_than_columns_do_not_start_at_their_own_copies(
    rows: int, latents: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three true components in 60 columns; the start is judged by new rows."""
    g = torch.Generator().manual_seed(0)
    loadings = torch.randn(3, 60, generator=g)
    x = torch.randn(rows + 300, 3, generator=g) @ loadings
    x = x + 0.5 * torch.randn(x.shape, generator=g)
    train, test = x[:rows], x[rows:]
    started = bound(built(train, latent_dim=latents), test)
    monkeypatch.setattr("ppvae.components.building.start_at_pca", lambda *_: False)
    assert started > bound(built(train, latent_dim=latents), test) + 10


def test_a_given_scale_is_the_noise_of_the_start() -> None:
    """With more latents, codes as narrow as the noise of PCA would cost more nats."""
    x = table()
    for likelihood in (Spec("Gaussian", {"variance": 1.0}), Spec("Laplace"), Spec("StudentT")):
        few, many = (
            bound(built(x, likelihood=likelihood, latent_dim=latents), x) for latents in (2, 20)
        )
        assert many > few - 0.5, likelihood


def test_columns_beyond_the_rank_and_more_latents_than_columns_are_finite() -> None:
    few = table()[:, :2]
    x = torch.cat([few, few, torch.ones(len(few), 1)], 1)  # two columns, their copies, a constant
    assert np.isfinite(bound(built(x), x))
    assert np.isfinite(bound(built(x[:, :3]), x[:, :3]))


def vae(likelihood: Any, latents: int = 2, **shortcut: Any) -> VAE:
    return VAE(StandardNormal(latents), likelihood, partial(MLP, hidden=(4,), **shortcut))


@pytest.mark.parametrize(
    ("model", "guide", "columns"),
    [
        (vae(Gaussian((3,))), MeanField(2, (3,), partial(MLP, shortcut=True)), 3),
        (vae(Gaussian((3,)), shortcut=True), MeanField(2, (3,)), 3),
        (vae(Bernoulli((3,)), shortcut=True), MeanField(2, (3,), partial(MLP, shortcut=True)), 3),
        (vae(Gaussian((3,)), shortcut=True), Delta(2, (3,), partial(MLP, shortcut=True)), 3),
        (vae(Gaussian((1,)), shortcut=True), MeanField(2, (1,), partial(MLP, shortcut=True)), 1),
    ],
    ids=["no shortcut to x", "no shortcut to z", "not real", "no scale", "one column"],
)  # fmt: skip
def test_other_programs_stay_as_they_are(model: VAE, guide: Any, columns: int) -> None:
    before = [each.clone() for each in (*model.parameters(), *guide.parameters())]
    assert not start_at_pca(model, guide, torch.randn(20, columns))
    after = (*model.parameters(), *guide.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_infinite_and_constant_data_are_left_to_the_marginal() -> None:
    model, guide = (
        vae(Gaussian((3,)), shortcut=True),
        MeanField(2, (3,), partial(MLP, shortcut=True)),
    )
    assert not start_at_pca(model, guide, torch.ones(20, 3))
    assert not start_at_pca(model, guide, torch.randn(20, 3) / 0)


def chosen(x: Any, **parts: Any) -> dict[str, Any]:
    specs = {name: part_of(name, value) for name, value in parts.items()}
    return suited_programs(specs, load(x), ["tests"])


def test_the_default_networks_of_real_numbers_have_a_shortcut() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    for likelihood in (None, "Gaussian", "StudentT"):
        both = chosen(x, likelihood=likelihood, encoder={"init_args": {"hidden": [7]}})
        assert both["decoder"].init_args == {"hidden": [200, 200, 200], "shortcut": True}
        assert both["encoder"].init_args == {"hidden": [7], "shortcut": True}
    off = chosen(x, decoder={"init_args": {"shortcut": False}}, likelihood=None)["decoder"]
    assert off.init_args["shortcut"] is False
    assert chosen(x, likelihood="Gaussian", decoder="MLP")["decoder"] == Spec("MLP")
    for other in (
        chosen(x, likelihood="Gaussian", model="HierarchicalVAE"),
        chosen((x > 0).astype(np.float32)),
        chosen(x.reshape(40, 1, 1, 3), likelihood="Gaussian"),
        chosen(x, likelihood="Gaussian", guide="Delta"),
        chosen(x, likelihood="Gaussian", guide=MeanField(2, (3,))),
    ):
        assert other.get("decoder") is None
