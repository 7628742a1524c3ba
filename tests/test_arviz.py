"""Laws of the ArviZ tree: names, draws and densities are those of the programs, on disk as well."""

import math
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from fits import small, table
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, Poisson

import ppvae
import ppvae.arviz.drawing
import ppvae.arviz.sizes
from ppvae.audit import Audit
from ppvae.data import as_split
from ppvae.diagnostics import log_evidence
from ppvae.diagnostics.calibration import calibrate
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.guides.scales import posterior_scale
from ppvae.models import VAE
from ppvae.run import Run

SIGMAS = 5.0
CHAINS, DRAWS = 2, 30
SAMPLED = ("chain", "draw", "data")
SMALL_TREE: dict[str, Any] = {"chains": CHAINS, "draws": DRAWS, "samples": 20}
OWN: dict[str, Any] = {"likelihood": ..., "decoder": ..., "encoder": ..., "epochs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def fitted(folder: Path, out: str, **settings: Any) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ppvae.conclusion.gallery.draw", lambda *_: [])
        patch.setattr("ppvae.svi.DRAWS", 1)
        patch.setattr("ppvae.conclusion.DRAWS", 1)
        return small(folder, out, **settings)


def steep(run: Run) -> Run:
    """The run with networks that tell data apart, and latents, as a longer fit would."""
    with torch.no_grad():
        for p in run.pair.parameters():
            p.mul_(3.0)
    return run


@pytest.fixture(scope="module")
def tables(folder: Path) -> Run:
    return steep(fitted(folder, "table"))


@pytest.fixture(scope="module")
def images(folder: Path) -> Run:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (90, 5, 4), dtype=np.uint8)
    y = np.array(["left", "right", "middle"])[generator.integers(0, 3, 90)]
    np.savez(folder / "images.npz", x=x, y=y)
    return steep(
        fitted(
            folder, "images", data=folder / "images.npz", likelihood="Bernoulli", binarize="dynamic"
        )
    )


@pytest.fixture(scope="module")
def table_tree(tables: Run) -> xr.DataTree:
    split = tables.data().test
    calibration = calibrate(tables.pair, tables.audit, split, simulations=50, draws=19)
    return ppvae.to_datatree(tables, calibration=calibration, **SMALL_TREE)


@pytest.fixture(scope="module")
def image_tree(images: Run) -> xr.DataTree:
    return ppvae.to_datatree(images, **SMALL_TREE)


def values(tree: xr.DataTree, path: str) -> Tensor:
    return torch.from_numpy(tree[path].to_numpy().copy())


def is_near(found: Tensor, want: Tensor, error: Tensor | float) -> bool:
    return bool(((found - want).abs() < SIGMAS * error).all())


# Names


def test_the_groups_and_dimensions_of_images(images: Run, image_tree: xr.DataTree) -> None:
    tree, rows = image_tree, len(images.data().test)
    assert set(tree.children) == {
        "posterior", "posterior_predictive", "prior", "prior_predictive", "observed_data",
        "sample_stats", "log_evidence",
    }  # fmt: skip
    sizes = {
        "posterior/z": {"chain": 2, "draw": 30, "data": rows, "z_dim": 2},
        "posterior_predictive/x": {
            "chain": 2, "draw": 30, "data": rows, "channel": 1, "row": 5, "column": 4,
        },
        "observed_data/x": {"data": rows, "channel": 1, "row": 5, "column": 4},
        "sample_stats/log_joint": {"chain": 2, "draw": 30, "data": rows},
        "sample_stats/log_guide": {"chain": 2, "draw": 30, "data": rows},
        "log_evidence/log_p": {"data": rows},
        "log_evidence/error": {"data": rows},
        "log_evidence/elbo": {"data": rows},
    }  # fmt: skip
    sizes["prior/z"] = sizes["posterior/z"]
    sizes["prior_predictive/x"] = sizes["posterior_predictive/x"]
    for path, wanted in sizes.items():
        array = tree[path]
        assert tuple(array.sizes.items()) == tuple(wanted.items()), path
        for dim, size in wanted.items():
            assert array[dim].to_numpy().tolist() == list(range(size))
        assert array.attrs["long_name"]
        assert (array.attrs.get("units") == "nats") == path.startswith(("sample_stats", "log_e"))
    for group in ("posterior_predictive", "prior_predictive", "observed_data"):
        assert tree[group]["x"].dtype == np.int8
        assert set(np.unique(tree[group]["x"])) == {0, 1}
    batch = images.data().test.take(torch.arange(rows))
    assert torch.equal(values(tree, "observed_data/x").float(), batch["x"])
    names = images.label_names
    assert names == ("left", "middle", "right")
    for node in tree.children.values():
        assert node["label"].to_numpy().tolist() == [names[i] for i in batch["y"]]


