"""Laws of samples and decoded points."""

import math

import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from ppvae.bounds.audit import audit
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.models import VAE, Bernoulli, StandardNormal
from ppvae.networks import ConvDecoder, ConvEncoder
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from ppvae.programs.generation import decode, generate, posterior_means, reconstruct
from tests.support.pca import affine
from tests.support.wide_guide import COLUMNS, SIGMAS, VARIANCE, pca, split


def image_pair() -> tuple[Pair, Audit, dict[str, Tensor]]:
    torch.manual_seed(0)
    shape = (1, 6, 5)
    batch = {"x": (torch.rand(9, *shape) < 0.5).float()}
    pair = Pair(
        VAE(StandardNormal(3), Bernoulli(shape), ConvDecoder),
        MeanField(3, shape, ConvEncoder),
        batch,
    )
    return pair, audit(pair, Trace_ELBO, batch), batch


def test_decode_gives_the_likelihoods_mean_at_the_latents_given() -> None:
    pair, facts, batch = image_pair()
    assert isinstance(pair.model, VAE)
    z = torch.randn(9, 3)
    mean, draw = decode(pair, facts, batch, {"z": z})
    want = torch.sigmoid(pair.model.decoder(z).squeeze(1)).detach()
    torch.testing.assert_close(mean, want)
    assert tuple(draw.shape) == (9, 1, 6, 5)
    assert bool(((draw == 0) | (draw == 1)).all())
    again, other = decode(pair, facts, {"x": torch.zeros(9, 1, 6, 5)}, {"z": z})
    assert torch.equal(mean, again)  # it depends on the shape of the data only
    assert not torch.equal(draw, other)
    n = 400
    draws = torch.stack([decode(pair, facts, batch, {"z": z})[1] for _ in range(n)])
    error = (want * (1 - want) / n).sqrt()
    assert bool(((draws.mean(0) - want).abs() < SIGMAS * error).all())


def test_reconstruct_decodes_the_posterior_mean() -> None:
    pair, facts, batch = image_pair()
    assert isinstance(pair.guide, MeanField)
    loc = pair.guide.encoder(batch["x"]).detach()[:, 0]
    torch.testing.assert_close(posterior_means(pair, facts, batch)["z"], loc)
    mean, _ = reconstruct(pair, facts, batch)
    torch.testing.assert_close(mean, decode(pair, facts, batch, {"z": loc})[0])


def test_generate_draws_from_the_prior_and_leaves_the_modes() -> None:
    rows = split()
    pair, facts = pca(rows)
    n = 20_000
    torch.manual_seed(0)
    mean, draw = generate(pair, facts, {"x": torch.full((n, COLUMNS), 50.0)})
    assert pair.training
    assert not mean.requires_grad
    decoder = affine(pair.get_submodule("model.decoder"))
    w, b = decoder.weight.detach(), decoder.bias.detach()
    # mean ~ N(b, W W'), draw ~ N(b, W W' + c I)
    eye = torch.eye(COLUMNS, dtype=torch.float64)
    for x, covariance in ((mean.double(), w @ w.T), (draw, w @ w.T + VARIANCE * eye)):
        scale = covariance.diagonal().sqrt()
        assert bool(((x.mean(0) - b).abs() < SIGMAS * scale / math.sqrt(n)).all())
        error = (covariance.square() + torch.outer(scale, scale).square()).sqrt() / math.sqrt(n)
        assert bool(((x.T.cov() - covariance).abs() < SIGMAS * error).all())


def test_a_model_that_observes_no_x_has_no_picture() -> None:
    _, facts, batch = image_pair()
    pair = image_pair()[0]
    blind = Audit(**{**facts.__dict__, "supports": {}})
    with pytest.raises(InputError, match="no site of the model observes x itself"):
        generate(pair, blind, batch)
