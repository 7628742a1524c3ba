"""Laws of codes: moments of the guide for each datum, and active dimensions."""

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from ppvae.bounds.audit import audit
from ppvae.diagnostics import active_units, embed
from ppvae.guides import Delta, MeanField
from ppvae.guides.scales import posterior_scale
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.programs import Pair
from tests.support.wide_guide import COLUMNS, LATENT, pca, split, whole


def test_active_units_are_those_whose_mean_moves() -> None:
    n = 1001
    t = torch.linspace(-1, 1, n)
    moves = (t - t.mean()) / t.std()
    loc = torch.stack([moves, 0.0 * t + 5.0, 0.0995 * moves, 0.1005 * moves], dim=1)
    assert active_units(loc) == 2  # variances 1, 0, 0.0099, 0.0101
    assert active_units(loc, threshold=0.5) == 1


def test_embed_reads_the_guide_in_the_order_of_rows() -> None:
    rows = split()
    pair, facts = pca(rows)
    assert isinstance(pair.guide, MeanField)
    found = embed(pair, facts, rows, batch_size=7)
    x = whole(rows)["x"].double()
    loc, raw = pair.guide.encoder(x).detach().unbind(-2)
    torch.testing.assert_close(found.loc["z"], loc)
    torch.testing.assert_close(found.scale["z"], posterior_scale(raw))
    assert tuple(found.joined().shape) == (len(rows), LATENT)
    assert active_units(found.joined()) == LATENT
    point = Pair(
        VAE(StandardNormal(3), Gaussian((COLUMNS,), variance=1.0)),
        Delta(3, (COLUMNS,)),
        whole(rows),
    )
    at_point = embed(point, audit(point, Trace_ELBO, whole(rows)), rows)
    assert tuple(at_point.loc["z"].shape) == (len(rows), 3)
    assert bool(at_point.scale["z"].eq(0).all())


def test_embed_puts_sites_side_by_side_and_leaves_out_what_all_data_share() -> None:
    rows = split()
    batch = whole(rows)
    network = nn.Linear(COLUMNS, 3)

    def program(x: Tensor, is_model: bool) -> None:
        pyro.sample("shared", dist.Normal(0.0, 1.0))
        h = torch.zeros(len(x), 3) if is_model else network(x)
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Normal(h[..., 0], 1.0))
            b = pyro.sample("b", dist.Normal(h[..., 1:], 1.0).to_event(1))
            if is_model:
                mean = (a + b.sum(-1))[..., None].expand(*a.shape, COLUMNS)
                pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)

    def model(x: Tensor) -> None:
        program(x, True)

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        program(x, False)

    pair = Pair(model, guide, batch)
    facts = audit(pair, Trace_ELBO, batch)
    assert not facts.is_local
    found = embed(pair, facts, rows)
    assert set(found.loc) == {"a", "b"}
    torch.testing.assert_close(found.joined(), network(batch["x"]).detach())
