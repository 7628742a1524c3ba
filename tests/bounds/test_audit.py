"""Laws of the audit: its facts about programs of the package and of users, and its refusals."""

import re
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO, config_enumerate
from torch import Tensor, nn

from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.distributions.support import first_outside_support, in_words
from ppvae.errors import InputError
from ppvae.guides import Delta, MeanField
from ppvae.models import VAE, Bernoulli, Gaussian, StandardNormal
from ppvae.programs import Pair, Program
from ppvae.programs.facts import Audit, Site
from tests.support.bounds import LINEAR
from tests.support.slow import few

ROWS, COLUMNS = 5, 3
NETWORK = nn.Linear(COLUMNS, 1)


def batch(**extras: Tensor) -> dict[str, Tensor]:
    return {"x": torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0)), **extras}


def facts(
    model: Program, guide: Program, elbo: type[ELBO] = TraceMeanField_ELBO, **extras: Tensor
) -> Audit:
    return audit(Pair(model, guide, batch(**extras)), elbo, batch(**extras))


def observe(z: Tensor, x: Tensor, name: str = "x") -> None:
    """x ~ N(z 1, I), z being ``(..., 1)``."""
    pyro.sample(name, dist.Normal(z.expand(*z.shape[:-1], COLUMNS), 1.0).to_event(1), obs=x)


def latent(name: str, loc: Any = 0.0) -> Tensor:
    z: Tensor = pyro.sample(name, dist.Normal(loc * torch.ones(1), 1.0).to_event(1))
    return z


def model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        observe(latent("z"), x)


def guide(x: Tensor) -> None:
    pyro.module("network", NETWORK)
    with pyro.plate("data", len(x)):
        latent("z", NETWORK(x))


def test_facts_of_the_variational_autoencoder() -> None:
    found = facts(
        VAE(StandardNormal(2), Gaussian((COLUMNS,), variance=1.0)), MeanField(2, (COLUMNS,))
    )
    assert found.sites == (
        Site("z", "Normal", "Normal", "exact", (ROWS, 2), 1.0),
        Site("x", "Normal", None, "-", (ROWS, COLUMNS), 1.0),
    )
    assert (found.is_bound, found.is_local, found.vectorizes) == (True, True, True)
    assert (found.axes.data, found.data_size, found.axes.nesting) == (-1, None, 1)
    assert (found.latents, found.exact, found.notes) == (("z",), frozenset({"z"}), ())
    assert set(found.supports) == {"x"}
    by_draws = facts(model, guide, Trace_ELBO)
    assert (by_draws.sites[0].kl, by_draws.exact) == ("Monte Carlo", frozenset())


def test_a_point_mass_is_no_bound() -> None:
    for elbo in LINEAR:
        found = facts(
            VAE(StandardNormal(2), Gaussian((COLUMNS,), variance=1.0)), Delta(2, (COLUMNS,)), elbo
        )
        assert not found.is_bound
        assert found.sites[0].kl == "point mass"
        assert "no bound on log p(x)" in found.notes[0]


def test_the_support_finds_the_first_value_outside() -> None:
    x = (torch.rand(ROWS, 4) < 0.5).float()
    pair = Pair(VAE(StandardNormal(2), Bernoulli((4,))), MeanField(2, (4,)), {"x": x})
    family, support = audit(pair, Trace_ELBO, {"x": x}).supports["x"]
    assert family == "Bernoulli"
    assert first_outside_support(support, x) is None
    x[3, 2] = 0.5
    assert first_outside_support(support, x) == (3, 0.5, in_words(support))


