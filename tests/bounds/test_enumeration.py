"""Sums over enumerated latents: the terms of a bound by hand and by Pyro."""

import math
from collections.abc import Callable
from typing import Any, cast

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from torch import Tensor
from torch.distributions import Categorical, Normal

from ppvae.bounds.audit import audit
from ppvae.bounds.enumeration import expectations
from ppvae.bounds.kl_weight import Weighed
from ppvae.bounds.objective import Bound
from ppvae.compilation.captured import Captured
from ppvae.diagnostics import subject
from ppvae.errors import InputError
from ppvae.guides import SemiSupervised
from ppvae.guides.scales import posterior_scale
from ppvae.models import SemiSupervisedVAE
from ppvae.programs import Pair
from tests.support.semi_supervised import (
    CLASSES,
    COLUMNS,
    LABELS,
    Exact,
    data,
    enumerated,
    random_pair,
)
from tests.support.slow import few


def by_hand(
    model: SemiSupervisedVAE, guide: SemiSupervised, x: Tensor, y: Tensor, z: Tensor
) -> tuple[Tensor, Tensor]:
    """Reconstruction and KL of draws z: (classes, particles, data, 2), summed class by class."""
    log_q = Categorical(logits=guide.classifier(x)).logits
    reconstruction = kl = torch.zeros(())
    for i in range(len(x)):
        for label in range(CLASSES) if y[i] < 0 else [int(y[i])]:
            log_q_y = log_q[i, label] if y[i] < 0 else torch.zeros(())
            weight = log_q_y.exp() / z.shape[1]
            hot = torch.eye(CLASSES, dtype=x.dtype)[label]
            loc, log_scale = guide.latent.encoder(torch.cat([x[i], hot]))
            q = Normal(loc, posterior_scale(log_scale))
            for at in z[label, :, i]:
                mean = model.decoder(torch.cat([at, hot]))[0]
                log_p_z = Normal(0.0, 1.0).log_prob(at).sum()
                reconstruction = reconstruction + weight * Normal(mean, 1.0).log_prob(x[i]).sum()
                log_ratio = log_q_y + q.log_prob(at).sum() - log_p_z + math.log(CLASSES)
                kl = kl + weight * log_ratio
    return reconstruction, kl


def remembering(guide: SemiSupervised, draws: list[Tensor]) -> Callable[..., None]:
    def program(x: Tensor, y: Tensor) -> None:
        draws.append(guide(x, y))

    return program


