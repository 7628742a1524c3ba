"""Latents of an aggregate prior in programs of every kind, and its number of codes."""

import math
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch import Tensor

from ppvae.bounds.audit import audit
from ppvae.data import as_split, load
from ppvae.diagnostics import subject
from ppvae.diagnostics.bound.aggregate_prior import aggregate_prior, held_out_gain
from ppvae.guides import (
    BottomUp,
    Delta,
    MeanField,
    SemiSupervised,
    TopDown,
)
from ppvae.models import (
    VAE,
    ConditionalVAE,
    Gaussian,
    HierarchicalVAE,
    SemiSupervisedVAE,
    StandardNormal,
)
from ppvae.programs import Pair
from ppvae.programs.generation import decode
from tests.support.codes import (
    SIGMAS,
    Programs,
    autoencoder,
    clusters,
    coded,
    normal,
    programs,
    seen,
    wide,
)
from tests.support.pca import AFFINE

__all__ = ["seen"]  # fixtures

# Latents, and number of codes


def test_a_point_mass_has_one_code_of_a_datum_and_a_distribution_ten(seen: list[Any]) -> None:
    aggregate_prior(*autoencoder(normal(60, 2)), components=2)
    aggregate_prior(*coded(normal(60, 2)), components=2)
    assert [len(fitted.seen_) for fitted in seen] == [60, 600]
    assert len(np.unique(seen[1].seen_, axis=0)) == 600


def test_binarized_anew_a_datum_has_as_many_codes_as_draws(seen: list[Any]) -> None:
    data = load("digits", binarize="dynamic")
    torch.manual_seed(0)
    model = VAE(StandardNormal(3), Gaussian(data.shape, variance=1.0), AFFINE)
    guide = Delta(3, data.shape, AFFINE)
    batch = data.train.take(torch.arange(64))
    pair = Pair(model, guide, batch)
    r = aggregate_prior(pair, audit(pair, Trace_ELBO, batch), data.train, components=2)
    (fitted,) = seen
    assert len(fitted.seen_) == 10 * len(data.train)
    assert len(np.unique(fitted.seen_.round(6), axis=0)) > 9 * len(data.train)
    assert r.loc.dtype == torch.float32