def test_the_groups_and_dimensions_of_a_table(tables: Run, table_tree: xr.DataTree) -> None:
    tree, rows = table_tree, len(tables.data().test)
    assert "prior_sbc" in tree.children
    assert "log_likelihood" not in tree.children
    assert "constant_data" not in tree.children
    for group in ("posterior_predictive", "prior_predictive"):
        assert dict(tree[group]["x"].sizes) == {
            "chain": 2, "draw": 30, "data": rows, "column": 3,
        }  # fmt: skip
        assert tree[group]["x"].dtype == np.float32
    assert tree["observed_data"]["x"].dims == ("data", "column")
    assert "label" not in tree["posterior"].coords


def test_the_attributes_say_what_the_tree_is_of(tables: Run, table_tree: xr.DataTree) -> None:
    attrs = table_tree.attrs
    assert attrs["run"] == "table"
    assert attrs["data"] == "x.npy"
    assert attrs["checkpoint"] == f"step-{tables.state()['progress']['step']}"
    assert attrs["inference_library"] == "pyro"
    assert attrs["inference_library_version"] == pyro.__version__
    assert attrs["creation_library"] == "ppvae"
    assert '"kind": "standardized"' in attrs["data_scaling"]
    assert table_tree["log_evidence"].attrs["samples"] == 20
    for node in table_tree.subtree:
        assert node.attrs["created_at"] == attrs["created_at"]
        assert all(isinstance(value, str | int) for value in node.attrs.values())
        assert not any(isinstance(value, bool) for value in node.attrs.values())
        assert not any(str(tables.path.parent) in str(value) for value in node.attrs.values())


def test_the_ranks_of_a_calibration_are_by_site(tables: Run, table_tree: xr.DataTree) -> None:
    split = tables.data().test
    calibration = calibrate(tables.pair, tables.audit, split, simulations=50, draws=19)
    sbc = table_tree["prior_sbc"]
    assert dict(sbc["z"].sizes) == {"chain": 1, "draw": 50, "z_dim": 2}
    assert torch.equal(values(table_tree, "prior_sbc/z")[0], calibration.pit[:, :2])
    for i, name in enumerate(("log_joint", "log_guide")):
        assert dict(sbc[name].sizes) == {"chain": 1, "draw": 50}
        assert torch.equal(values(table_tree, f"prior_sbc/{name}")[0], calibration.pit[:, 2 + i])


# Values


def guide_of(run: Run, x: Tensor) -> tuple[Tensor, Tensor]:
    """Loc and scale of q(z | x), from the weights."""
    assert isinstance(run.guide, MeanField)
    with torch.no_grad():
        loc, raw = run.guide.encoder(x).unbind(-2)
    return loc, posterior_scale(raw)


def likelihood_of(run: Run, z: Tensor) -> Any:
    """p(x | z), element by element, from the weights: ``(*SAMPLED, *data_shape)``."""
    assert isinstance(run.model, VAE)
    with torch.no_grad():
        h = run.model.decoder(z.flatten(0, 2)).squeeze(1).unflatten(0, z.shape[:3])
    is_table = len(run.data_shape) == 1
    return Normal(h, 1.0) if is_table else Bernoulli(logits=h)


