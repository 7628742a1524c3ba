"""A mixture of normals: its density, moments and draws with a gradient."""

import torch

from ppvae.distributions.mixture import NormalMixture
from tests.support.guides import ROWS


def test_a_mixture_of_one_moves_its_draws_as_a_normal_does() -> None:
    torch.manual_seed(0)
    loc, log_scale = (torch.randn(ROWS, 1, 3, dtype=torch.float64) for _ in range(2))
    scale = log_scale.exp().requires_grad_()
    z = NormalMixture(torch.zeros(1).double(), loc.requires_grad_(), scale).rsample((7,))
    slopes = torch.autograd.grad(z.sin().sum(), [loc, scale])
    pull = z.cos().unsqueeze(-2)
    eps = (z.unsqueeze(-2) - loc) / scale
    torch.testing.assert_close(slopes[0], pull.sum(0))
    torch.testing.assert_close(slopes[1], (pull * eps).sum(0))


def test_the_density_of_a_mixture_is_torchs_in_any_batch() -> None:
    torch.manual_seed(0)
    logits, loc, scale = torch.randn(4), torch.randn(ROWS, 4, 3), torch.rand(4, 3) + 0.1
    normals = torch.distributions.Independent(torch.distributions.Normal(loc, scale), 1)
    weights = torch.distributions.Categorical(logits=logits.expand(ROWS, 4))
    want = torch.distributions.MixtureSameFamily(weights, normals)
    ours = NormalMixture(logits, loc, scale)
    z = 3 * torch.randn(2, ROWS, 3)
    for fn in (ours, ours.expand((2, ROWS))):
        torch.testing.assert_close(fn.log_prob(z), want.log_prob(z))
    torch.testing.assert_close(ours.mean, want.mean)
    torch.testing.assert_close(ours.variance, want.variance)
