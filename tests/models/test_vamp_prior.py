"""The VampPrior: the mixture of a guide's posteriors at pseudo-inputs."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ppvae
from ppvae.guides import FullRank, LowRank, MeanField, Mixture
from ppvae.models import VAE, Gaussian
from ppvae.models.priors import VampPrior
from ppvae.networks import MLP
from tests.support.fits import quick, small, weights
from tests.support.means import is_mean
from tests.support.pca import AFFINE
from tests.support.priors import COLUMNS, CURVED, made

__all__ = ["quick"]  # a fixture: no pictures


@pytest.mark.parametrize("weights", ["equal", "learned"])
@pytest.mark.parametrize("family", [MeanField, FullRank, LowRank, partial(Mixture, components=2)])
def test_the_vamp_prior_is_the_mixture_of_the_posteriors_at_its_inputs(
    weights: str, family: Any
) -> None:
    own = {"components": 4, "guide": family, "weights": weights}
    case = made("VampPrior", own)
    guide: Any = case.guide
    inputs = case.prior.get_parameter("pseudo_inputs")
    shares = torch.full((4,), 0.25).double()
    if weights == "learned":
        shares = case.prior.get_parameter("logits").softmax(0)
        assert float(shares.detach().std()) > 1e-3
    z = torch.randn(7, 2, dtype=torch.float64)
    density = sum(
        share * guide.posterior(u[None]).log_prob(z).exp()
        for share, u in zip(shares, inputs, strict=True)
    )
    torch.testing.assert_close(case(z).exp(), density)
    # The prior follows changes of the guide.
    with torch.no_grad():
        next(iter(guide.parameters())).add_(1.0)
    assert not torch.isclose(case(z).exp(), density).any()


def test_the_guide_is_referred_to_and_not_owned() -> None:
    torch.manual_seed(0)
    guide = MeanField(2, (COLUMNS,), CURVED)
    prior = VampPrior(2, (COLUMNS,), guide, components=5, weights="learned")
    model = VAE(prior, Gaussian((COLUMNS,), variance=1.0), CURVED)
    assert set(prior.state_dict()) == {"pseudo_inputs", "logits"}
    assert {id(p) for p in model.parameters()}.isdisjoint(id(p) for p in guide.parameters())
    equal = VampPrior(2, (COLUMNS,), guide, components=5)
    assert set(equal.state_dict()) == {"pseudo_inputs"}
    # Its gradients also reach the guide.
    prior().log_prob(torch.randn(9, 2)).sum().backward()
    for parameter in (*prior.parameters(), *guide.parameters()):
        assert parameter.grad is not None
        assert bool((parameter.grad != 0).all())


def test_pseudo_inputs_start_as_data_each_once_and_then_again_with_noise() -> None:
    torch.manual_seed(0)
    guide, x = MeanField(2, (40,), AFFINE), 3 + 2 * torch.randn(10, 40)
    for components in (4, 10, 25):
        start = VampPrior(2, (40,), guide, components, examples=x).pseudo_inputs.detach()
        assert start.shape == (components, 40)
        nearest = torch.cdist(start, x).argmin(1)
        times = nearest.bincount(minlength=10)
        assert int(times.max()) == -(-components // 10)
        assert int(times.min()) == components // 10
        first, off = start[:10] - x[nearest[:10]], start[10:] - x[nearest[10:]]
        assert not first.any()
        assert len(nearest[:10].unique()) == min(components, 10)
        if components > 10:
            assert is_mean(off.flatten(), torch.zeros(()))
            assert is_mean(off.flatten().square(), 0.01 * x.var(correction=0))
    plain = VampPrior(2, (40,), guide, 400).pseudo_inputs.detach()
    assert bool(((plain > 0) & (plain < 1)).all())
    assert is_mean(plain.flatten(), torch.tensor(0.5))
    assert is_mean((plain.flatten() - 0.5).square(), torch.tensor(1 / 12))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float64])
def test_no_two_pseudo_inputs_start_alike_where_data_do(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.tensor([[0, 0, 1], [1, 0, 1], [0, 0, 1], [0, 0, 1]]).to(dtype)
    start = VampPrior(2, (COLUMNS,), MeanField(2, (COLUMNS,)), 6, examples=x).pseudo_inputs
    assert start.dtype == torch.float32
    assert len(start.unique(dim=0)) == 6
    kept = Counter(tuple(row.tolist()) for row in start if bool((row == row.round()).all()))
    assert kept == Counter([(0.0, 0.0, 1.0), (1.0, 0.0, 1.0)])
    # Equal data determine no scale for small noise.
    same = VampPrior(2, (COLUMNS,), MeanField(2, (COLUMNS,)), 6, examples=torch.zeros(3, 3))
    assert len(same.pseudo_inputs.unique(dim=0)) == 6


def test_making_it_moves_nothing_of_the_guide() -> None:
    encoder = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Unflatten(1, (2, 2))
    )
    guide = MeanField(2, (COLUMNS,), encoder)
    guide.train()
    encoder[2].eval()
    after = []
    for family in (guide, MeanField(2, (COLUMNS,), CURVED)):
        torch.manual_seed(0)
        VampPrior(2, (COLUMNS,), family, components=3)
        after.append(torch.rand(()))
    assert torch.equal(*after)
    assert int(encoder.get_buffer("1.num_batches_tracked")) == 0
    assert [part.training for part in encoder] == [True, True, False, True]
    assert all(p.grad is None and p.requires_grad for p in guide.parameters())
    # A guide in double precision is called in double precision.
    VampPrior(2, (COLUMNS,), guide.double(), components=3)


def test_a_fit_saves_and_reloads_it_whole_and_the_guide_once(tmp_path: Path) -> None:
    own = {"components": 4, "weights": "learned"}
    run = small(tmp_path, prior={"class_path": "VampPrior", "init_args": own}, lr=0.05)
    saved = weights(run.path)
    inputs, logits = (saved[f"model.prior.{name}"] for name in ("pseudo_inputs", "logits"))
    assert sum("encoder" in name for name in saved) == 4  # weights and biases of its two layers
    assert {name for name in saved if "prior" in name} == {
        "model.prior.pseudo_inputs", "model.prior.logits",
    }  # fmt: skip
    loaded: Any = ppvae.load(run.path, checkpoint="last")
    assert torch.equal(loaded.model.prior.pseudo_inputs, inputs)
    assert float(logits.std()) > 0.01
    # By hand, from the weights in the file.
    guide = MeanField(2, (3,), partial(MLP, hidden=(16,)))
    guide.load_state_dict({n.removeprefix("guide."): w for n, w in saved.items() if "guide" in n})
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=logits), guide.posterior(inputs)
    )
    z = torch.randn(6, 2)
    log_prob = loaded.model.prior().log_prob(z)
    torch.testing.assert_close(log_prob, mixture.log_prob(z))
    log_prob.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in loaded.guide.parameters())


def test_a_fit_starts_it_from_the_training_data(tmp_path: Path) -> None:
    own = {"components": 72}
    run = small(
        tmp_path, prior={"class_path": "VampPrior", "init_args": own}, lr=1e-30, epochs=1
    )  # fmt: skip
    train = run.data().train
    x = train.take(torch.arange(len(train)))["x"]
    assert len(x) == 72
    inputs = weights(run.path)["model.prior.pseudo_inputs"]
    torch.testing.assert_close(inputs.sort(0).values, x.sort(0).values)
    assert not torch.allclose(inputs, x)
