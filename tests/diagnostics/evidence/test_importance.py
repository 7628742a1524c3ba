"""Laws of the evidence: on probabilistic PCA log p(x) is known in closed form."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from ppvae.bounds.audit import audit
from ppvae.compilation import native
from ppvae.diagnostics import embed, log_evidence, log_weights
from ppvae.diagnostics.evidence import importance_sampling as importance
from ppvae.diagnostics.evidence.importance_sampling import Evidence
from ppvae.errors import InputError
from ppvae.guides import Delta
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from tests.support.pca import affine
from tests.support.wide_guide import COLUMNS, SIGMAS, VARIANCE, pca, split, whole


def exact(pair: Pair, x: Tensor) -> Tensor:
    """log N(x; b, W W' + c I), ``(rows,)``."""
    assert isinstance(pair.model, VAE)
    decoder = affine(pair.model.decoder)
    w, b = decoder.weight.detach(), decoder.bias.detach()
    eye = torch.eye(COLUMNS, dtype=torch.float64)
    log_p: Tensor = torch.distributions.MultivariateNormal(b, w @ w.T + VARIANCE * eye).log_prob(
        x.double()
    )
    return log_p


def holds(found: Evidence, truth: Tensor) -> bool:
    return bool(((found.log_p - truth).abs() < SIGMAS * found.error + 1e-5).all())


def test_the_evidence_of_probabilistic_pca() -> None:
    rows = split()
    pair, facts = pca(rows)
    truth = exact(pair, whole(rows)["x"])
    found = log_evidence(pair, facts, rows, samples=2000)
    assert found.samples == 2000
    assert holds(found, truth)
    assert float(found.error.max()) < 0.05
    # The errors are correct: z has a mean square near 1.
    z = (found.log_p - truth) / found.error
    assert 0.5 < float(z.square().mean()) < 2.0
    assert found.mean == pytest.approx(float(found.log_p.mean()))
    assert found.standard_error == pytest.approx(float(found.log_p.std()) / math.sqrt(len(rows)))


def test_the_weights_mean_is_the_density_and_their_logs_mean_the_elbo() -> None:
    rows = split()
    pair, facts = pca(rows)
    batch = whole(rows)
    torch.manual_seed(0)
    with torch.no_grad():
        w = log_weights(pair, facts, batch, 4000)
    assert tuple(w.shape) == (4000, len(rows))
    ratio = (w - exact(pair, batch["x"])).exp()
    error = ratio.std(0) / math.sqrt(4000)
    assert bool(((ratio.mean(0) - 1).abs() < SIGMAS * error).all())


def test_the_bound_rises_with_samples_from_the_elbo_to_the_evidence() -> None:
    rows = split()
    pair, facts = pca(rows)
    truth = float(exact(pair, whole(rows)["x"]).mean())
    means = []
    for samples in (1, 5, 50, 1000):
        by_seed = [log_evidence(pair, facts, rows, samples=samples, seed=s) for s in range(8)]
        means.append(sum(e.mean for e in by_seed) / 8)
        if samples == 1:
            torch.testing.assert_close(by_seed[0].log_p, by_seed[0].elbo)
    assert means == sorted(means)
    assert truth - means[0] > 10 * abs(truth - means[-1])
    elbo = log_evidence(pair, facts, rows, samples=1000).elbo.mean()
    assert float(elbo) == pytest.approx(means[0], abs=0.15)


def test_chunks_give_an_answer_of_the_same_law(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = split()
    pair, facts = pca(rows)
    truth = exact(pair, whole(rows)["x"])
    calls: list[int] = []
    at_once = importance.log_weights

    def counted(*args: Any) -> Tensor:
        calls.append(args[-1])
        return at_once(*args)

    monkeypatch.setattr(importance, "log_weights", counted)
    monkeypatch.setattr(importance, "CHUNK", 300 * COLUMNS * len(rows))
    found = log_evidence(pair, facts, rows, samples=1000)
    assert calls == [300, 300, 300, 100]
    assert holds(found, truth)
    assert float(found.error.max()) < 0.1
    # The sums over chunks are those over all draws at once.
    torch.manual_seed(0)
    with torch.no_grad():
        parts = [at_once(pair, facts, whole(rows), n) for n in calls]
    draws = iter(parts)
    monkeypatch.setattr(importance, "log_weights", lambda *_: next(draws))
    again = log_evidence(pair, facts, rows, samples=1000)
    w = torch.cat(parts)
    torch.testing.assert_close(again.log_p, w.logsumexp(0) - math.log(1000), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(again.elbo, w.mean(0), rtol=1e-6, atol=1e-6)
    p = w.softmax(0)
    error = ((1000 * p.square().sum(0) - 1) / 1000).sqrt()
    torch.testing.assert_close(again.error, error, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("is_native", "in_inference_mode"),
    [(False, False), (False, True), pytest.param(True, False, marks=pytest.mark.slow)],
    ids=["traced", "in inference mode", "native"],
)
def test_a_graph_gives_the_figures_of_the_programs(
    is_native: bool, in_inference_mode: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = split()
    pair, facts = pca(rows)
    monkeypatch.setattr(importance, "CHUNK", 50 * COLUMNS * 24)
    calls: list[int] = []
    make = native.compiled if is_native else lambda graph: graph

    def counted(graph: Any) -> Any:
        products = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
        # Only the product of the decoder; that of the encoder is computed once per batch.
        assert sum(node.target in products for node in graph.graph.nodes) == 1
        run = make(graph)

        def call(*tensors: Tensor) -> Any:
            calls.append(len(tensors))
            return run(*tensors)

        return call

    monkeypatch.setattr("ppvae.compilation.captured.compiled", counted)
    some: dict[str, Any] = {"samples": 120, "batch_size": 24}
    with torch.inference_mode(in_inference_mode):
        as_graph = log_evidence(pair, facts, rows, compile=True, **some)
    # Two complete batches of two complete chunks; incomplete ones run uncompiled.
    assert len(calls) == 4
    as_is = log_evidence(pair, facts, rows, compile=False, **some)
    assert len(calls) == 4
    for one, other in zip(
        (as_graph.log_p, as_graph.error, as_graph.elbo),
        (as_is.log_p, as_is.error, as_is.elbo),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_effective_samples_are_those_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = split(10)
    pair, facts = pca(rows)
    torch.manual_seed(0)
    with torch.no_grad():
        w = log_weights(pair, facts, whole(rows), 300)
    monkeypatch.setattr(importance, "log_weights", lambda *_: w)
    found = log_evidence(pair, facts, rows, samples=300)
    p = w.softmax(0)
    torch.testing.assert_close(found.ess, 1 / p.square().sum(0), rtol=1e-3, atol=1e-3)


def test_the_answer_is_a_function_of_the_seed_and_moves_nothing() -> None:
    rows = split()
    pair, facts = pca(rows)
    state = torch.get_rng_state()
    seen: list[int] = []
    one = log_evidence(pair, facts, rows, samples=3, batch_size=25, on_rows=seen.append)
    assert torch.equal(state, torch.get_rng_state())
    assert pair.training
    torch.rand(3)
    two = log_evidence(pair, facts, rows, samples=3, batch_size=25)
    other = log_evidence(pair, facts, rows, samples=3, batch_size=25, seed=1)
    assert torch.equal(one.log_p, two.log_p)
    assert not torch.equal(one.log_p, other.log_p)
    assert sum(seen) == len(rows)
    assert max(seen) == 25


def test_a_looping_program_has_the_same_evidence() -> None:
    rows = split(10)
    pair, facts = pca(rows)
    looped = Audit(**{**facts.__dict__, "vectorizes": False})
    found = log_evidence(pair, looped, rows, samples=200)
    assert holds(found, exact(pair, whole(rows)["x"]))


def test_plates_beside_the_data_are_summed_over() -> None:
    """Columns in their own plate, inside that of the data."""
    rows = split()
    batch = whole(rows)
    network = nn.Linear(COLUMNS, 1)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0))
            with pyro.plate("columns", COLUMNS, dim=-1):
                pyro.sample("x", dist.Normal(z, math.sqrt(VARIANCE)), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("z", dist.Normal(network(x), 0.6))

    pair = Pair(model, guide, batch)
    facts = audit(pair, Trace_ELBO, batch)
    assert (facts.axes.data, facts.axes.nesting) == (-2, 2)
    found = log_evidence(pair, facts, rows, samples=3000)
    covariance = torch.ones(COLUMNS, COLUMNS) + VARIANCE * torch.eye(COLUMNS)
    truth = torch.distributions.MultivariateNormal(torch.zeros(COLUMNS), covariance)
    assert bool(
        ((found.log_p - truth.log_prob(batch["x"])).abs() < SIGMAS * found.error + 1e-4).all()
    )
    embedding = embed(pair, facts, rows)
    torch.testing.assert_close(embedding.loc["z"], network(batch["x"]).detach())


def test_what_has_no_weights_is_refused() -> None:
    rows = split()
    batch = whole(rows)
    pair, facts = pca(rows)
    with pytest.raises(InputError, match="samples is 0"):
        log_evidence(pair, facts, rows, samples=0)
    point = Pair(
        VAE(StandardNormal(2), Gaussian((COLUMNS,), variance=1.0)), Delta(2, (COLUMNS,)), batch
    )
    with pytest.raises(InputError, match="point mass has no density"):
        log_evidence(point, audit(point, Trace_ELBO, batch), rows, samples=2)
    shared = Audit(**{**facts.__dict__, "is_local": False})
    with pytest.raises(InputError, match="every latent inside the plate"):
        log_evidence(pair, shared, rows, samples=2)


def test_a_density_raised_to_a_power_is_refused() -> None:
    """A scaled program has a bound, but no log p(x)."""
    rows = split()
    batch = whole(rows)
    network = nn.Linear(COLUMNS, 1)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            with pyro.poutine.scale(scale=0.1):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z[..., None], torch.ones(COLUMNS)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        with pyro.plate("data", len(x)), pyro.poutine.scale(scale=0.1):
            pyro.sample("z", dist.Normal(network(x)[..., 0], 1.0))

    pair = Pair(model, guide, batch)
    with pytest.raises(InputError, match=r"site 'z' is scaled by 0\.1"):
        log_evidence(pair, audit(pair, Trace_ELBO, batch), rows, samples=2)