def test_a_support_may_end_apart_by_element_and_not_by_row() -> None:
    trials = torch.tensor([5.0, 10.0]).expand(64, 2)
    support: Any = dist.constraints.independent(
        dist.Binomial(trials, probs=torch.tensor(0.5)).support, 1
    )
    x = torch.tensor([[5.0, 10.0], [1.0, 2.0], [6.0, 6.0]])
    assert first_outside_support(support, x) == (2, 6.0, in_words(support))
    assert in_words(support) == "integers from 0 to 5 or up to 10"
    assert (
        in_words(dist.Binomial(torch.full((64, 2), 5.0), probs=torch.tensor(0.5)).support)
        == "integers from 0 to 5"
    )
    with pytest.raises(InputError, match="between rows"):
        first_outside_support(
            dist.Binomial(torch.arange(1.0, 4.0)[:, None], probs=torch.tensor(0.5)).support,
            x[:, :1],
        )


def nothing_observed(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        latent("z")


def two_latents(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        observe(latent("z") + latent("w"), x)


def guide_of_both(x: Tensor) -> None:
    pyro.module("network", NETWORK)
    with pyro.plate("data", len(x)):
        latent("z", NETWORK(x))
        latent("w", NETWORK(x))


def other_event(x: Tensor) -> None:
    pyro.module("network", NETWORK)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(NETWORK(x).expand(-1, 2), 1.0).to_event(1))


def without_plate(x: Tensor) -> None:
    pyro.module("network", NETWORK)
    pyro.sample("z", dist.Normal(NETWORK(x), 1.0).to_event(2))


def samples_the_data(x: Tensor) -> None:
    guide(x)
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Normal(torch.zeros(COLUMNS), 1.0).to_event(1))


def discrete_model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        observe(pyro.sample("z", dist.Bernoulli(0.5))[..., None], x)


def discrete_guide(x: Tensor) -> None:
    pyro.module("network", NETWORK)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Bernoulli(logits=NETWORK(x).squeeze(-1)))


enumerated = config_enumerate(discrete_guide)


@pytest.mark.parametrize(
    ("p", "q", "elbo", "sentence"),
    [
        (two_latents, guide, Trace_ELBO, "model samples 'w', which the guide does not"),
        (model, guide_of_both, Trace_ELBO, "guide samples 'w', which the model does not"),
        (model, other_event, Trace_ELBO, "'z' has batch (5,) and event (1,) in the model"),
        (model, without_plate, Trace_ELBO, "batch () and event (5, 1) in the guide"),
        (poutine.scale(model, 0.5), guide, Trace_ELBO, "scaled by 0.5 in the model and by 1 in"),
        (model, poutine.scale(guide, 3.0), Trace_ELBO, "scaled by 1 in the model and by 3 in"),
        (nothing_observed, guide, Trace_ELBO, "the model observes nothing (its sites: 'z')"),
        (model, samples_the_data, Trace_ELBO, "'x' is observed in the model and sampled in the"),
        (discrete_model, enumerated, Trace_ELBO, "asks to be enumerated, and Trace_ELBO does not"),
        (discrete_model, discrete_guide, TraceMeanField_ELBO, "no reparameterized draw"),
    ],
)
def test_what_disagrees_is_refused(
    p: Callable[[Tensor], None],
    q: Callable[[Tensor], None],
    elbo: type[ELBO],
    sentence: str,
) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        facts(p, q, elbo)


def test_what_the_model_cannot_decode_is_explained_and_other_failures_are_its_own() -> None:
    sentence = r"'z' has batch \(5,\) and event \(2,\) in the model, batch \(5,\) and event \(4,\)"
    with pytest.raises(InputError, match=sentence):
        facts(VAE(StandardNormal(2), Gaussian((COLUMNS,), variance=1.0)), MeanField(4, (COLUMNS,)))

    def sum_of(x: Tensor) -> None:
        model(x)
        if poutine.runtime.am_i_wrapped() and not torch.is_grad_enabled() and calls:
            raise RuntimeError("of the model's own")
        calls.append(1)

    calls: list[int] = []
    with pytest.raises(RuntimeError, match="of the model's own"):
        facts(sum_of, guide)