def surprise(run: Run, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of log p(x | z) less its expectation, which is minus the entropy, and its error."""
    given = likelihood_of(run, z)
    found = given.log_prob(x) + given.entropy()
    return found.mean(), found.std() / math.sqrt(found.numel())


@pytest.mark.parametrize("kind", ["table", "images"])
@pytest.mark.parametrize("vectorizes", [True, False])
def test_draws_and_densities_are_those_of_the_programs(
    kind: str, vectorizes: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: Run = request.getfixturevalue("tables" if kind == "table" else "images")
    facts = Audit(**{**run.audit.__dict__, "vectorizes": vectorizes})
    monkeypatch.setitem(run.__dict__, "audit", facts)
    # Chunks that divide neither the rows nor the draws.
    monkeypatch.setattr(ppvae.arviz.drawing, "BATCH", 4)
    monkeypatch.setattr(ppvae.arviz.drawing, "CHUNK", 4 * math.prod(run.data_shape) * 7)
    tree = ppvae.to_datatree(run, **SMALL_TREE)
    x = values(tree, "observed_data/x").float()
    z, n = values(tree, "posterior/z"), CHAINS * DRAWS

    loc, scale = guide_of(run, x)
    assert is_near(z.mean((0, 1)), loc, scale / math.sqrt(n))
    pulls = (z - loc) / scale
    assert is_near(pulls.square().mean(), torch.tensor(1.0), math.sqrt(2 / pulls.numel()))
    torch.testing.assert_close(
        values(tree, "sample_stats/log_guide"), Normal(loc, scale).log_prob(z).sum(-1)
    )

    likelihood = likelihood_of(run, z).log_prob(x).flatten(3).sum(-1)
    joint = Normal(0.0, 1.0).log_prob(z).sum(-1) + likelihood
    torch.testing.assert_close(values(tree, "sample_stats/log_joint"), joint, rtol=1e-4, atol=1e-4)

    for group in ("posterior", "prior"):
        z = values(tree, f"{group}/z")
        drawn = values(tree, f"{group}_predictive/x").float()
        own, error = surprise(run, z, drawn)
        assert is_near(own, torch.tensor(0.0), error)
        # At the z of another draw of the same datum x would not be so likely.
        other, error = surprise(run, z.roll(1, dims=1), drawn)
        assert float(other) < -2 * SIGMAS * float(error)
    z = values(tree, "prior/z")
    assert is_near(z.mean((0, 1)), torch.zeros(z.shape[2:]), 1 / math.sqrt(n))
    assert is_near(z.square().mean(), torch.tensor(1.0), math.sqrt(2 / z.numel()))
    # The guide's are not like these.
    assert float(loc.abs().max()) > 2 * SIGMAS / math.sqrt(n)


def test_the_evidence_is_that_of_the_diagnostic(images: Run) -> None:
    tree = ppvae.to_datatree(images, rows=[7, 2, 4], seed=3, **SMALL_TREE)
    batch = images.data().test.take(torch.tensor([7, 2, 4]))
    split = as_split(batch["x"])
    found = log_evidence(images.pair, images.audit, split, samples=20, seed=3)
    assert torch.equal(values(tree, "log_evidence/log_p"), found.log_p)
    assert torch.equal(values(tree, "log_evidence/error"), found.error)
    assert torch.equal(values(tree, "log_evidence/elbo"), found.elbo)
    assert tree["log_evidence"]["data"].to_numpy().tolist() == [7, 2, 4]
    assert tree["posterior"]["z"]["data"].to_numpy().tolist() == [7, 2, 4]
    assert torch.equal(values(tree, "observed_data/x").float(), batch["x"])


def test_data_are_taken_in_every_form(tables: Run) -> None:
    x = tables.data().test.take(torch.arange(5))["x"]
    np.save(tables.path / "raw.npy", table()[:5])
    first = ppvae.to_datatree(tables, rows=5, **SMALL_TREE)
    for data in (as_split(x), {"x": x}, x, x.numpy().astype(np.float64), x.tolist()):
        again = ppvae.to_datatree(tables, data, **SMALL_TREE)
        for group in first.children:
            xr.testing.assert_identical(
                first[group].to_dataset().drop_attrs(), again[group].to_dataset().drop_attrs()
            )
    scaled = tables.new_data(tables.path / "raw.npy").take(torch.arange(5))["x"]
    named = ppvae.to_datatree(tables, tables.path / "raw.npy", **SMALL_TREE)
    assert torch.equal(values(named, "observed_data/x"), scaled)
    other = ppvae.to_datatree(tables, x, seed=1, **SMALL_TREE)
    assert not np.array_equal(first["posterior"]["z"], other["posterior"]["z"])


def test_nothing_of_the_caller_moves(tables: Run) -> None:
    tables.pair.train()
    before, weights = torch.get_rng_state(), list(tables.pair.parameters())
    copies = [p.detach().clone() for p in weights]
    ppvae.to_datatree(tables, **SMALL_TREE)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in tables.pair.modules())
    tables.pair.eval()
    assert all(torch.equal(a, b) and a.grad is None for a, b in zip(weights, copies, strict=True))


def test_a_point_mass_has_no_density_and_no_evidence(folder: Path) -> None:
    run = fitted(folder, "point", guide="Delta", beta=0.0)
    tree = ppvae.to_datatree(run, **SMALL_TREE)
    assert set(tree["sample_stats"].data_vars) == {"log_joint"}
    assert "log_evidence" not in tree.children
    assert "point mass" in tree.attrs["log_evidence_absent"]
    points = tree["posterior"]["z"]
    assert bool((points == points.isel(chain=0, draw=0)).all())
    x, z = values(tree, "observed_data/x"), values(tree, "posterior/z")
    joint = Normal(0.0, 1.0).log_prob(z).sum(-1) + likelihood_of(run, z).log_prob(x).sum(-1)
    torch.testing.assert_close(values(tree, "sample_stats/log_joint"), joint, rtol=1e-4, atol=1e-4)


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
    assert (run.audit.data_dim, run.audit.vectorizes) == (-2, True)
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


# On disk, and in ArviZ


@pytest.mark.parametrize("kind", ["table_tree", "image_tree"])
def test_a_tree_comes_back_from_disk_as_it_was(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    arviz: Any = import_module("arviz")  # it ships no types

    tree: xr.DataTree = request.getfixturevalue(kind)
    tree.to_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    for opened in (arviz.from_netcdf, xr.open_datatree):
        with opened(tmp_path / "posterior.nc", engine="h5netcdf") as again:
            assert tree.identical(again.load())


def test_arviz_summarizes_and_plots_a_tree(
    table_tree: xr.DataTree, image_tree: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mpl.rcParams, "backend", "agg")
    arviz: Any = import_module("arviz")  # it ships no types
    from matplotlib import pyplot

    summary = arviz.summary(table_tree, coords={"data": [0, 1]}, round_to="none")
    assert list(summary.index) == ["z[0, 0]", "z[0, 1]", "z[1, 0]", "z[1, 1]"]
    mean = table_tree["posterior"]["z"].isel(data=slice(2)).mean(("chain", "draw"))
    np.testing.assert_allclose(summary["mean"], mean.to_numpy().ravel(), rtol=1e-5)
    assert float(summary["r_hat"].astype(float).max()) < 1.3
    assert float(summary["ess_bulk"].astype(float).min()) > 0.3 * CHAINS * DRAWS

    drawn = [
        arviz.plot_forest(table_tree, coords={"data": [0, 1]}),
        arviz.plot_ecdf_pit(table_tree),
        arviz.plot_ppc_tstat(table_tree, t_stat="std"),
        arviz.plot_prior_posterior(table_tree, coords={"data": [0]}),
    ]
    with warnings.catch_warnings():
        # It would have another plot for zeros and ones.
        warnings.filterwarnings("ignore", "Variables x in .* look binary", UserWarning)
        drawn.append(arviz.plot_ppc_tstat(image_tree, t_stat="mean"))
    assert all(plot.viz for plot in drawn)
    pyplot.close("all")


# Refusals


def test_what_cannot_be_a_tree_is_refused(
    tables: Run, images: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = tables.data().test.take(torch.arange(4))["x"]
    for wrong, said in (
        ({"chains": 0}, "chains is 0"),
        ({"draws": 0}, "draws is 0"),
        ({"samples": 0}, "samples is 0"),
        ({"rows": 0}, "rows is 0"),
        ({"rows": [0, 4]}, "those of the data are 0 to 3"),
        ({"rows": [1, 1]}, "different numbers"),
        ({"rows": []}, "different numbers"),
        ({"draws": 10**9}, r"take fewer draws$"),
    ):
        with pytest.raises(InputError, match=said):
            ppvae.to_datatree(tables, x, **{**SMALL_TREE, **wrong})
    unfit: tuple[tuple[Any, str], ...] = (
        (x[:, :2], r"give x as \(rows, 3\)"),
        ({"y": x}, "it needs 'x'"),
        ({"x": x, "y": x[:2]}, "the same rows"),
        (object(), "no tensor can be made"),
        (torch.full((4, 3), math.nan), "row 0 of data holds nan"),
    )
    for data, said in unfit:
        with pytest.raises(InputError, match=said):
            ppvae.to_datatree(tables, data, **SMALL_TREE)
    grey = torch.zeros(3, 1, 5, 4)
    grey[2, 0, 1, 1] = 0.4
    with pytest.raises(InputError, match=r"row 2 of data holds 0\.4, and Bernoulli"):
        ppvae.to_datatree(images, grey, **SMALL_TREE)
    monkeypatch.setattr(ppvae.arviz.sizes, "LIMIT", 2 * _bytes_of_a_row())
    with pytest.raises(InputError, match=r"for 4 rows take .* or no more than rows=2"):
        ppvae.to_datatree(tables, x, **SMALL_TREE)


def _bytes_of_a_row() -> int:
    """Two latents and three columns, of posterior and prior in float32, and two densities."""
    return CHAINS * DRAWS * (2 * 4 * (2 + 3) + 16)


def test_where_nobody_says_how_many_rows_the_tree_stays_small(
    tables: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ppvae.arviz.sizes, "USUAL", 3 * _bytes_of_a_row())
    tree = ppvae.to_datatree(tables, **SMALL_TREE)
    assert tree["posterior"].sizes["data"] == 3
    monkeypatch.setattr(ppvae.arviz.sizes, "ROWS", 2)
    assert ppvae.to_datatree(tables, **SMALL_TREE)["posterior"].sizes["data"] == 2
