"""Laws of simulation: latents and data from the joint density, and sites that are kept."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from ppvae.data import as_split
from ppvae.diagnostics.shared.simulation import simulate
from ppvae.diagnostics.trust.calibration import calibrate
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.programs.densities import Densities
from ppvae.programs.facts import Audit
from tests.diagnostics.trust.test_calibration import SIGMAS, Batch, audited
from tests.support.pca import pca


def test_latents_and_data_are_drawn_from_the_joint_distribution() -> None:
    known = pca()
    n = 10_000
    rows = {"x": torch.full((n, 4), 50.0), "y": torch.arange(n)}
    torch.manual_seed(0)
    drawn, latents = simulate(known.pair, known.facts, rows)
    assert known.pair.training
    assert drawn["y"] is rows["y"]
    assert bool(rows["x"].eq(50).all())
    assert tuple(latents["z"].shape) == (1, n, 2)
    # (z, x) ~ N((0, b), [[I, W'], [W, W W' + c I]])
    w, eye = known.w, torch.eye(4, dtype=torch.float64)
    covariance = torch.cat(
        [
            torch.cat([torch.eye(2, dtype=torch.float64), w.T], 1),
            torch.cat([w, w @ w.T + known.variance * eye], 1),
        ]
    )
    both = torch.cat([latents["z"][0], drawn["x"] - known.b], dim=1)
    scale = covariance.diagonal().sqrt()
    assert bool((both.mean(0).abs() < SIGMAS * scale / math.sqrt(n)).all())
    error = (covariance.square() + torch.outer(scale, scale).square()).sqrt() / math.sqrt(n)
    assert bool(((both.T.cov() - covariance).abs() < SIGMAS * error).all())
    # The latents are in the shape that densities take, and x can be drawn again at them.
    log_prior = Densities(known.pair, known.facts, drawn).at(latents).log_prior
    want = dist.Normal(0.0, 1.0).log_prob(latents["z"]).sum(-1)
    torch.testing.assert_close(log_prior, want)
    again, same = simulate(known.pair, known.facts, rows, latents=latents)
    assert torch.equal(same["z"], latents["z"])
    off = again["x"] - known.b - latents["z"][0] @ w.T
    assert float(off.var()) == pytest.approx(known.variance, rel=SIGMAS * math.sqrt(2 / (4 * n)))


def labelled(*, y_first: bool) -> tuple[Pair, Audit, Batch]:
    """Labels that the model observes: drawn before the latent, or from it."""

    def model(x: Tensor, y: Tensor) -> None:
        gain = pyro.param("gain", torch.tensor(1.0))
        with pyro.plate("data", len(x)):
            if y_first:
                pyro.sample("label", dist.Categorical(torch.ones(3) / 3), obs=y)
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            if not y_first:
                logits = z[..., None] * torch.arange(3.0)
                pyro.sample("label", dist.Categorical(logits=logits), obs=y)
            loc = (gain * z + 10 * y)[..., None]
            pyro.sample("x", dist.Normal(loc, 0.1).expand([*loc.shape[:-1], 2]).to_event(1), obs=x)

    def guide(x: Tensor, y: Tensor) -> None:
        # Precision 1 + 2 / 0.01.
        with pyro.plate("data", len(x)):
            loc = (x.sum(-1) - 20 * y) / 0.01 / 201
            pyro.sample("z", dist.Normal(loc, 201**-0.5))

    batch = {"x": torch.zeros(300, 2), "y": torch.arange(300) % 3}
    return *audited(model, guide, batch), batch


def test_labels_stay_as_they_are() -> None:
    pair, facts, batch = labelled(y_first=True)
    torch.manual_seed(0)
    drawn, _ = simulate(pair, facts, batch)
    assert torch.equal(drawn["y"], batch["y"])
    assert float((drawn["x"].mean(1) - 10 * batch["y"]).abs().max()) < 5
    assert calibrate(pair, facts, as_split(batch["x"], batch["y"])).is_calibrated


def test_labels_that_depend_on_the_latent_are_refused() -> None:
    pair, facts, batch = labelled(y_first=False)
    with pytest.raises(InputError, match="'label' is observed and depends on earlier draws"):
        simulate(pair, facts, batch)
    simulate(pair, facts, batch, check=False)


def test_a_model_that_reads_x_before_it_draws_it_is_refused() -> None:
    def model(x: Tensor) -> None:
        gain = pyro.param("gain", torch.tensor(0.5))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            before = torch.nn.functional.pad(x[..., :-1], (1, 0))
            pyro.sample("x", dist.Normal(gain * before + z[..., None], 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.mean(-1), 1.0))

    pair, facts = audited(model, guide, {"x": torch.randn(20, 3)})
    batch = {"x": torch.randn(20, 3)}
    _, latents = simulate(pair, facts, batch, check=False)
    for given in (None, latents):
        with pytest.raises(InputError, match="site 'x' depends on the values of x"):
            simulate(pair, facts, batch, latents=given)


def test_what_a_mask_hides_is_left_as_it_was() -> None:
    def model(x: Tensor, mask: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            loc = z[..., None].expand(*z.shape, 3)
            pyro.sample("x", dist.Normal(loc, 1.0).mask(mask).to_event(1), obs=x)

    def guide(x: Tensor, mask: Tensor) -> None:
        one = pyro.param("one", torch.tensor(1.0))
        precision = one + mask.sum(-1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal((x * mask).sum(-1) / precision, precision**-0.5))

    mask = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    x = torch.zeros(50, 3)
    pair, facts = audited(model, guide, {"x": x, "mask": mask})
    torch.manual_seed(0)
    drawn, _ = simulate(pair, facts, {"x": x, "mask": mask})
    assert torch.equal(drawn["x"] == 0, ~mask)
    assert calibrate(pair, facts, as_split(x, mask=mask), simulations=1000).is_calibrated


def test_x_on_another_scale_is_not_x() -> None:
    def program(x: Tensor, sites: tuple[str, ...], factor: float) -> None:
        one = pyro.param("one", torch.tensor(1.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), one))
            for site in sites:
                loc = z[..., None].expand(*z.shape, 3)
                pyro.sample(site, dist.Normal(loc, 1.0).to_event(1), obs=factor * x)

    batch = {"x": torch.ones(10, 3)}
    for sites, factor, found in ((("x",), 2.0, "none in"), (("x", "copy"), 1.0, "2 sites of")):
        pair, facts = audited(
            lambda x, s=sites, f=factor: program(x, s, f), lambda x: program(x, (), 1.0), batch
        )
        with pytest.raises(InputError, match=f"there are {found} the model"):
            simulate(pair, facts, batch)
