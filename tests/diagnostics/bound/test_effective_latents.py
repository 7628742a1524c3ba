"""Laws of the effective number of latents: closed forms of an entropy of shares."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from ppvae.diagnostics import subject
from ppvae.diagnostics.bound.effective_latents import effective_latents
from ppvae.diagnostics.bound.terms import decompose
from ppvae.guides import FullRank, MeanField, TopDown
from ppvae.models import VAE, Bernoulli, HierarchicalVAE, StandardNormal
from ppvae.networks import MLP
from tests.support.pca import pca

NET = partial(MLP, hidden=(4,))


def effective(*kl: float) -> float:
    return effective_latents({"z": torch.tensor(kl)})


def test_equal_shares_count_each_and_one_share_counts_one() -> None:
    assert effective(0.7, 0.7, 0.7) == pytest.approx(3)
    assert effective(2.0, 2.0, 0.0, 0.0) == pytest.approx(2)
    assert effective(5.0) == pytest.approx(1)
    half = 0.5 * math.log(2) + 0.5 * math.log(4)  # shares 1/2, 1/4, 1/4
    assert effective(2.0, 1.0, 1.0) == pytest.approx(math.exp(half))
    assert effective(3.0, -1e-3) == pytest.approx(1)  # an estimate below 0


def test_many_weak_latents_beside_a_few_strong_ones_hardly_count() -> None:
    """3.2 nats in 4 dimensions; active units with almost no KL do not count."""
    weak = [1e-5] * 188
    assert effective(0.8, 0.8, 0.8, 0.8, *weak) == pytest.approx(4, abs=0.05)


def test_a_collapsed_posterior_has_no_latent_in_use() -> None:
    assert effective(*[1e-4] * 20) == 0
    assert effective(0.0, 0.0) == 0


def test_a_collapsed_posterior_of_many_dimensions_has_no_latent_in_use_either() -> None:
    assert effective(*[1e-3] * 200) == 0  # 0.2 nats in all, and equal shares
    assert effective(*[1e-3] * 200, 0.02) == 1
    assert effective(0.7, 0.7, *[9e-3] * 200) == pytest.approx(2)


def test_sites_are_shares_of_one_kl() -> None:
    both = {"u": torch.tensor([1.0, 1.0]), "v": torch.tensor([1.0])}
    assert effective_latents(both) == pytest.approx(3)


def test_probabilistic_pca_has_the_closed_form() -> None:
    p = pca(rows=60)
    found = decompose(p.pair, p.facts, p.rows, draws=2)
    kl = found.kl_by_dimension["z"].mean(0)
    shares = kl / kl.sum()
    assert found.effective_latents == pytest.approx(float((-shares * shares.log()).sum().exp()))
    assert found.effective_by_site == {"z": found.effective_latents}


def images() -> Tensor:
    return (torch.rand(20, 6, generator=torch.Generator().manual_seed(0)) < 0.5).float()


def test_a_hierarchy_counts_each_site_and_all() -> None:
    torch.manual_seed(0)
    model = HierarchicalVAE(StandardNormal(2), Bernoulli((6,)), NET, widths=(3, 2), hidden=(4,))
    guide = TopDown(model, (6,), NET, features=4, hidden=(4,))
    found = decompose(*subject(model, guide, images()), draws=4)
    assert len(found.effective_by_site) == 2
    joint = effective_latents({site: kl.mean(0) for site, kl in found.kl_by_dimension.items()})
    assert found.effective_latents == pytest.approx(joint)


def test_there_is_none_where_a_guide_does_not_factorize() -> None:
    model = VAE(StandardNormal(2), Bernoulli((6,)), NET)
    full = decompose(*subject(model, FullRank(2, (6,), NET), images()), draws=2)
    assert full.effective_latents is None
    assert full.effective_by_site == {}
    diagonal = decompose(*subject(model, MeanField(2, (6,), NET), images()), draws=2)
    assert diagonal.effective_latents is not None
