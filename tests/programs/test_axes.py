"""The sites, plates and axes of a program with a plate inside that of the data."""

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor

from ppvae.programs.axes import Axes
from ppvae.programs.plates import data_plate, describe, is_scaled, nesting, plates, subsampling
from ppvae.programs.sites import Nodes, observed, sites

ROWS, PARTS, PARTICLES, WIDTH = 4, 3, 5, 2
AXES = Axes(data=-2, nesting=2)


def program(x: Tensor) -> None:
    """Data along -2; z only in their plate, w also in that of the parts."""
    rows = pyro.plate("data", 2 * ROWS, subsample=torch.arange(ROWS), dim=-2)
    with rows:
        z = pyro.sample("z", dist.Normal(torch.zeros(ROWS, 1, WIDTH), 1.0).to_event(1))
        pyro.deterministic("twice", 2 * z)
        with pyro.plate("parts", PARTS, dim=-1):
            w = pyro.sample("w", dist.Normal(z.sum(-1), 1.0))
            pyro.sample("x", dist.Normal(w, 1.0), obs=x)


@pytest.fixture
def nodes() -> Nodes:
    x = torch.linspace(-1, 1, ROWS * PARTS).reshape(ROWS, PARTS)
    torch.manual_seed(0)
    trace: Any = poutine.trace(AXES.plate(PARTICLES)(program)).get_trace(x)
    trace.compute_log_prob()
    return sites(trace)


def test_subsamples_and_recorded_values_are_no_random_variables(nodes: Nodes) -> None:
    assert list(nodes) == ["z", "w", "x"]
    trace: Any = poutine.trace(program).get_trace(torch.zeros(ROWS, PARTS))
    assert list(observed(trace)) == ["x"]


def test_plates_are_found_with_what_they_take_of_their_data(nodes: Nodes) -> None:
    assert nesting(nodes.values()) == 3  # with the particles, under another name than Pyro's
    plate = data_plate(nodes, ROWS)
    assert plate is not None
    assert (plate.name, plate.dim) == ("data", AXES.data)
    assert {plate.name for plate in plates(nodes["z"])} == {"_particles", "data"}
    assert subsampling(nodes["w"]) == 2
    assert not is_scaled(nodes["w"])
    assert is_scaled(nodes["w"] | {"scale": 1.0})
    assert describe(nodes["z"]) == "Normal, in plate '_particles', 'data'"


def test_a_density_is_summed_within_each_datum(nodes: Nodes) -> None:
    for name in ("w", "x"):
        log_prob = nodes[name]["log_prob"]
        torch.testing.assert_close(AXES.by_datum(log_prob), log_prob.sum(-1))
    torch.testing.assert_close(
        AXES.by_datum(nodes["z"]["log_prob"]), nodes["z"]["log_prob"][..., 0]
    )
    alone = torch.randn(ROWS, PARTS)  # of one call without a plate of particles
    torch.testing.assert_close(AXES.by_datum(alone), alone.sum(-1)[None])


@pytest.mark.parametrize(("name", "events"), [("z", 1), ("w", 0)])
def test_columns_have_an_inverse_and_weights_by_datum_reach_them(
    name: str, events: int, nodes: Nodes
) -> None:
    value = nodes[name]["value"]
    columns = AXES.columns(value, events)
    assert columns.shape == (PARTICLES, ROWS, WIDTH if events else PARTS)
    torch.testing.assert_close(AXES.uncolumns(columns, value, events), value)
    weights = torch.rand(PARTICLES, ROWS)
    weighed = AXES.spread(weights, events) * value
    torch.testing.assert_close(AXES.columns(weighed, events), weights[..., None] * columns)
    one = AXES.padded(value[0].narrow(AXES.data_dim(events), 0, 1), events)
    assert torch.equal(AXES.across(one, 7).select(AXES.data_axis, 6), one.select(AXES.data_axis, 0))


def test_without_a_plate_of_the_data_nothing_is_asked_by_datum() -> None:
    with pytest.raises(ValueError, match="no plate of the model holds the data"):
        Axes(None, 1).by_datum(torch.zeros(3))
