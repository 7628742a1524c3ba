"""Laws of the ArviZ tree: its names, draws and densities are those of the programs."""

import math
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyro
import pytest
import torch
import xarray as xr
from torch import Tensor
from torch.distributions import Bernoulli, Normal

import ppvae
import ppvae.arviz.drawing
import ppvae.arviz.sizes
from ppvae.data import as_split
from ppvae.diagnostics import log_evidence
from ppvae.diagnostics.trust.calibration import calibrate
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.guides.scales import posterior_scale
from ppvae.models import VAE, Gaussian
from ppvae.programs.facts import Audit
from ppvae.run import Run
from tests.support.fits import table
from tests.support.slow import few
from tests.support.trees import (
    CHAINS,
    DRAWS,
    SIGMAS,
    SMALL_TREE,
    fitted,
    folder,
    image_tree,
    images,
    is_near,
    table_tree,
    tables,
    values,
)

__all__ = ["folder", "image_tree", "images", "table_tree", "tables"]  # fixtures


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
        likelihood = run.model.likelihood
        if isinstance(likelihood, Gaussian):
            return Normal(h, likelihood.variance.sqrt())
    return Bernoulli(logits=h)


def surprise(run: Run, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of log p(x | z) minus its expectation (minus the entropy), and its standard error."""
    given = likelihood_of(run, z)
    found = given.log_prob(x) + given.entropy()
    return found.mean(), found.std() / math.sqrt(found.numel())


@pytest.mark.parametrize("kind", few(["table", "images"], 2))
@pytest.mark.parametrize("vectorizes", [True, False])
def test_draws_and_densities_are_those_of_the_programs(
    kind: str, vectorizes: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: Run = request.getfixturevalue("tables" if kind == "table" else "images")
    facts = Audit(**{**run.audit.__dict__, "vectorizes": vectorizes})
    monkeypatch.setitem(run.__dict__, "audit", facts)
    # Chunk sizes that divide neither the rows nor the draws.
    monkeypatch.setattr(ppvae.arviz.drawing, "BATCH", 4)
    monkeypatch.setattr(ppvae.arviz.drawing, "CHUNK", 4 * math.prod(run.data_shape) * 7)
    tree = ppvae.to_datatree(run, **SMALL_TREE)
    x = values(tree, "observed_data/x").float()
    z, n = values(tree, "posterior/z"), CHAINS * DRAWS

    loc, scale = guide_of(run, x)
    assert is_near(z.mean((0, 1)), loc, scale / math.sqrt(n))
    pulls = (z - loc) / scale
    assert is_near(pulls.square().mean(), torch.tensor(1.0), math.sqrt(2 / pulls.numel()))
    # Products of batches of different sizes are rounded differently.
    log_guide = Normal(loc, scale).log_prob(z).sum(-1)
    torch.testing.assert_close(
        values(tree, "sample_stats/log_guide"), log_guide, rtol=1e-4, atol=1e-3
    )

    likelihood = likelihood_of(run, z).log_prob(x).flatten(3).sum(-1)
    joint = Normal(0.0, 1.0).log_prob(z).sum(-1) + likelihood
    torch.testing.assert_close(values(tree, "sample_stats/log_joint"), joint, rtol=1e-4, atol=1e-4)

    for group in ("posterior", "prior"):
        z = values(tree, f"{group}/z")
        drawn = values(tree, f"{group}_predictive/x").float()
        own, error = surprise(run, z, drawn)
        assert is_near(own, torch.tensor(0.0), error)
        # At the z of another draw of the same datum, x would be less likely.
        other, error = surprise(run, z.roll(1, dims=1), drawn)
        assert float(other) < -SIGMAS * float(error)
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


def test_a_number_of_rows_is_drawn_by_the_seed(images: Run) -> None:
    def rows(seed: int) -> list[int]:
        tree = ppvae.to_datatree(images, rows=4, seed=seed, **SMALL_TREE)
        numbers: list[int] = tree["posterior"]["data"].to_numpy().tolist()
        return numbers

    found = rows(0)
    assert found == sorted(set(found))
    assert found == rows(0)
    assert [0, 1, 2, 3] != found != rows(1)


def test_data_are_taken_in_every_form(tables: Run) -> None:
    x = tables.data().test.take(torch.arange(5))["x"]
    np.save(tables.path / "raw.npy", table()[:5])
    first = ppvae.to_datatree(tables, rows=range(5), **SMALL_TREE)
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


# On disk, and in ArviZ


@pytest.mark.parametrize("kind", few(["table_tree", "image_tree"], 2))
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
        (object(), "cannot become a tensor"),
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
