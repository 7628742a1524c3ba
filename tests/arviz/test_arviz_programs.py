"""Trees of programs of every kind: plates, names, masks, covariates."""

import math
from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from torch import Tensor, nn
from torch.distributions import Normal, Poisson

import ppvae
import ppvae.arviz.drawing
import ppvae.arviz.sizes
from ppvae.programs.facts import Audit
from ppvae.run import Run
from tests.support.fits import table
from tests.support.trees import (
    CHAINS,
    DRAWS,
    OWN,
    SAMPLED,
    SMALL_TREE,
    fitted,
    folder,
    images,
    is_near,
    values,
)

__all__ = ["folder", "images"]  # fixtures

# Other programs


def plates_model(x: Tensor) -> None:
    with pyro.plate("images", len(x), dim=-2):
        a = pyro.sample("top/a", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("columns", 3, dim=-1):
            b = pyro.sample("row", dist.Normal(0.0, 0.5))
            pyro.sample("counts", dist.Poisson((b + a.sum(-1)).exp()), obs=x)


class PlatesGuide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> None:
        h = self.net(x / 10)
        with pyro.plate("images", len(x), dim=-2):
            pyro.sample("top/a", dist.Normal(h[:, None, :2], 0.3).to_event(1))
            with pyro.plate("columns", 3, dim=-1):
                pyro.sample("row", dist.Normal(h[:, 2:], 0.4))


@pytest.mark.parametrize("vectorizes", [True, False])
def test_other_plates_names_and_kinds_of_data(folder: Path, vectorizes: bool) -> None:
    np.save(folder / "counts.npy", np.random.default_rng(0).poisson(2.0, (90, 3)))
    run = fitted(
        folder, f"plates-{vectorizes}", data=folder / "counts.npy", model=plates_model,
        guide=PlatesGuide(), **OWN,
    )  # fmt: skip
    assert (run.audit.axes.data, run.audit.vectorizes) == (-2, True)
    run.__dict__["audit"] = Audit(**{**run.audit.__dict__, "vectorizes": vectorizes})
    tree = ppvae.to_datatree(run, **SMALL_TREE)
    for group in ("posterior", "prior"):
        assert tree[group]["top.a"].dims == (*SAMPLED, "top.a_dim")
        assert tree[group]["row_"].dims == (*SAMPLED, "columns")
        assert tree[f"{group}_predictive"]["counts"].dims == (*SAMPLED, "column")
        assert tree[f"{group}_predictive"]["counts"].dtype == np.int32
    assert tree["observed_data"]["counts"].dims == ("data", "column")
    x = values(tree, "observed_data/counts").float()
    assert torch.equal(x, run.data().test.take(torch.arange(len(x)))["x"])
    a, b = values(tree, "posterior/top.a"), values(tree, "posterior/row_")
    joint = Normal(0.0, 1.0).log_prob(a).sum(-1) + Normal(0.0, 0.5).log_prob(b).sum(-1)
    joint = joint + Poisson((b + a.sum(-1, keepdim=True)).exp()).log_prob(x).sum(-1)
    torch.testing.assert_close(values(tree, "sample_stats/log_joint"), joint)
    with torch.no_grad():
        h = run.pair.get_submodule("guide.net")(x / 10)
    guide = Normal(h[:, :2], 0.3).log_prob(a).sum(-1) + Normal(h[:, 2:], 0.4).log_prob(b).sum(-1)
    torch.testing.assert_close(values(tree, "sample_stats/log_guide"), guide)
    assert "log_evidence" in tree.children


SIZE = 720


def shared_model(x: Tensor) -> None:
    theta = pyro.sample("theta", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("parts", 4):
        w = pyro.sample("w", dist.Normal(0.0, 1.0))
    with pyro.plate("data", SIZE, subsample_size=len(x)):
        z = pyro.sample("z", dist.Normal(theta.sum() + w.sum(), 1.0))
        pyro.sample("x", dist.Normal(z[:, None].expand(-1, 3), 1.5).to_event(1), obs=x)


class SharedGuide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 1)
        self.loc = nn.Parameter(torch.tensor([0.5, -0.5]))

    def forward(self, x: Tensor) -> None:
        pyro.sample("theta", dist.Normal(self.loc, 0.1).to_event(1))
        with pyro.plate("parts", 4):
            pyro.sample("w", dist.Normal(0.1, 0.2))
        with pyro.plate("data", SIZE, subsample_size=len(x)):
            pyro.sample("z", dist.Normal(self.net(x).squeeze(-1), 0.3))


@pytest.mark.slow
def test_latents_that_data_share_have_no_dimension_of_the_data(folder: Path) -> None:
    run = fitted(folder, "shared", model=shared_model, guide=SharedGuide(), **OWN)
    tree = ppvae.to_datatree(run, **SMALL_TREE)
    assert "shared by all data" in tree.attrs["log_evidence_absent"]
    assert "log_evidence" not in tree.children
    for group in ("posterior", "prior"):
        assert tree[group]["theta"].dims == ("chain", "draw", "theta_dim")
        assert tree[group]["w"].dims == ("chain", "draw", "parts")
        assert tree[group]["z"].dims == SAMPLED
    assert tree["sample_stats"]["log_joint"].dims == ("chain", "draw")
    x = values(tree, "observed_data/x").double()
    theta, w, z = (values(tree, f"posterior/{name}").double() for name in ("theta", "w", "z"))
    top = Normal(0.0, 1.0).log_prob(theta).sum(-1) + Normal(0.0, 1.0).log_prob(w).sum(-1)
    local = Normal((theta.sum(-1) + w.sum(-1))[..., None], 1.0).log_prob(z).sum(-1)
    seen = Normal(z[..., None], 1.5).log_prob(x).sum((-1, -2))
    found = values(tree, "sample_stats/log_joint")
    torch.testing.assert_close(found, top + local + seen, rtol=1e-5, atol=1e-5)
    drawn = values(tree, "posterior_predictive/x").double()
    pulls = (drawn - z[..., None]) / 1.5
    assert is_near(pulls.square().mean(), torch.tensor(1.0).double(), math.sqrt(2 / pulls.numel()))


def given_model(x: Tensor, y: Tensor, mask: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(y[:, 0], 1.0))
        loc = z[..., None].expand(*z.shape, 3)
        pyro.sample("x", dist.Normal(loc, 1.0).mask(mask).to_event(1), obs=x)


class GivenGuide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.net(x).squeeze(-1), 0.3))