@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize("alpha", [0.0, 7.0])
def test_value_and_gradient_are_those_of_the_sum_over_classes_by_hand(
    particles: int, alpha: float
) -> None:
    model, guide = random_pair(alpha)
    x = data()
    draws: list[Tensor] = []
    torch.manual_seed(2)
    loss = enumerated(particles).differentiable_loss(model, remembering(guide, draws), x, y=LABELS)
    z = draws[0].reshape(CLASSES, particles, len(x), 2)
    reconstruction, kl = by_hand(model, guide, x, LABELS, z)
    known = LABELS >= 0
    score = Categorical(logits=guide.classifier(x[known])).log_prob(LABELS[known]).sum()
    want = -(reconstruction - kl + alpha * score)
    torch.testing.assert_close(loss, want)
    parameters = [*model.parameters(), *guide.parameters()]
    for a, b in zip(
        torch.autograd.grad(loss, parameters, retain_graph=True),
        torch.autograd.grad(want, parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("particles", [1, 3])
def test_the_terms_of_a_bound_are_those_of_the_sum_by_hand(particles: int) -> None:
    model, guide = random_pair(alpha=7.0)
    x = data()
    draws: list[Tensor] = []
    batch = {"x": x, "y": LABELS}
    pair = Pair(model, guide, batch)
    facts = audit(pair, TraceEnum_ELBO, batch)
    assert {site.name: site.kl for site in facts.sites} == {
        "y": "enumerated", "z": "Monte Carlo", "x": "-"
    }  # fmt: skip
    guide.register_forward_hook(lambda _m, _i, out: draws.append(out))
    pair.eval()
    for beta in (1.0, 0.3):
        terms = Bound(pair, TraceEnum_ELBO, facts, particles)(batch, beta)
        z = draws[-1].reshape(CLASSES, particles, len(x), 2)
        reconstruction, kl = by_hand(model, guide, x, LABELS, z)
        torch.testing.assert_close(terms.reconstruction, reconstruction)
        torch.testing.assert_close(terms.kl, kl)
        torch.testing.assert_close(terms.objective, reconstruction - beta * kl)


@pytest.mark.parametrize("particles", [1, 3])
def test_the_bound_is_the_same_in_training_where_its_objective_has_the_classification_term(
    particles: int,
) -> None:
    model, guide = random_pair(alpha=7.0)
    batch = {"x": data(), "y": LABELS}
    pair = Pair(model, guide, batch)
    bound = Bound(pair, TraceEnum_ELBO, audit(pair, TraceEnum_ELBO, batch), particles)
    seen = []
    for training in (True, False):
        torch.manual_seed(0)
        seen.append(bound.train(training)(batch, 0.3))
    learning, looking = seen
    for one, other in zip(learning[1:], looking[1:], strict=True):
        torch.testing.assert_close(one, other)
    known = LABELS >= 0
    score = Categorical(logits=guide.classifier(data()[known])).log_prob(LABELS[known]).sum()
    torch.testing.assert_close(learning.objective - looking.objective, 7.0 * score)
    torch.testing.assert_close(looking.objective, looking.reconstruction - 0.3 * looking.kl)


# Sums over enumerated latents in general.


P_A, P_B = torch.tensor([0.2, 0.8]), torch.tensor([[0.3, 0.6, 0.1], [0.5, 0.25, 0.25]])
LOC = torch.tensor([[0.0, 1.0, -2.0], [0.5, -1.0, 2.0]])


def chained(x: Tensor, q_a: Tensor, q_b: Tensor, how: str = "parallel") -> tuple[Any, Any]:
    """A class a of each datum, and classes b of each of its parts, which depend on it."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", x.shape[-1], dim=-1):
            a = pyro.sample("a", dist.Categorical(P_A))
            pyro.sample("u", dist.Normal(LOC[:, 0][a], 1.0), obs=x[0])
            with pyro.plate("parts", len(x), dim=-2):
                b = pyro.sample("b", dist.Categorical(P_B[a]))
                pyro.sample("x", dist.Normal(LOC[a, b], 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", x.shape[-1], dim=-1):
            a = pyro.sample("a", dist.Categorical(q_a), infer={"enumerate": "parallel"})
            with pyro.plate("parts", len(x), dim=-2):
                pyro.sample("b", dist.Categorical(q_b[a]), infer=cast("Any", {"enumerate": how}))

    return model, guide


@pytest.mark.parametrize("how", ["parallel", "sequential"])
def test_expectations_weigh_each_term_by_the_sites_that_it_may_depend_on(how: str) -> None:
    x = torch.tensor([[0.3, -1.0, 2.0, 0.0], [1.0, 0.5, -0.5, 0.2]])  # parts, data
    q_a = torch.tensor([0.6, 0.4])
    q_b = torch.tensor([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]], requires_grad=True)
    model, guide = (Weighed(program, 1.0) for program in chained(x, q_a, q_b, how))
    loss = TraceEnum_ELBO(max_plate_nesting=2).differentiable_loss(model, guide, x)
    calls = list(zip(model.calls, guide.calls, strict=True))
    assert len(calls) == (1 if how == "parallel" else 3)
    reconstruction, kl = torch.stack([torch.stack(expectations(*c)) for c in calls]).sum(0)
    reconstruction, kl, loss = reconstruction.detach(), kl.detach(), loss.detach()
    q_a, q_b = q_a.double(), q_b.detach().double()
    rec = gap = 0.0
    for i in range(4):
        for a in range(2):
            rec += float(q_a[a] * Normal(LOC[a, 0], 1.0).log_prob(x[0, i]))
            gap += float(q_a[a] * (q_a[a] / P_A[a]).log())
            for part in range(2):
                for b in range(3):
                    weight = q_a[a] * q_b[a, b]
                    rec += float(weight * Normal(LOC[a, b], 1.0).log_prob(x[part, i]))
                    gap += float(weight * (q_b[a, b] / P_B[a, b]).log())
    assert float(reconstruction) == pytest.approx(rec, rel=1e-5)
    assert float(kl) == pytest.approx(gap, rel=1e-5)
    assert float(loss) == pytest.approx(gap - rec, rel=1e-5)


def test_expectations_follow_scales_masks_and_values_without_probability() -> None:
    x, mask = torch.tensor([0.3, -1.0, 2.0]), torch.tensor([True, False, True])
    logits = torch.tensor([0.0, -math.inf], requires_grad=True)

    def model(x: Tensor) -> None:
        with pyro.plate("data", 30, subsample=x):
            a = pyro.sample("a", dist.Categorical(logits=logits.detach()))
            pyro.sample("x", dist.Normal(a.float(), 1.0).mask(mask), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", 30, subsample=x):
            pyro.sample("a", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})

    model_sites, guide_sites = Weighed(model, 1.0), Weighed(guide, 1.0)
    loss = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(model_sites, guide_sites, x)
    reconstruction, kl = expectations(model_sites.calls[0], guide_sites.calls[0])
    want = 10 * Normal(0.0, 1.0).log_prob(x[mask]).sum()
    torch.testing.assert_close(reconstruction.detach(), want)
    assert float(kl.detach()) == pytest.approx(0.0, abs=1e-4)
    assert float(loss.detach()) == pytest.approx(-float(want), rel=1e-5)


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
def test_a_bound_that_does_not_sum_is_refused_by_the_audit(elbo: type[Trace_ELBO]) -> None:
    exact = Exact()
    with pytest.raises(InputError, match=r"site 'y' asks to be enumerated, .* take TraceEnum_ELBO"):
        subject(exact.model, exact.guide, data(), LABELS, elbo=elbo)


@pytest.mark.slow
@pytest.mark.parametrize("particles", few([3, 1], 2))
@pytest.mark.parametrize("beta", few([0.3, 1.0], 2))
def test_the_bound_of_a_step_is_pyros_in_value_and_gradient_and_has_a_graph(
    particles: int, beta: float
) -> None:
    model, guide = random_pair(7.0)
    batch = {"x": data(), "y": LABELS}
    pair = Pair(model, guide, batch)
    bound = Bound(pair, TraceEnum_ELBO, audit(pair, TraceEnum_ELBO, batch), particles).train()
    told: list[str] = []
    graph = Captured(bound, compile=False, check=0, tell=told.append)
    graph(batch, beta)

    def found(terms: Any) -> tuple[Tensor, ...]:
        return (*terms, *torch.autograd.grad(terms.objective, list(bound.parameters())))

    results = []
    for call in (bound, graph):
        torch.manual_seed(4)
        results.append(found(call(batch, beta)))
    assert bound.is_static_sum
    torch.manual_seed(4)
    loss = enumerated(particles).differentiable_loss(
        Weighed(pair.call_model, 1.0), Weighed(pair.call_guide, 1.0), **batch
    )
    kl = results[0][3]
    torch.testing.assert_close(results[0][0], -loss + (1 - beta) * kl)
    if beta == 1:
        results.append((*results[0][:4], *torch.autograd.grad(-loss, list(bound.parameters()))))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b)
    assert told == []


def test_a_guide_whose_draws_need_scores_keeps_pyros_estimator() -> None:
    def guide(x: Tensor, y: Tensor | None = None) -> None:
        with pyro.plate("data", len(x)):
            logits = pyro.param("logits", torch.zeros(CLASSES))
            pyro.sample("y", dist.Categorical(logits=logits))  # drawn, not summed
            pyro.sample("k", dist.Bernoulli(0.4), infer={"enumerate": "parallel"})

    def model(x: Tensor, y: Tensor | None = None) -> None:
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.Categorical(logits=torch.zeros(CLASSES)))
            k = pyro.sample("k", dist.Bernoulli(0.5))
            loc = (y + k).to(x)[..., None].expand([*(y + k).shape, COLUMNS])
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    batch = {"x": data().float()}
    pair = Pair(model, guide, batch)
    assert not Bound(pair, TraceEnum_ELBO, audit(pair, TraceEnum_ELBO, batch)).is_static_sum
