"""Laws of activity: known variances, and the sentences about them."""

import math

import pytest
import torch
from torch import Tensor

from ppvae.diagnostics import Embedding, active_units
from ppvae.diagnostics.bound.activity import THRESHOLD, activity, alarm, collapsed
from ppvae.errors import InputError


def standardized(n: int) -> Tensor:
    t = torch.linspace(-1, 1, n, dtype=torch.float64)
    return (t - t.mean()) / t.std()


def embedding(**loc: Tensor) -> Embedding:
    return Embedding(loc, {site: torch.ones_like(value) for site, value in loc.items()})


def test_units_are_counted_at_each_threshold() -> None:
    variances = torch.tensor([0.0005, 0.002, 0.0099, 0.0101, 0.09, 0.2, 1.0], dtype=torch.float64)
    z = standardized(501)[:, None] * variances.sqrt() + 3.0
    found = activity(embedding(z=z, u=torch.full((501, 3), 0.7)))
    torch.testing.assert_close(found.variance["z"], variances)
    assert found.active == {"z": 4, "u": 0}
    assert found.active["z"] == active_units(z)
    assert {t: counts["z"] for t, counts in found.sensitivity.items()} == {
        0.001: 6,
        0.01: 4,
        0.1: 2,
    }
    assert found.count(0.5) == {"z": 1, "u": 0}
    assert found.sizes == {"z": 7, "u": 3}
    assert found.fraction == {"z": pytest.approx(4 / 7), "u": 0.0}
    assert found.collapsed == ("u",)
    assert found.data == 501
    assert found.drawn == ()


def test_the_error_of_a_variance_is_that_of_its_law() -> None:
    n, repetitions = 400, 500
    normal = torch.randn(n, repetitions, generator=torch.Generator().manual_seed(0)).double()
    found = activity(embedding(z=normal))
    # Var(s^2) = 2 sigma^4 / (n - 1) for a normal.
    want = math.sqrt(2 / (n - 1))
    assert float(found.error["z"].mean()) == pytest.approx(want, rel=0.03)
    assert float(found.variance["z"].std()) == pytest.approx(want, rel=0.1)
    z = (found.variance["z"] - 1) / found.error["z"]
    assert 0.8 < float(z.square().mean()) < 1.3
    # Two points with equal shares: the fourth moment is the squared variance.
    two = torch.tensor([-1.0, 1.0]).repeat(200)[:, None].double()
    assert float(activity(embedding(z=two)).error["z"]) < 0.005


def test_a_family_without_a_mean_is_named() -> None:
    z = standardized(50)[:, None]
    found = activity(Embedding({"z": z}, {"z": torch.full_like(z, math.nan)}))
    assert found.drawn == ("z",)


def test_what_cannot_move_is_refused() -> None:
    with pytest.raises(InputError, match="embedding has 1 data"):
        activity(embedding(z=torch.zeros(1, 2)))
    with pytest.raises(InputError, match="means of site 'z' are not finite"):
        activity(embedding(z=torch.tensor([[0.0], [math.nan]])))


def test_the_alarm_names_the_sites_and_the_remedies() -> None:
    assert alarm([]) == ""
    assert alarm(["z"]) == (
        "posterior collapse: no unit of z is active; try a warm-up (`warm_up`), free bits "
        "(`elbo='FreeBitsELBO'`), another prior, or a smaller `beta` where it is above 1"
    )
    assert "no unit of a or c is active" in alarm(["a", "c"])
    assert THRESHOLD == 0.01


def test_a_posterior_has_collapsed_where_it_says_the_same_of_all_data() -> None:
    n = 200
    loc = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    flat, wide = 1e-3 * loc, torch.ones(n, 3)
    assert collapsed({"z": flat}, {"z": wide}) == ("z",)
    assert collapsed({"z": loc}, {"z": wide}) == ()
    # Under a narrow prior all is small, but the means vary relative to the posterior's scale.
    assert collapsed({"z": 0.05 * loc}, {"z": 0.02 * wide}) == ()
    assert collapsed({"z": 0.05 * loc}, {"z": 0.05 * wide * 100}) == ("z",)
    # A point mass varies or not; a few data show nothing.
    assert collapsed({"z": flat}, {"z": 0 * wide}) == ()
    assert collapsed({"z": flat[:4]}, {"z": wide[:4]}) == ()
    assert active_units(loc[:1]) == 0