def test_no_more_codes_are_fitted_to_than_stated(
    seen: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.diagnostics.bound.aggregate_prior.FITTED", 90)
    aggregate_prior(*coded(100.0 * torch.arange(60.0)[:, None], 0.1), components=2)
    codes = seen[0].seen_[:, 0]
    assert len(codes) == 90
    # Each datum once before any is drawn from twice.
    counts = np.unique((codes * 1e3).round(-1), return_counts=True)[1]
    assert set(counts) <= {1, 2}


def test_a_code_that_never_varies_and_one_of_another_unit_are_fitted_alike() -> None:
    x = clusters(200).float().double()
    still = torch.cat([x, torch.full((200, 1), 7.0).double()], 1)
    narrow = torch.cat([1e-6 * x[:, :1], x[:, 1:]], 1).float().double()
    z, at = x[:20] + 0.1, torch.full((20, 1), 7.0).double()
    one, two, three = (
        aggregate_prior(*autoencoder(codes), components=2)().log_prob
        for codes in (x, still, narrow)
    )
    # A third independent number adds its own density only.
    added = two(torch.cat([z, at], 1)) - one(z)
    torch.testing.assert_close(added, added[:1].expand(20), rtol=1e-4, atol=1e-4)
    squeezed = torch.cat([1e-6 * z[:, :1], z[:, 1:]], 1)
    torch.testing.assert_close(three(squeezed), one(z) + 6 * math.log(10), rtol=1e-3, atol=1e-3)


def test_fits_that_do_not_converge_are_silent() -> None:
    r = aggregate_prior(*autoencoder(torch.ones(20, 2)), components=3)  # one point, over and over
    assert torch.isfinite(r().log_prob(torch.ones(2).double()))


def hierarchy(guide: Any, x: Tensor) -> tuple[HierarchicalVAE, Programs]:
    torch.manual_seed(0)
    model = HierarchicalVAE(StandardNormal(2), Gaussian((4,), variance=1.0), AFFINE, hidden=())
    programs = subject(
        model.double(), guide(model, (4,), AFFINE, hidden=()).double(), x, elbo=Trace_ELBO
    )
    return model, programs


@pytest.mark.parametrize("guide", [TopDown, BottomUp])
def test_of_a_hierarchy_it_is_the_top_and_the_layers_below_are_the_models(guide: Any) -> None:
    x = clusters(100) @ normal(2, 4)
    model, (pair, facts, rows) = hierarchy(guide, x)
    r = aggregate_prior(pair, facts, rows, components=2)
    assert [top.name for top in r.tops] == ["z2"]
    torch.manual_seed(0)
    drawn = r.latents(20_000)
    assert {name: tuple(value.shape) for name, value in drawn.items()} == {"z2": (20_000, 2)}
    mean, _ = decode(pair, facts, {"x": torch.zeros(20_000, 4)}, drawn)
    # The means of z1 given z2, and of x given z1, are affine.
    with torch.no_grad():
        above = model.conditional(1, drawn["z2"]).mean
        want = model.likelihood(model.decoder(above)).mean
    off = mean - want
    assert bool((off.mean(0).abs() < SIGMAS * off.std(0) / math.sqrt(len(off))).all())
    assert float(off.std(0).min()) > 0.1
    assert held_out_gain(r, pair, facts, rows).mean > 0


def test_a_conditional_model_has_one_density_for_every_y() -> None:
    torch.manual_seed(0)
    x, y = clusters(90) @ normal(2, 4), torch.arange(90) % 3
    model = ConditionalVAE(StandardNormal(2), Gaussian((4,), variance=1.0), AFFINE, 3).double()
    guide = MeanField(2, (4,), AFFINE, 3).double()
    pair, facts, rows = subject(model, guide, x, y)
    r = aggregate_prior(pair, facts, rows, components=2)
    drawn = r.latents(5)
    like = {"x": torch.zeros(5, 4), "y": torch.tensor([0, 1, 2, 2, 2])}
    mean, _ = decode(pair, facts, like, drawn)
    with torch.no_grad():
        known = torch.cat([drawn["z"], torch.eye(3).double()[like["y"]]], 1)
        want = model.likelihood(model.decoder(known)).mean
    torch.testing.assert_close(mean.double(), want, rtol=1e-5, atol=1e-5)


def test_beside_classes_it_is_of_the_rest_and_classes_are_the_models() -> None:
    torch.manual_seed(0)
    x, y = clusters(90) @ normal(2, 4), torch.arange(90) % 4 - 1
    model = SemiSupervisedVAE(StandardNormal(2), Gaussian((4,), variance=1.0), AFFINE, 3).double()
    guide = SemiSupervised(2, (4,), AFFINE, 3).double()
    pair, facts, rows = subject(model, guide, x, y, elbo=TraceEnum_ELBO)
    r = aggregate_prior(pair, facts, rows, components=2)
    assert r.latents(3).keys() == {"z"}
    like = {"x": torch.zeros(3000, 4), "y": torch.zeros(3000, dtype=torch.long)}
    conditioned = poutine.condition(pair.call_model, r.latents(3000))
    with torch.no_grad():
        trace: Any = poutine.trace(conditioned).get_trace(**like)
    counts = trace.nodes["y"]["value"].bincount(minlength=3)
    assert bool(((counts - 1000).abs() < SIGMAS * math.sqrt(3000 * 2 / 9)).all())


def two_latents(x: Tensor) -> Programs:
    """A number and a matrix in an inner plate, with other names, and a third latent below them."""

    def model(x: Tensor) -> None:
        sigma = pyro.param("sigma", wide(1.0))
        three = pyro.plate("three", 3, dim=-1)
        with pyro.plate("rows", len(x), dim=-2):
            u = pyro.sample("u", dist.Normal(wide(0.0), 1.0))
            with three:
                v = pyro.sample("v", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
                w = pyro.sample("w", dist.Normal(u.expand(-1, 3), 1.0))
                at = torch.cat([w[..., None], v], -1) * sigma
                pyro.sample("seen", dist.Normal(at, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        sigma = pyro.param("width", wide(0.1))
        with pyro.plate("rows", len(x), dim=-2):
            u = pyro.sample("u", dist.Normal(x[:, :1, 0], sigma))
            with pyro.plate("three", 3, dim=-1):
                pyro.sample("v", dist.Normal(x[..., 1:], sigma).to_event(1))
                pyro.sample("w", dist.Normal(u.expand(-1, 3), sigma))

    return subject(model, guide, x, elbo=Trace_ELBO)


def test_several_latents_at_the_top_are_fitted_together_in_whatever_plates_they_are() -> None:
    x = normal(500, 3, 3)
    x[:, 2, 2] = 2 * x[:, 0, 0]  # v_22 depends on u
    pair, facts, rows = two_latents(x)
    assert facts.axes.data == -2
    r = aggregate_prior(pair, facts, rows, components=1)
    assert r.latent_dim == 7
    torch.manual_seed(0)
    drawn = r.latents(4000)
    assert {name: tuple(value.shape) for name, value in drawn.items()} == {
        "u": (4000, 1), "v": (4000, 3, 2),
    }  # fmt: skip
    together = torch.corrcoef(torch.cat([drawn["u"], drawn["v"].flatten(1)], 1).T)[0]
    assert together[-1] > 0.97
    assert float(together[1:-1].abs().max()) < 0.2
    assert float(drawn["v"][:, 2, 1].std()) == pytest.approx(2, abs=0.3)
    mean, _ = decode(pair, facts, {"x": torch.zeros(4000, 3, 3)}, drawn)
    torch.testing.assert_close(mean[..., 1:].double(), drawn["v"], rtol=1e-5, atol=1e-5)
    # The prior ignores that v_22 depends on u: most of the gain is there.
    assert held_out_gain(r, pair, facts, as_split(x)).mean > 1


def test_a_plate_outside_that_of_the_data_keeps_its_place() -> None:
    places = torch.arange(6.0).reshape(3, 2).double()
    x = places + 0.1 * normal(200, 3, 2)

    def model(x: Tensor) -> None:
        with pyro.plate("three", 3, dim=-2), pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x.transpose(0, 1))

    def guide(x: Tensor) -> None:
        s = pyro.param("s", wide(0.1))
        with pyro.plate("three", 3, dim=-2), pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x.transpose(0, 1).double(), s).to_event(1))

    pair, facts, rows = subject(model, guide, x, elbo=Trace_ELBO)
    r = aggregate_prior(pair, facts, rows, components=1)
    z = r.latents(300)["z"]
    assert tuple(z.shape) == (3, 300, 2)
    torch.testing.assert_close(z.mean(1), places, rtol=0, atol=0.1)
    # log p(z) of all six numbers: half the sum of their squares, and the gain by narrowness.
    gain = held_out_gain(r, pair, facts, rows)
    truth = 0.5 * float(places.square().sum()) - 6 * (math.log(0.02) / 2 + 0.5 - 0.01)
    assert gain.mean == pytest.approx(truth, abs=SIGMAS * gain.standard_error + 0.2)


def test_programs_that_take_one_batch_dimension_only_will_do() -> None:
    x = clusters(300)
    model, guide = programs(0.6)

    def flat(x: Tensor) -> None:
        assert x.dim() == 2
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
            if z.dim() > 2:
                raise ValueError("one batch dimension only")
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    one, other = (subject(each, guide, x, elbo=Trace_ELBO) for each in (model, flat))
    assert (one[1].vectorizes, other[1].vectorizes) == (True, False)
    found = [aggregate_prior(*made, components=2) for made in (one, other)]
    assert torch.equal(found[0].loc, found[1].loc)
    assert held_out_gain(found[0], *one) == held_out_gain(found[1], *other)