def test_what_agrees_is_accepted() -> None:
    assert facts(discrete_model, discrete_guide, Trace_ELBO).sites[0].kl == "Monte Carlo"
    assert facts(two_latents, guide_of_both).latents == ("z", "w")


def test_a_scale_in_both_programs_is_noted() -> None:
    found = facts(poutine.scale(model, 0.5), poutine.scale(guide, 0.5))
    assert [site.scale for site in found.sites] == [0.5, 0.5]
    assert "site 'z' is scaled by 0.5 in the programs themselves" in found.notes[0]


def test_an_auxiliary_site_of_the_guide_is_accepted() -> None:
    def auxiliary(x: Tensor) -> None:
        guide(x)
        with pyro.plate("rows", len(x)):
            pyro.sample("u", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})

    assert facts(model, auxiliary, Trace_ELBO).latents == ("z",)


def ladder(x: Tensor) -> None:
    """p(z2) p(z1 | z2) p(x | z1)."""
    with pyro.plate("data", len(x)):
        observe(latent("z1", 0.9 * latent("z2")), x)


def bottom_up(x: Tensor) -> None:
    """q(z1 | x) q(z2 | z1)."""
    pyro.module("network", NETWORK)
    with pyro.plate("data", len(x)):
        latent("z2", 0.5 * latent("z1", NETWORK(x)))


def top_down(x: Tensor) -> None:
    """q(z2 | x) q(z1 | z2, x)."""
    pyro.module("network", NETWORK)
    with pyro.plate("data", len(x)):
        latent("z1", 0.5 * latent("z2", NETWORK(x)) + NETWORK(x))


def test_an_order_that_crosses_is_refused_under_an_analytic_kl_alone() -> None:
    sentence = "in the model 'z1' depends on 'z2', and in the guide 'z2' depends on 'z1'"
    with pytest.raises(InputError, match=sentence):
        facts(ladder, bottom_up, TraceMeanField_ELBO)
    assert facts(ladder, bottom_up, Trace_ELBO).latents == ("z2", "z1")
    assert facts(ladder, top_down, TraceMeanField_ELBO).exact == {"z1", "z2"}


def mean_and_error(p: Program, q: Program, elbo: type[ELBO], n: int = 400) -> tuple[float, float]:
    pair = Pair(p, q, batch())
    bound = Bound(pair, elbo, audit(pair, elbo, batch()))
    torch.manual_seed(0)
    with torch.no_grad():
        values = torch.stack([bound(batch()).objective for _ in range(n)])
    return float(values.mean()), float(values.std()) / n**0.5


@pytest.mark.slow
def test_in_the_models_order_both_bounds_agree() -> None:
    one, error = mean_and_error(ladder, top_down, TraceMeanField_ELBO)
    two, other = mean_and_error(ladder, top_down, Trace_ELBO)
    assert abs(one - two) < 5 * (error**2 + other**2) ** 0.5
    assert max(error, other) < 1.0


