"""log p(x) by another implementation: NumPyro, on JAX, with the same weights."""

import math
from typing import Any

import jax
import numpyro
import numpyro.distributions as dist
import pytest
import torch
from jax import numpy as np
from numpyro.handlers import replay, seed, trace
from numpyro.infer.util import log_density

from ppvae.diagnostics import log_evidence, subject
from ppvae.guides import MeanField
from ppvae.models import VAE, Bernoulli, Gaussian, Likelihood, StandardNormal
from tests.support.slow import few

ROWS, SHAPE, LATENT, SAMPLES = 20, (1, 6, 5), 4, 4_000


def layers(network: torch.nn.Module) -> list[tuple[Any, Any]]:
    """Weight and bias of each affine layer, as JAX has arrays."""
    return [
        (np.asarray(m.weight.detach().numpy()), np.asarray(m.bias.detach().numpy()))
        for m in network.modules()
        if isinstance(m, torch.nn.Linear)
    ]


def forward(network: list[tuple[Any, Any]], h: Any) -> Any:
    """Affine layers with silu between them."""
    for weight, bias in network[:-1]:
        h = jax.nn.silu(h @ weight.T + bias)
    weight, bias = network[-1]
    return h @ weight.T + bias


@pytest.mark.parametrize("likelihood", few([Bernoulli(SHAPE), Gaussian(SHAPE, variance=0.5)], 2))
def test_log_p_agrees_with_numpyro(likelihood: Likelihood) -> None:
    torch.manual_seed(0)
    model = VAE(StandardNormal(LATENT), likelihood)
    guide = MeanField(LATENT, SHAPE)
    x = (torch.rand(ROWS, *SHAPE) < 0.4).float()
    with torch.no_grad():  # large weights, so that the decoder depends on z
        for parameter in model.parameters():
            parameter.mul_(2.0)
    ours = log_evidence(*subject(model, guide, x), samples=SAMPLES)

    decoder, encoder = layers(model.decoder), layers(guide.encoder)
    data = np.asarray(x.flatten(1).numpy())

    def their_model(x: Any) -> None:
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(np.zeros(LATENT), 1.0).to_event(1))
            h = forward(decoder, z)
            p = (
                dist.Bernoulli(logits=h)
                if isinstance(likelihood, Bernoulli)
                else dist.Normal(h, math.sqrt(0.5))
            )
            numpyro.sample("x", p.to_event(1), obs=x)

    def their_guide(x: Any) -> None:
        with numpyro.plate("data", len(x)):
            loc, s = np.split(forward(encoder, x), 2, -1)
            bent = np.where(s > 0, np.arcsinh(s), s)
            numpyro.sample("z", dist.Normal(loc, np.exp(10 * np.tanh(bent / 10))).to_event(1))

    def log_weight(key: Any, row: Any) -> Any:
        """log p(x, z) - log q(z | x) of one draw for one datum."""
        drawn = trace(seed(their_guide, key)).get_trace(row[None])
        p, _ = log_density(replay(their_model, drawn), (row[None],), {}, {})
        q, _ = log_density(replay(their_guide, drawn), (row[None],), {}, {})
        return p - q

    keys = jax.random.split(jax.random.PRNGKey(0), (ROWS, SAMPLES))
    over_draws = jax.vmap(log_weight, (0, None))
    w = torch.tensor(jax.jit(jax.vmap(over_draws))(keys, data).tolist(), dtype=torch.float64)
    theirs = w.logsumexp(1) - math.log(SAMPLES)
    error = ((SAMPLES * w.softmax(1).square().sum(1) - 1) / SAMPLES).sqrt()

    apart = (ours.log_p - theirs) / (ours.error.square() + error.square()).sqrt()
    assert float(apart.abs().max()) < 4.5
    assert 0.3 < float(apart.square().mean()) < 2.5  # errors are correct
    assert float(ours.error.max()) < 0.2
    # Wrong weights would be detected: the bound is many of these errors below log p(x).
    assert float(((ours.log_p - ours.elbo) / ours.error).min()) > 3
