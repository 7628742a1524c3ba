"""Size factors multiply the mean of counts, and encoders read counts per unit of them."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from pyro import poutine
from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from torch import Tensor

from ppvae.bounds.audit import audit
from ppvae.compilation import capture
from ppvae.components.building import build_programs
from ppvae.components.data_support import check_rows
from ppvae.components.initial_bias import start_at_marginal
from ppvae.components.spec import Spec
from ppvae.data import as_split
from ppvae.diagnostics import log_evidence, subject
from ppvae.diagnostics.evidence.importance_sampling import evidence_name
from ppvae.diagnostics.shared.simulation import simulate
from ppvae.distributions.scaled_mean import scaled
from ppvae.errors import InputError
from ppvae.guides import BottomUp, Ladder, MeanField, SemiAmortized, SemiSupervised, TopDown
from ppvae.models import (
    VAE,
    ConditionalVAE,
    Gaussian,
    HierarchicalVAE,
    NegativeBinomial,
    Poisson,
    SemiSupervisedVAE,
    StandardNormal,
    VampPrior,
    ZeroInflated,
    observe,
)
from ppvae.models.likelihoods import Likelihood
from ppvae.networks import MLP, per_unit, positive
from ppvae.programs import Pair
from ppvae.programs.generation import generate
from tests.support.decoders import last_layer

GENES = 4
S = torch.tensor([0.25, 1.0, 3.0], dtype=torch.float64)


def counts(rows: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.poisson(torch.full((rows, GENES), 3.0), generator).double()


def h_of(likelihood: Likelihood, rows: int = 3) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(rows, *likelihood.decoder_shape, dtype=torch.float64)


def likelihoods() -> list[Likelihood]:
    torch.manual_seed(0)
    made: list[Likelihood] = [
        Poisson((GENES,)),
        NegativeBinomial((GENES,)),
        NegativeBinomial((GENES,), dispersion="gene-cell"),
        ZeroInflated((GENES,)),
        ZeroInflated((GENES,), counts="Poisson"),
    ]
    for each in made:
        each.double()
        for parameter in each.parameters():
            torch.nn.init.normal_(parameter)
    return made


@pytest.mark.parametrize("likelihood", likelihoods(), ids=lambda each: type(each).__name__)
def test_the_mean_is_multiplied_and_the_probabilities_sum_to_one(likelihood: Likelihood) -> None:
    fn = likelihood(h_of(likelihood))
    by_size = scaled(fn, S)
    torch.testing.assert_close(by_size.mean, fn.mean * S[:, None])
    torch.testing.assert_close(scaled(fn, torch.ones_like(S)).mean, fn.mean)
    every = torch.arange(5_000.0, dtype=torch.float64)[:, None, None]
    total = by_size.base_dist.log_prob(every).logsumexp(0)
    torch.testing.assert_close(total, torch.zeros_like(total), atol=1e-6, rtol=0)


def test_a_negative_binomial_keeps_its_dispersion_and_a_gate_its_probability() -> None:
    x, m, r, g = counts(), torch.tensor(2.5).double(), torch.tensor(1.7).double(), 0.3
    fn = NegativeBinomial((GENES,)).double()
    torch.nn.init.constant_(fn.log_r, float(10 * (r.log() / 10).atanh()))
    h = torch.full((3, 1, GENES), float(20 * (m.log() / 20).atanh())).double()
    mean = (m * S[:, None]).numpy()
    wanted = torch.from_numpy(
        scipy.stats.nbinom.logpmf(x.numpy(), float(r), float(r) / (float(r) + mean))
    ).double()
    torch.testing.assert_close(scaled(fn(h), S).base_dist.log_prob(x), wanted)
    inflated = dist.ZeroInflatedDistribution(fn(h).base_dist, gate=torch.tensor(g).double())
    gated = torch.where(x == 0, g + (1 - g) * wanted.exp(), (1 - g) * wanted.exp()).log()
    torch.testing.assert_close(scaled(inflated, S[:, None]).log_prob(x), gated)
    torchs = dist.NegativeBinomial(r, logits=m.log() - r.log())
    torch.testing.assert_close(scaled(torchs, S[:, None]).log_prob(x), wanted)


def test_other_families_are_refused_in_one_sentence() -> None:
    with pytest.raises(
        InputError, match=r"x is observed at Normal.*NegativeBinomial.*`size_factor='none'`"
    ):
        scaled(dist.Normal(torch.zeros(3, GENES), 1.0).to_event(1), S)
    model = VAE(StandardNormal(2), Gaussian((GENES,)))
    with pytest.raises(InputError, match="Normal"):
        subject(model, MeanField(2, (GENES,)), counts().float(), size_factor=S.float())


def test_a_program_that_does_not_name_them_is_refused() -> None:
    class Unsized(VAE):
        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # to be refused
            return super().forward(x)

    model = Unsized(StandardNormal(2), Poisson((GENES,)))
    with pytest.raises(InputError, match="does not name 'size_factor'"):
        subject(model, MeanField(2, (GENES,)), counts().float(), size_factor=S.float())


ELBOS: dict[str, type[ELBO]] = {"bottom-up": Trace_ELBO, "semi-supervised": TraceEnum_ELBO}


def programs() -> dict[str, tuple[Any, Any, dict[str, Tensor]]]:
    torch.manual_seed(0)
    shape, y = (GENES,), torch.tensor([0, 1, 1])
    hierarchy = HierarchicalVAE(StandardNormal(2), Poisson(shape))
    vae = VAE(StandardNormal(2), NegativeBinomial(shape))
    told = ConditionalVAE(StandardNormal(2), ZeroInflated(shape), classes=2)
    semi = SemiSupervisedVAE(StandardNormal(2), Poisson(shape), classes=2)
    refined = SemiAmortized(2, shape, vae)
    return {
        "vae": (vae, MeanField(2, shape), {}),
        "conditional": (told, MeanField(2, shape, classes=2), {"y": y}),
        "semi-amortized": (vae, refined, {}),
        "semi-supervised": (semi, SemiSupervised(2, shape, classes=2), {"y": y}),
        "bottom-up": (hierarchy, BottomUp(hierarchy, shape), {}),
        "top-down": (hierarchy, TopDown(hierarchy, shape), {}),
        "ladder": (hierarchy, Ladder(hierarchy, shape), {}),
    }


@pytest.mark.parametrize("name", programs())
def test_every_model_and_guide_reads_them_and_one_is_none(name: str) -> None:
    model, guide, extras = programs()[name]
    x, s = counts().float(), S.float()
    elbo = ELBOS.get(name, TraceMeanField_ELBO)
    for program in (model, guide):
        program.eval()

    def trace(**more: Tensor) -> tuple[Any, Any]:
        torch.manual_seed(2)
        q: Any = poutine.trace(guide).get_trace(x, **extras, **more)
        p: Any = poutine.trace(poutine.replay(model, q)).get_trace(x, **extras, **more)
        return q.nodes, p.nodes

    (q, p), (q_of_one, p_of_one) = trace(), trace(size_factor=torch.ones(3))
    latents = [site for site in q if site.startswith("z")]
    for site in latents:
        torch.testing.assert_close(q_of_one[site]["value"], q[site]["value"])
    torch.testing.assert_close(p_of_one["x"]["fn"].mean, p["x"]["fn"].mean)
    q_of_s, p_of_s = trace(size_factor=s)
    # At the same latents the mean is s times that without.
    held = {site: q_of_s[site]["value"] for site in q_of_s if site in (*latents, "y")}
    alone: Any = poutine.trace(poutine.condition(model, held)).get_trace(x, **extras)
    torch.testing.assert_close(
        p_of_s["x"]["fn"].mean, alone.nodes["x"]["fn"].mean * s[:, None], rtol=1e-4, atol=1e-5
    )
    if name != "semi-amortized":  # it also reads the likelihood of x itself
        torch.manual_seed(2)
        by_hand: Any = poutine.trace(guide).get_trace(per_unit(x, s), **extras).nodes
        for site in latents:
            torch.testing.assert_close(q_of_s[site]["value"], by_hand[site]["value"])
    pair = Pair(model, guide, {"x": x, "size_factor": s, **extras})
    facts = audit(pair, elbo, {"x": x, "size_factor": s, **extras})
    assert facts.is_bound


def test_draws_have_a_mean_of_one_unit_and_names_say_what_is_given() -> None:
    model, guide, extras = programs()["conditional"]
    x, s = counts().float(), S.float()
    pair, facts, rows = subject(model, guide, x, extras["y"], size_factor=s)
    batch = rows.take(torch.arange(3))
    assert evidence_name(pair, facts, batch) == "log p(x | y, size factor)"
    torch.manual_seed(0)
    sized = generate(pair, facts, batch).mean
    torch.manual_seed(0)
    of_one = generate(pair, facts, {"x": x, **extras}).mean
    torch.testing.assert_close(sized, of_one * s[:, None])
    fitted = {"x": x, "size_factor": s, **extras}
    check_rows(rows, pair, facts, fitted, "new.npy")
    with pytest.raises(InputError, match="has no size factors, and the model was fitted with them"):
        check_rows(as_split(x, extras["y"]), pair, facts, fitted, "new.npy")
    with pytest.raises(InputError, match="has size factors, and the model was fitted without"):
        check_rows(rows, pair, facts, {"x": x, **extras}, "new.npy")


def test_replicates_are_of_the_sizes_of_the_rows() -> None:
    torch.manual_seed(0)
    model, guide = VAE(StandardNormal(2), Poisson((GENES,))), MeanField(2, (GENES,))
    s = torch.tensor([1.0, 10.0]).repeat(1_000)
    pair, facts, rows = subject(model, guide, torch.ones(2_000, GENES), size_factor=s)
    simulated, _ = simulate(pair, facts, rows.take(torch.arange(2_000)))
    torch.testing.assert_close(simulated["size_factor"], s)
    totals = simulated["x"].sum(1).reshape(1_000, 2)
    error = totals.std(0) / 1_000**0.5
    ratio = totals[:, 1].mean() / totals[:, 0].mean()
    relative = (error / totals.mean(0)).square().sum().sqrt()
    assert abs(float(ratio) - 10) < 4 * 10 * float(relative)


def test_missing_entries_are_left_out_of_scaled_counts_too() -> None:
    x, mask = counts(), torch.tensor([[True, False, True, True]] * 3)
    fn = dist.Poisson(torch.full((3, GENES), 2.0).double()).to_event(1)
    trace: Any = poutine.trace(observe).get_trace(x, fn, mask, S)
    rate = 2 * S[:, None].numpy()
    wanted = scipy.stats.poisson.logpmf(x.numpy(), rate)[:, mask[0].numpy()].sum(1)
    torch.testing.assert_close(trace.nodes["x"]["fn"].log_prob(x), torch.from_numpy(wanted))


def drawn(r: float = 2.0, gate: float = 0.0, rows: int = 4_000) -> tuple[Tensor, Tensor]:
    """Counts of mean 1, 2, 4, 8 per unit of log-normal size factors."""
    torch.manual_seed(0)
    s = (0.5 * torch.randn(rows)).exp()
    mean = s[:, None] * torch.tensor([1.0, 2.0, 4.0, 8.0])
    rate = dist.Gamma(torch.tensor(r), r / mean).sample()
    x = torch.poisson(rate) * (torch.rand_like(rate) >= gate)
    return x, s


def test_training_starts_at_the_marginals_per_unit() -> None:
    x, s = drawn()
    poisson, binomial = Poisson((GENES,)), NegativeBinomial((GENES,))
    h = poisson.fit_scaled_marginal(x, s)
    exact = (x.sum(0) + 0.5) / (s.sum() + 1)  # the most likely rate, with half an event more
    torch.testing.assert_close(poisson(h).mean, exact.double(), rtol=1e-5, atol=0)
    h = binomial.fit_scaled_marginal(x, s)
    torch.testing.assert_close(binomial(h.float()).mean, exact, rtol=1e-5, atol=0)
    # By moments, with an error of about 5 %; without size factors r would be below 1.4.
    assert (binomial.inverse_dispersion - 2).abs().max() < 0.3
    x, s = drawn(gate=0.4)
    inflated = ZeroInflated((GENES,))
    fn = inflated(inflated.fit_scaled_marginal(x, s).float())
    zeros = scaled(fn.expand((len(s),)), s).base_dist.log_prob(torch.zeros(4)).exp().mean(0)
    torch.testing.assert_close(zeros, (x == 0).float().mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(fn.mean, (x.sum(0) / s.sum()), rtol=0.01, atol=0)


def test_factors_of_one_fit_as_no_factors() -> None:
    x, _ = drawn(rows=200)
    for likelihood in (Poisson((GENES,)), NegativeBinomial((GENES,)), ZeroInflated((GENES,))):
        alone = likelihood.fit_marginal(x)
        sized = likelihood.fit_scaled_marginal(x, torch.ones(200))
        assert alone is not None
        assert sized is not None
        torch.testing.assert_close(sized, alone)


def test_the_decoders_last_bias_is_that_marginal() -> None:
    x, s = drawn(rows=500)
    model = VAE(StandardNormal(2), Poisson((GENES,)), MLP)
    start_at_marginal(model, x, size_factor=s)
    wanted = model.likelihood.fit_scaled_marginal(x, s)
    assert wanted is not None
    torch.testing.assert_close(last_layer(model).bias, wanted.flatten().float())


def test_pseudo_inputs_start_as_counts_per_unit() -> None:
    x, s = counts().float(), S.float()
    built: Any = build_programs(
        {"prior": Spec("VampPrior", {"components": 3}), "likelihood": Spec("Poisson")},
        latent_dim=2, data_shape=(GENES,), examples=x, size_factor=s,
    )  # fmt: skip
    prior = built.model.prior
    assert isinstance(prior, VampPrior)
    start = {tuple(row) for row in prior.pseudo_inputs.tolist()}
    assert start == {tuple(row) for row in per_unit(x, s).tolist()}


def test_a_dispersion_by_class_is_that_of_each_class() -> None:
    torch.manual_seed(0)
    likelihood = NegativeBinomial((GENES,), dispersion="gene-batch", y_size=2).double()
    assert likelihood.log_r_by_y is not None
    torch.nn.init.normal_(likelihood.log_r)
    torch.nn.init.normal_(likelihood.log_r_by_y)
    h, y = h_of(likelihood, 4), torch.tensor([0, 1, 1, 0])
    fn = likelihood.given(h, torch.eye(2)[y])
    for label in (0, 1):
        alone = NegativeBinomial((GENES,)).double()
        alone.log_r.data = (likelihood.log_r + likelihood.log_r_by_y[label]).detach()
        wanted = alone(h[y == label]).variance
        torch.testing.assert_close(fn.variance[y == label], wanted)
    # A model that is conditional on y passes it on.
    model = ConditionalVAE(StandardNormal(2), likelihood, classes=2).double()
    trace: Any = poutine.trace(model).get_trace(counts(4), y=y)
    mean, variance = trace.nodes["x"]["fn"].mean, trace.nodes["x"]["fn"].variance
    r = positive(likelihood.log_r + likelihood.log_r_by_y[y])
    torch.testing.assert_close(variance, mean + mean.square() / r)
    inflated = ZeroInflated((GENES,), dispersion="gene-batch", y_size=2)
    assert inflated.given(h_of(inflated, 4).float(), torch.eye(2)[y]).batch_shape == (4,)


def test_a_dispersion_by_cell_is_read_off_z() -> None:
    likelihood = NegativeBinomial((GENES,), dispersion="gene-cell").double()
    h = h_of(likelihood)
    fn = likelihood(h)
    r = positive(h[:, 1])
    torch.testing.assert_close(fn.variance, fn.mean + fn.mean.square() / r)


@pytest.mark.parametrize(
    ("likelihood", "model", "sentence"),
    [
        ({"dispersion": "gene-batch"}, "VAE", "not conditional on y.*ConditionalVAE"),
        ({"dispersion": "batch"}, "VAE", "'batch'.*gene, gene-batch, gene-cell|expected|one of"),
    ],
)
def test_a_dispersion_that_cannot_be_is_refused(
    likelihood: dict[str, Any], model: str, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        build_programs(
            {"model": Spec(model), "likelihood": Spec("NegativeBinomial", likelihood)},
            latent_dim=2, data_shape=(GENES,), covariates=2,
        )  # fmt: skip
    with pytest.raises(InputError, match="Poisson counts have none"):
        ZeroInflated((GENES,), counts="Poisson", dispersion="gene-cell")


def test_covariates_can_be_left_to_the_decoder() -> None:
    parts = {"model": Spec("ConditionalVAE"), "likelihood": Spec("NegativeBinomial", {})}
    sizes: dict[str, Any] = {"latent_dim": 2, "data_shape": (GENES,), "covariates": 2}
    told: Any = build_programs(parts, **sizes)
    left: Any = build_programs(parts, **sizes, encode_covariates=False)
    assert told.guide.y_size == 2
    assert left.guide.y_size == 0
    assert left.model.y_size == 2
    with pytest.raises(InputError, match=r"`encode_covariates='off'`.*SemiSupervised"):
        build_programs(
            {"model": Spec("SemiSupervisedVAE"), "guide": Spec("SemiSupervised")},
            latent_dim=2, data_shape=(GENES,), classes=2, encode_covariates=False,
        )  # fmt: skip


def test_bound_and_gradient_are_those_of_counts_whose_log_mean_is_shifted() -> None:
    """With a decoder that returns log m, a size factor c adds log c to its bias."""
    torch.manual_seed(0)
    model = VAE(StandardNormal(1), Poisson((1,)), MLP).double()
    z, c = torch.randn(5, 1).double(), 3.0
    x = torch.arange(5.0)[:, None].double()
    held = poutine.condition(model, {"z": z})
    sized: Any = poutine.trace(held).get_trace(x, size_factor=torch.full((5,), c).double())
    rate = 20 * (model.decoder(z)[:, 0] / 20).tanh() + math.log(c)
    wanted = dist.Poisson(rate.exp()).log_prob(x).sum(-1)
    torch.testing.assert_close(sized.nodes["x"]["fn"].log_prob(x), wanted)


@pytest.mark.slow
def test_a_graph_computes_what_pyro_does() -> None:
    torch.manual_seed(0)
    likelihood = ZeroInflated((GENES,), dispersion="gene-batch", y_size=2)
    model = ConditionalVAE(StandardNormal(2), likelihood, classes=2).double()
    guide = MeanField(2, (GENES,)).double()
    x, y = counts(), torch.tensor([0, 1, 1])
    elbo = TraceMeanField_ELBO()
    loss = capture(model, guide, elbo, x, y=y, size_factor=S, compile=False)
    torch.manual_seed(3)
    graph = loss(x, y=y, size_factor=S)
    assert not loss.reason
    torch.manual_seed(3)
    eager = elbo.differentiable_loss(model, guide, x, y=y, size_factor=S)
    torch.testing.assert_close(graph, eager)


def test_a_function_that_names_them_is_given_them() -> None:
    def model(x: Tensor, size_factor: Tensor) -> Tensor:
        rate = pyro.param("rate", torch.tensor(2.0), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            return observe(x, dist.Poisson(rate.expand(x.shape)).to_event(1), None, size_factor)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    x, s = counts().float(), S.float()
    evidence = log_evidence(*subject(model, guide, x, size_factor=s), samples=2)
    wanted = dist.Poisson(2 * s[:, None]).log_prob(x).sum(1)
    torch.testing.assert_close(evidence.log_p, wanted)