def test_a_mask_that_the_model_does_not_name_is_refused() -> None:
    mask = torch.ones(ROWS, COLUMNS, dtype=torch.bool)
    with pytest.raises(InputError, match="the model does not name 'mask' in its signature"):
        facts(model, guide, mask=mask)

    def masked(x: Tensor, mask: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = latent("z").expand(*x.shape)
            pyro.sample("x", dist.Normal(z, 1.0).mask(mask).to_event(1), obs=x)

    assert facts(masked, guide, mask=mask).latents == ("z",)


@pytest.mark.slow
def test_a_kl_without_closed_form_is_noted_and_taken_by_draws() -> None:
    def student(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.StudentT(4.0, torch.zeros(1), 1.0).to_event(1))
            observe(z, x)

    found = facts(student, guide)
    assert found.sites[0].kl == "Monte Carlo"
    assert "no closed-form KL from Normal to StudentT" in found.notes[0]
    one, error = mean_and_error(student, guide, TraceMeanField_ELBO)
    two, other = mean_and_error(student, guide, Trace_ELBO)
    assert abs(one - two) < 5 * (error**2 + other**2) ** 0.5


def test_programs_with_two_latents_and_names_of_their_own() -> None:
    def p(x: Tensor) -> None:
        with pyro.plate("customers", len(x)):
            taste = latent("taste")
            price = pyro.sample("price", dist.LogNormal(0.0, 1.0))
            observe(taste - price[..., None], x, "basket")

    def q(x: Tensor) -> None:
        pyro.module("network", NETWORK)
        with pyro.plate("customers", len(x)):
            pyro.sample("price", dist.LogNormal(NETWORK(x).squeeze(-1), 0.5))
            latent("taste", NETWORK(x))

    found = facts(p, q)
    assert found.latents == ("taste", "price")
    assert found.exact == {"taste", "price"}
    assert list(found.supports) == ["basket"]
    assert (found.axes.data, found.is_local, found.vectorizes) == (-1, True, True)


def test_without_a_plate_there_is_no_figure_per_datum() -> None:
    def p(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 1), 1.0).to_event(2))
        pyro.sample("x", dist.Normal(z.expand(x.shape), 1.0).to_event(2), obs=x)

    found = facts(p, without_plate)
    assert (found.axes.data, found.is_local) == (None, False)
    assert "no plate of the model holds the data" in found.notes[0]


def test_a_latent_shared_by_all_data_is_not_local() -> None:
    def p(x: Tensor) -> None:
        shared = latent("shared")
        with pyro.plate("data", len(x)):
            observe(latent("z") + shared, x)

    def q(x: Tensor) -> None:
        latent("shared", pyro.param("loc", torch.zeros(1)))
        guide(x)

    found = facts(p, q)
    assert (found.axes.data, found.is_local) == (-1, False)


def stubborn(x: Tensor) -> None:
    """Like `guide`, with a network that takes exactly (batch, columns)."""
    pyro.module("network", NETWORK)
    with pyro.plate("data", len(x)):
        latent("z", NETWORK(x))


def stubborn_model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = latent("z")
        rows, _ = z.shape  # a batch, and nothing before it
        observe(z.reshape(rows, 1), x)


@pytest.mark.slow
@pytest.mark.parametrize("elbo", few(LINEAR, 3))
def test_a_program_of_one_batch_dimension_loops_over_particles(elbo: type[ELBO]) -> None:
    pair = Pair(stubborn_model, stubborn, batch())
    found = audit(pair, elbo, batch())
    assert not found.vectorizes
    assert facts(model, stubborn, elbo).vectorizes
    looped = Bound(pair, elbo, found, particles=4)
    with torch.no_grad():
        torch.manual_seed(1)
        values = torch.stack([torch.stack(looped(batch())) for _ in range(200)])
        m = NETWORK(batch()["x"])
    # z ~ N(m, 1): E (x - z)^2 = (x - m)^2 + 1; KL = m^2 / 2.
    x = batch()["x"]
    constant = torch.log(torch.tensor(2 * torch.pi))
    reconstruction = -0.5 * ((x - m).square() + 1 + constant).sum()
    kl = 0.5 * m.square().sum()
    want = torch.stack([reconstruction - kl, reconstruction - kl, reconstruction, kl])
    error = values.std(0) / 200**0.5
    assert bool(((values.mean(0) - want).abs() < 5 * error + 1e-4).all())


@pytest.mark.parametrize("elbo", LINEAR)
def test_the_audit_leaves_random_state_modes_and_parameters(elbo: type[ELBO]) -> None:
    pair = Pair(model, guide, batch())
    state, weights = torch.get_rng_state(), [p.clone() for p in pair.parameters()]
    for mode in (True, False):
        pair.train(mode)
        audit(pair, elbo, batch())
        assert pair.training is mode
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(weights, pair.parameters(), strict=True))
    assert all(p.grad is None for p in pair.parameters())