@pytest.mark.slow
def test_masks_and_covariates_are_constant_data(folder: Path) -> None:
    x, generator = table(), np.random.default_rng(0)
    mask = generator.random(x.shape) < 0.7
    y = 3 * generator.normal(size=(len(x), 1))
    np.savez(folder / "given.npz", x=np.where(mask, x, np.nan), mask=mask, y=y)
    run = fitted(
        folder, "given", data=folder / "given.npz", model=given_model, guide=GivenGuide(), **OWN
    )
    tree = ppvae.to_datatree(run, **SMALL_TREE)
    batch = run.data().test.take(torch.arange(len(tree["observed_data"]["data"])))
    assert tree["constant_data"]["mask"].dims == ("data", "column")
    assert tree["constant_data"]["y"].dims == ("data", "y_dim")
    assert torch.equal(values(tree, "constant_data/mask"), batch["mask"])
    assert torch.equal(values(tree, "constant_data/y"), batch["y"])
    observed = values(tree, "observed_data/x")
    assert torch.equal(observed.isnan(), ~batch["mask"])
    assert torch.equal(observed.nan_to_num(), batch["x"])
    prior = values(tree, "prior/z").mean((0, 1))
    assert is_near(prior, batch["y"][:, 0], 1 / math.sqrt(CHAINS * DRAWS))
    z = values(tree, "posterior/z")
    joint = Normal(0.0, 1.0).log_prob(z - batch["y"][:, 0])
    seen = (Normal(z[..., None], 1.0).log_prob(batch["x"]) * batch["mask"]).sum(-1)
    torch.testing.assert_close(values(tree, "sample_stats/log_joint"), joint + seen)
    tree.to_netcdf(folder / "given.nc", engine="h5netcdf")
    with xr.open_datatree(folder / "given.nc", engine="h5netcdf") as again:
        assert tree.identical(again.load())


def test_a_model_that_flattens_x_keeps_its_own_dimensions(images: Run, folder: Path) -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            logits = z.expand(*z.shape[:-1], 20)
            pyro.sample("pixels", dist.Bernoulli(logits=logits).to_event(1), obs=x.flatten(1))

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(20, 1)

        def forward(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(self.net(x.flatten(1)), 0.3).to_event(1))

    run = fitted(
        folder, "flat", data=folder / "images.npz", binarize="dynamic", model=model, guide=Flat(),
        **OWN,
    )  # fmt: skip
    tree = ppvae.to_datatree(run, **SMALL_TREE)
    assert tree["posterior_predictive"]["pixels"].dims == (*SAMPLED, "pixels_dim")
    assert tree["posterior"]["z"].sizes["z_dim"] == 1
    x = run.data().test.take(torch.arange(len(tree["posterior"]["data"])))["x"]
    assert torch.equal(values(tree, "observed_data/pixels").float(), x.flatten(1))
