"""The importance-weighted bound on inner plates and AutoGuides, and its refusals."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import RenyiELBO, config_enumerate
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from torch import Tensor

from ppvae.errors import InputError
from tests.support.bounds import both_ways
from tests.support.one_latent import COLUMNS, ROWS, Program, discrete, discrete_guide, ours, rows


def inner_plates(x: Tensor) -> None:
    """Two latents, columns in their own plate, and two observed sites."""
    data = pyro.plate("data", len(x), dim=-1)
    with data:
        z = pyro.sample("z", dist.Normal(torch.zeros(()).to(x), 1.0))
        pyro.deterministic("square", z**2)
        pyro.sample("label", dist.Normal(z, 2.0), obs=x[:, 0])
    with data, pyro.plate("columns", COLUMNS, dim=-2):
        pyro.sample("x", dist.Normal(z, 1.0), obs=x.T)


@both_ways
def test_inner_plates_and_auxiliary_sites_are_summed_within_a_datum(vectorize: bool) -> None:
    x, k = rows(), 6
    drawn = []

    def guide(x: Tensor) -> None:
        """z = 2 u, where u is not in the model: a normal twice as wide."""
        with pyro.plate("data", len(x), dim=-1):
            u = pyro.sample("u", dist.Normal(0.3 * x.sum(-1), 0.5), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Delta(2 * u, torch.full_like(u, -math.log(2))))
        drawn.append(2 * u.reshape(-1, ROWS))

    elbo = ours(k, vectorize, max_plate_nesting=2)
    torch.manual_seed(0)
    value = -elbo.loss(inner_plates, guide, x)
    z = torch.cat(drawn)
    assert len(z) == k
    log_w = (
        dist.Normal(0.0, 1.0).log_prob(z)
        + dist.Normal(z, 2.0).log_prob(x[:, 0])
        + dist.Normal(z[..., None], 1.0).log_prob(x).sum(-1)
        - dist.Normal(0.6 * x.sum(-1), 1.0).log_prob(z)
    )
    want = (log_w.logsumexp(0) - math.log(k)).sum()
    assert value == pytest.approx(float(want), rel=1e-10)


def test_pyros_automatic_guide_of_local_latents_works() -> None:
    x = rows()
    with pyro.settings.context(module_local_params=True):
        guide = AutoNormal(inner_plates)
        value = bound_of_auto(ours(4), guide, x)
        theirs = bound_of_auto(
            RenyiELBO(alpha=0, num_particles=4, vectorize_particles=True), guide, x
        )
    assert value == pytest.approx(theirs, rel=1e-12)


def bound_of_auto(elbo: Any, guide: Any, x: Tensor) -> float:
    guide(x)
    torch.manual_seed(0)
    return float(elbo.loss(inner_plates, guide, x))


def test_a_deterministic_value_is_no_site_of_the_data() -> None:
    def noted(x: Tensor) -> None:
        pyro.deterministic("total", x.sum())  # outside the plate: Pyro records it as observed
        local(x)

    x = rows()
    values = []
    for model in (local, noted):
        torch.manual_seed(0)
        values.append(ours(3).loss(model, local_guide, x))
    assert values[0] == values[1]


# Refused models and guides, with words of the error and its way out.


def unplated(x: Tensor) -> None:
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    pyro.sample("x", dist.Normal(z, torch.ones_like(x)).to_event(2), obs=x)


def unplated_guide(x: Tensor) -> None:
    pyro.sample("z", dist.Normal(0.0, 1.0))


def batch_without_plate(x: Tensor) -> None:
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    pyro.sample("x", dist.Normal(z, torch.ones_like(x)).to_event(1), obs=x)


def sequential(x: Tensor) -> None:
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    for i in map(int, pyro.plate("data", len(x))):
        pyro.sample(f"x{i}", dist.Normal(z, torch.ones_like(x[i])).to_event(1), obs=x[i])


def with_global(x: Tensor) -> None:
    scale = pyro.sample("scale", dist.LogNormal(torch.zeros(()).to(x), 1.0))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(()).to(x), 1.0))
        pyro.sample(
            "x", dist.Normal(z[..., None], scale * torch.ones_like(x[0])).to_event(1), obs=x
        )


def with_global_guide(x: Tensor) -> None:
    pyro.sample("scale", dist.LogNormal(torch.zeros(()).to(x), 0.1))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.sum(-1), 1.0))


def local(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(()).to(x), 1.0))
        pyro.sample("x", dist.Normal(z[..., None], torch.ones_like(x[0])).to_event(1), obs=x)


def local_guide(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.sum(-1), 1.0))


def extra_guide(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.sum(-1), 1.0))
        pyro.sample("u", dist.Normal(x.sum(-1), 1.0))


def global_noise_guide(x: Tensor) -> None:
    pyro.sample("noise", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
    local_guide(x)


def point_guide(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Delta(x.sum(-1)))


def nothing_observed(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(torch.zeros(()).to(x), 1.0))


def two_plates(x: Tensor) -> None:
    local(x)
    with pyro.plate("others", 2):
        pyro.sample("y", dist.Normal(torch.zeros(()).to(x), 1.0), obs=x[:2, 0])


def part_of_a_datum(x: Tensor) -> None:
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(()).to(x), 1.0))
        with pyro.plate("columns", COLUMNS, subsample_size=2, dim=-2) as i:
            pyro.sample("x", dist.Normal(z, 1.0), obs=x.T[i])


COUPLES = "it couples all data, so that weights per datum do not exist"
NO_PLATE = "in no vectorized plate that all observed sites share"
REFUSED: dict[str, tuple[Program, Program, list[str]]] = {
    "global latent": (
        with_global,
        with_global_guide,
        ["'scale' of the model", "LogNormal, in no plate", "'data'", COUPLES, "take Trace_ELBO"],
    ),
    "global auxiliary": (
        local,
        global_noise_guide,
        ["'noise' of the guide", "Normal, in no plate", "'data'", COUPLES, "take Trace_ELBO"],
    ),
    "no plate": (
        unplated,
        unplated_guide,
        ["'x'", "(Normal, in no plate)", NO_PLATE, 'pyro.plate("data"'],
    ),
    "no plate for a batch": (
        batch_without_plate,
        unplated_guide,
        ["'x'", "(Normal, in no plate)", NO_PLATE],
    ),
    "sequential plate": (
        sequential,
        unplated_guide,
        ["'x0'", "in plate 'data' (a loop)", NO_PLATE],
    ),
    "no common plate": (two_plates, local_guide, ["'y'", "Normal, in plate 'others'", NO_PLATE]),
    "nothing observed": (nothing_observed, local_guide, ["no observed site", "obs="]),
    "part of a datum": (
        part_of_a_datum,
        local_guide,
        ["'x'", "'columns'", "2 of 3", "subsample the data alone"],
    ),
    "discrete": (
        discrete,
        discrete_guide,
        ["'z' of the guide", "Bernoulli", "no reparameterized draw", "take Trace_ELBO"],
    ),
    "point mass": (
        local,
        point_guide,
        ["'z' of the guide", "Delta", "density is infinite", "take Trace_ELBO", "MeanField"],
    ),
    "enumerated in the guide": (
        discrete,
        config_enumerate(discrete_guide),
        ["'z'", "enumerated ('parallel')", "take TraceEnum_ELBO"],
    ),
    "enumerated in the model": (
        config_enumerate(discrete),
        lambda x: None,
        ["'z'", "enumerated ('parallel')", "take TraceEnum_ELBO"],
    ),
    "missing in the guide": (local, lambda x: None, ["'z' of the model", "draw it in the guide"]),
    "missing in the model": (local, extra_guide, ["'u' of the guide", "is_auxiliary"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_weights_is_refused_in_a_sentence(case: str) -> None:
    model, guide, words = REFUSED[case]
    for elbo in (ours(2, vectorize=False), ours(2, max_plate_nesting=2)):
        for call in (elbo.loss, elbo.loss_and_grads, elbo.differentiable_loss):
            with pytest.raises(InputError) as refusal:
                call(model, guide, rows())
            sentence = str(refusal.value)
            assert all(word in sentence for word in words), sentence
            assert "\n" not in sentence


def test_a_joint_automatic_guide_couples_data_and_is_refused() -> None:
    x = rows()
    with pyro.settings.context(module_local_params=True):
        guide = AutoMultivariateNormal(local)
        with pytest.raises(InputError, match=f"'_AutoMultivariateNormal_latent'.*{COUPLES}"):
            ours(2).loss(local, guide, x)


def test_fewer_than_one_particle_is_refused() -> None:
    with pytest.raises(InputError, match="num_particles is 0; it must be at least 1"):
        ours(0).loss(local, local_guide, rows())
