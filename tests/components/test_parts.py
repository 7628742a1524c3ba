"""Laws of the parts: networks keep shapes, densities integrate to one, scales stay finite."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from scipy import stats
from torch import Tensor, nn

from ppvae.bounds import ELBOS
from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.errors import InputError
from ppvae.guides import Delta, MeanField
from ppvae.models import VAE, Bernoulli, ContinuousBernoulli, Gaussian, Likelihood, StandardNormal
from ppvae.networks import MLP, ConvDecoder, ConvEncoder, Network, build
from ppvae.programs import Pair

SHAPES = [(1, 28, 28), (3, 7, 9), (2, 1, 1), (1, 8, 5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("direction", ["encoder", "decoder"])
@pytest.mark.parametrize("lead", [(4,), (3, 4), (2, 3, 1)])
def test_a_network_maps_each_datum_alone_whatever_stands_before(
    shape: tuple[int, ...], direction: str, lead: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    code = (2, 5) if direction == "encoder" else (5,)
    image = shape if direction == "encoder" else (2, *shape)
    conv: Network = ConvEncoder if direction == "encoder" else ConvDecoder
    ends = (image, code) if direction == "encoder" else (code, image)
    for network in (conv, partial(MLP, hidden=(6, 4), activation="tanh")):
        module = network(*ends)
        x = torch.randn(*lead, *ends[0])
        out = module(x)
        assert tuple(out.shape) == (*lead, *ends[1])
        flat = x.reshape(-1, *ends[0])
        for i in (0, len(flat) - 1):
            alone = module(flat[i : i + 1])[0]
            torch.testing.assert_close(out.reshape(-1, *ends[1])[i], alone, rtol=1e-4, atol=1e-5)


def test_an_mlp_without_hidden_layers_is_affine_and_with_them_is_not() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(2, 3), torch.randn(2, 3)
    for hidden, is_affine in (((), True), ((7,), False)):
        f = MLP((3,), (2, 2), hidden=hidden)
        gap = f(0.3 * a + 0.7 * b) - 0.3 * f(a) - 0.7 * f(b)
        assert bool(gap.abs().max() < 1e-6) is is_affine


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ConvEncoder((28, 28), (2,)), "ConvEncoder reads images of shape"),
        (lambda: ConvDecoder((2,), (5,)), "ConvDecoder gives images of shape"),
        (lambda: MLP((2,), (3,), hidden=(4, 0)), r"hidden is \[4, 0\]"),
        (lambda: ConvEncoder((1, 8, 8), (2,), channels=(-1,)), r"channels is \[-1\]"),
        (lambda: build(nn.Linear(4, 2), (3,), (2,), "decoder"), "the decoder Linear fails on a b"),
        (
            lambda: build(nn.Linear(3, 2), (3,), (2, 2), "encoder"),
            r"to \(2, 2\); the program needs",
        ),
        (lambda: StandardNormal(0), "latent_dim` is 0"),
        (lambda: Gaussian((3,), variance=0.0), "variance` is 0"),
        (lambda: Gaussian((3,), floor=0.0), "floor` is 0"),
        (lambda: Gaussian((3,), variance="learnt"), "variance` is 'learnt'"),  # type: ignore[arg-type]  # to be refused
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()


def test_build_moves_nothing() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2))
    state = torch.get_rng_state()
    assert build(network, (3,), (2,), "encoder") is network
    assert torch.equal(state, torch.get_rng_state())
    assert network.training
    assert int(network.get_buffer("0.num_batches_tracked")) == 0


def decoded(likelihood: Likelihood, n: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return 2 * torch.randn(n, *likelihood.decoder_shape, generator=generator, dtype=torch.float64)


def test_the_bernoulli_is_scipys() -> None:
    likelihood = Bernoulli((2, 3)).double()
    h = decoded(likelihood, 4)
    x = (torch.rand(4, 2, 3) < 0.5).double()
    want = stats.bernoulli.logpmf(x.numpy(), torch.sigmoid(h[:, 0]).numpy()).sum((1, 2))
    np.testing.assert_allclose(likelihood(h).log_prob(x).numpy(), want, rtol=1e-10)
    assert tuple(likelihood(h).event_shape) == (2, 3)


def test_the_gaussian_is_scipys_and_its_number_is_a_variance() -> None:
    likelihood = Gaussian((2, 3), variance=0.25).double()
    h = decoded(likelihood, 4)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    want = stats.norm.logpdf(x.numpy(), h[:, 0].numpy(), 0.5).sum((1, 2))
    np.testing.assert_allclose(likelihood(h).log_prob(x).numpy(), want, rtol=1e-10)


@pytest.mark.parametrize("logit", [-6.0, -0.7, 0.0, 1e-3, 3.0, 12.0])
def test_the_continuous_bernoulli_is_a_density_with_its_mean(logit: float) -> None:
    likelihood = ContinuousBernoulli((1,)).double()
    h = torch.full((1, 1, 1), logit, dtype=torch.float64)
    grid, weight = np.polynomial.legendre.leggauss(80)
    x = torch.from_numpy(0.5 * (grid + 1))[:, None]
    density = likelihood(h).log_prob(x).exp().numpy() * 0.5 * weight
    assert density.sum() == pytest.approx(1.0, rel=1e-5)
    mean = (density * x[:, 0].numpy()).sum()
    assert likelihood(h).mean.item() == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize("family", [Bernoulli, ContinuousBernoulli, Gaussian])
def test_draws_are_in_the_support_with_the_mean_that_is_claimed(family: type[Likelihood]) -> None:
    likelihood = family((2, 3)).double()
    fn = likelihood(decoded(likelihood)[0])
    torch.manual_seed(0)
    n = 20_000
    x = fn.sample((n,))
    assert bool(likelihood.support.check(x).all())
    error = x.std(0) / math.sqrt(n)
    assert bool(((x.mean(0) - fn.mean).abs() < 5 * error).all())


def test_supports_tell_grey_from_black_and_white() -> None:
    x = torch.tensor([0.0, 1.0, 0.5, -0.1, 3.0])
    assert Bernoulli((5,)).support.check(x).tolist() == [True, True, False, False, False]
    assert ContinuousBernoulli((5,)).support.check(x).tolist() == [True, True, True, False, False]
    assert Gaussian((5,)).support.check(x).all()


def test_a_learned_variance_starts_at_one_finds_the_mean_square_and_keeps_its_floor() -> None:
    likelihood = Gaussian((50,), variance="learned", floor=1e-2).double()
    assert float(likelihood.variance.detach()) == pytest.approx(1.01)
    torch.manual_seed(0)
    x = 3 * torch.randn(40, 50, dtype=torch.float64)
    for data, want in ((x, float(x.square().mean())), (torch.zeros_like(x), 1e-2)):
        optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.5)
        for _ in range(600):
            optimizer.zero_grad()
            (
                -likelihood(torch.zeros(40, 1, 50, dtype=torch.float64)).log_prob(data).mean()
            ).backward()
            optimizer.step()
        assert float(likelihood.variance.detach()) == pytest.approx(want, rel=2e-2)
        assert float(likelihood.variance.detach()) >= 1e-2
    assert not list(Gaussian((50,), variance=2.0).parameters())
    assert "fixed" not in Gaussian((50,), variance=2.0).state_dict()


def test_the_prior_is_the_standard_normal() -> None:
    z = torch.randn(6, 3, dtype=torch.float64)
    fn = StandardNormal(3).double()()
    np.testing.assert_allclose(
        fn.log_prob(z).numpy(), stats.norm.logpdf(z.numpy()).sum(1), rtol=1e-12
    )
    assert (tuple(fn.batch_shape), tuple(fn.event_shape)) == ((), (3,))
    assert not StandardNormal(3).state_dict()


def posterior(guide: nn.Module, x: Tensor) -> Any:
    trace: Any = poutine.trace(guide).get_trace(x)
    return trace.nodes["z"]["fn"].base_dist


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_guides_scale_is_bounded_and_finite_for_any_input(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    guide = MeanField(2, (3,), partial(MLP, hidden=())).to(dtype)
    for size in (0.0, 1.0, 1e6, -1e6):
        fn = posterior(guide, torch.full((4, 3), size, dtype=dtype))
        assert fn.scale.dtype == dtype
        assert bool(
            ((fn.scale >= math.exp(-10) * 0.999) & (fn.scale <= math.exp(10) * 1.001)).all()
        )
        score = fn.log_prob(fn.rsample()).sum()
        grads = torch.autograd.grad(score, list(guide.parameters()))
        assert all(bool(g.isfinite().all()) for g in grads)


def test_the_guides_scale_is_exp_below_one_and_grows_in_proportion_above() -> None:
    guide = MeanField(1, (1,), partial(MLP, hidden=())).double()
    (layer,) = [m for m in guide.modules() if isinstance(m, nn.Linear)]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0], [1.0]]))
        layer.bias.copy_(torch.tensor([3.0, 0.0]))
    x = torch.linspace(-1.7, 1.7, 9, dtype=torch.float64)[:, None]
    fn = posterior(guide, x)
    torch.testing.assert_close(fn.loc, 2 * x + 3)
    low, high = x <= 0, x >= 0
    torch.testing.assert_close(fn.scale[low].log(), x[low], rtol=1e-2, atol=0)
    proportional = x[high] + (1 + x[high].square()).sqrt()
    torch.testing.assert_close(fn.scale[high], proportional, rtol=1e-2, atol=0)


def test_a_point_mass_is_where_the_encoder_says() -> None:
    guide = Delta(2, (3,))
    x = torch.randn(5, 3)
    torch.testing.assert_close(guide(x), guide.encoder(x))


class Plain(nn.Module):
    """A program that is a module of torch's, not of Pyro's."""

    def __init__(self, is_model: bool) -> None:
        super().__init__()
        self.net = nn.Linear(2, 6) if is_model else nn.Linear(6, 2)
        self.is_model = is_model

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            if self.is_model:
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(self.net(z), 1.0).to_event(1), obs=x)
            else:
                pyro.sample("z", dist.Normal(self.net(x), 0.5).to_event(1))


class Methods(nn.Module):
    """Both programs as methods."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder, self.encoder = nn.Linear(2, 6), nn.Linear(6, 2)

    def model(self, x: Tensor) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 0.5).to_event(1))


def programs(kind: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    if kind == "ours":
        return VAE(StandardNormal(2), Gaussian((6,), variance="learned")), MeanField(2, (6,))
    if kind == "plain":
        return Plain(True), Plain(False)
    if kind == "methods":
        owner = Methods()
        return owner.model, owner.guide
    decoder, encoder = nn.Linear(2, 6), nn.Linear(6, 2)

    def model(x: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

    return model, guide


@pytest.mark.parametrize("kind", ["ours", "plain", "methods", "functions"])
@pytest.mark.parametrize("elbo", [elbo for elbo in ELBOS if elbo is not TraceEnum_ELBO])
def test_autocast_is_for_networks_alone(kind: str, elbo: type[Trace_ELBO]) -> None:
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
    pair = Pair(*programs(kind), {"x": x})
    bound = Bound(pair, elbo, audit(pair, elbo, {"x": x}))
    inside: list[torch.dtype] = []
    for layer in (m for m in pair.modules() if isinstance(m, nn.Linear)):
        layer.register_forward_hook(lambda _m, _i, out: inside.append(out.dtype), prepend=True)
    sampled: list[torch.dtype] = []

    class Watch(poutine.messenger.Messenger):
        def _pyro_post_sample(self, msg: Any) -> None:
            if msg["type"] == "sample" and msg["name"] in ("x", "z"):
                sampled.extend([msg["value"].dtype, msg["fn"].log_prob(msg["value"]).dtype])

    def value(is_mixed: bool) -> tuple[Tensor, list[Tensor]]:
        inside.clear()
        sampled.clear()
        pair.zero_grad()
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_mixed), Watch():
            objective = bound({"x": x}).objective
        objective.backward()
        assert set(inside) == {torch.bfloat16 if is_mixed else torch.float32}
        assert set(sampled) == {torch.float32}
        assert objective.dtype == torch.float32
        return objective.detach() / len(x), [
            p.grad.clone() for p in pair.parameters() if p.grad is not None
        ]

    exact, slopes = value(False)
    mixed, rough = value(True)
    assert exact != mixed
    # bfloat16 has 8 bits: each output of a network is off by 2^-9 of itself or so.
    assert abs(float(exact - mixed)) < 0.02 * abs(float(exact))
    for a, b in zip(slopes, rough, strict=True):
        assert float((a - b).norm()) < 0.05 * float(a.norm()) + 1e-3


def test_hooks_are_inert_without_autocast_and_without_a_bound() -> None:
    x = torch.randn(8, 6)
    model, guide = programs("ours")
    before = guide.encoder(x)
    pair = Pair(model, guide, {"x": x})
    Bound(pair, TraceMeanField_ELBO, audit(pair, TraceMeanField_ELBO, {"x": x}))
    assert torch.equal(guide.encoder(x), before)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert guide.encoder(x).dtype == torch.bfloat16  # as torch has it, outside a bound
