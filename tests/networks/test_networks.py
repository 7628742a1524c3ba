"""Laws of the networks: each datum alone, every size, finite slopes; and what stands beside x."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice, pairwise, product
from typing import Any, get_args

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn
from torch.nn import functional as F

from ppvae.compilation import capture
from ppvae.compilation.graphs import trace
from ppvae.components.building import build_programs
from ppvae.components.kinds import KINDS
from ppvae.components.spec import Spec
from ppvae.data import load
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.guides.scales import posterior_scale
from ppvae.models import VAE, Bernoulli, StandardNormal
from ppvae.models.conditional_vae import ConditionalVAE
from ppvae.networks import (
    MLP,
    ConvEncoder,
    GatedMLP,
    Network,
    ResidualDecoder,
    ResidualEncoder,
    Shape,
    beside,
    build,
    features,
    joined_shape,
    positive,
)
from ppvae.networks.initial_weights import gain
from ppvae.networks.layers import Activation
from ppvae.networks.residual import ResidualBlock
from tests.support.slow import few

SHAPES: list[Shape] = [(1, 28, 28), (3, 7, 9), (2, 1, 1), (1, 8, 5), (3, 33, 17)]
NETWORKS: dict[str, Network] = KINDS["encoder"].names()


def ends(direction: str, shape: Shape) -> tuple[Shape, Shape]:
    """What goes in and what comes out where images of ``shape`` are encoded, or decoded."""
    return (shape, (2, 5)) if direction == "encoder" else ((5,), (2, *shape))


def serves(name: str, direction: str) -> bool:
    try:
        NETWORKS[name](*ends(direction, (1, 4, 4)))
    except InputError:
        return False
    return True


# A new network that is exported inherits every law.
CASES = [case for case in product(NETWORKS, ("encoder", "decoder")) if serves(*case)]
ENCODERS, DECODERS = ([name for name, d in CASES if d == of] for of in ("encoder", "decoder"))
every_network = pytest.mark.parametrize(("name", "direction"), CASES)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def made(name: str, direction: str, shape: Shape, seed: int = 0) -> nn.Module:
    """The network with no weight where it starts: what starts at zero would hide what it does."""
    torch.manual_seed(seed)
    network = NETWORKS[name](*ends(direction, shape)).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5 / math.sqrt(parameter[0].numel()))
    return network


def inputs(direction: str, shape: Shape, *lead: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    size = (*lead, *ends(direction, shape)[0])
    return torch.randn(size, generator=generator, dtype=torch.float64)


def test_every_network_is_chosen_by_name_and_has_a_direction() -> None:
    assert {name for name, _ in CASES} == set(NETWORKS) == set(KINDS["decoder"].names())
    assert {"MLP", "GatedMLP", "ConvEncoder", "ConvDecoder"} <= set(NETWORKS)
    assert ("ResidualEncoder", "encoder") in CASES
    assert ("ResidualDecoder", "decoder") in CASES


@every_network
@every_shape
def test_a_datum_is_mapped_alone_whatever_stands_before_and_beside_it(
    name: str, direction: str, shape: Shape
) -> None:
    network = made(name, direction, shape)
    assert network.training  # in which batch normalization, for one, would couple the data
    x = inputs(direction, shape, 2, 3)
    out = network(x)
    assert tuple(out.shape) == (2, 3, *ends(direction, shape)[1])
    assert out.dtype == torch.float64
    torch.testing.assert_close(network(x[1, 2]), out[1, 2], rtol=1e-10, atol=1e-10)
    others = x * 100
    others[1, 2] = x[1, 2]
    torch.testing.assert_close(network(others)[1, 2], out[1, 2], rtol=1e-10, atol=1e-10)
    assert tuple(network(x[:, :0]).shape) == (2, 0, *ends(direction, shape)[1])


@every_network
@every_shape
def test_no_number_that_goes_in_is_overlooked_and_no_weight_is_idle(
    name: str, direction: str, shape: Shape
) -> None:
    network = made(name, direction, shape)
    x = inputs(direction, shape, 16).requires_grad_()
    weights = torch.randn(2, 5 if direction == "encoder" else 1, dtype=torch.float64)
    out = network(x).flatten(2)
    (weights * out).sum().backward()
    assert x.grad is not None
    assert bool((x.grad != 0).any(0).all())
    named = dict(network.named_parameters())
    # Where an image is one pixel, kernels meet the padding on all sides but theirs.
    idle = [key for key, p in named.items() if p.grad is None or not bool((p.grad != 0).any())]
    assert not idle


@every_network
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slopes_are_finite_whatever_goes_in(name: str, direction: str, dtype: torch.dtype) -> None:
    network = made(name, direction, (1, 8, 5)).to(dtype)
    for size in (0.0, 1.0, 1e6, -1e6, 1e12):
        constant = torch.full_like(inputs(direction, (1, 8, 5), 3), size)
        for x in (constant, size * inputs(direction, (1, 8, 5), 3)):
            out = network(x.to(dtype).requires_grad_())
            slopes = torch.autograd.grad(out.sum(), list(network.parameters()))
            assert all(bool(value.isfinite().all()) for value in (out, *slopes))


@every_network
def test_half_precision_is_rough_and_no_more(name: str, direction: str) -> None:
    network = made(name, direction, (3, 33, 17)).float()
    x = inputs(direction, (3, 33, 17), 4).float()
    with torch.no_grad():
        exact = network(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network(x)
    assert rough.dtype == torch.bfloat16
    # bfloat16 has 8 bits: each layer is off by 2^-9 of itself or so.
    assert 0 < float((rough - exact).norm()) < 0.03 * float(exact.norm())


@every_network
def test_weights_are_saved_whole(name: str, direction: str) -> None:
    one, other = (made(name, direction, (3, 7, 9), seed) for seed in (0, 1))
    x = inputs(direction, (3, 7, 9), 2)
    assert not torch.equal(one(x), other(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))
    assert set(one.state_dict()) == {key for key, _ in one.named_parameters()}


COMPILERS = [
    pytest.param(False, id="graph"),
    pytest.param(True, id="compiled", marks=pytest.mark.slow),
]


# Each network once; capturing takes a second.
PAIRS = list(islice(zip(cycle(ENCODERS), cycle(DECODERS)), max(len(ENCODERS), len(DECODERS))))


@pytest.mark.parametrize(("encoder", "decoder"), few(PAIRS, 4))
@pytest.mark.parametrize("compile", COMPILERS)
def test_the_captured_bound_is_the_eager_one(encoder: str, decoder: str, compile: bool) -> None:
    shape, x = (2, 5, 3), torch.rand(6, 2, 5, 3).round()
    torch.manual_seed(0)
    model = VAE(StandardNormal(4), Bernoulli(shape), NETWORKS[decoder])
    guide = MeanField(4, shape, NETWORKS[encoder])
    assert_captured(model, guide, x, compile=compile)


def assert_captured(
    model: nn.Module, guide: nn.Module, x: Tensor, *, compile: bool = False, **extras: Any
) -> None:
    """The law: captured and eager, under the same noise, to rounding."""
    loss = capture(model, guide, Trace_ELBO(), x, compile=compile, **extras)
    parameters = [*model.parameters(), *guide.parameters()]
    results = []
    for of in (loss, partial(Trace_ELBO().differentiable_loss, model, guide)):
        pyro.set_rng_seed(1)
        value = of(x, **extras)
        results.append([value, *torch.autograd.grad(value, parameters)])
    assert loss.reason == ""
    for captured, eager in zip(*results, strict=True):
        torch.testing.assert_close(captured, eager, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_few_steps_on_the_digits_raise_the_bound(encoder: str, decoder: str) -> None:
    digits = load("digits", data_dir=None, label=None, binarize="threshold")
    x, held_out = (
        split.take(torch.arange(n))["x"] for split, n in ((digits.train, 640), (digits.valid, 100))
    )
    torch.manual_seed(0)
    model = VAE(StandardNormal(8), Bernoulli(digits.shape), NETWORKS[decoder])
    guide = MeanField(8, digits.shape, NETWORKS[encoder])
    parameters = [*model.parameters(), *guide.parameters()]
    elbo, optimizer = TraceMeanField_ELBO(), torch.optim.Adam(parameters, lr=3e-3)

    def bound() -> float:
        with torch.no_grad():
            return -float(elbo.loss(model, guide, held_out)) / len(held_out)

    before = bound()
    assert before == pytest.approx(-64 * math.log(2), rel=0.2)  # it knows nothing yet
    for batch in x.split(64):
        optimizer.zero_grad()
        (elbo.differentiable_loss(model, guide, batch) / len(batch)).backward()
        optimizer.step()
    assert bound() > before + 5


# Each network is what its docstring says.


def numbers(*layers: nn.Module) -> list[Any]:
    return [p.detach().numpy() for layer in layers for p in layer.parameters()]


def test_the_gated_mlp_is_a_product_of_a_linear_map_and_a_gate() -> None:
    network = GatedMLP((2, 3), (4, 2), hidden=(5, 7)).double()
    x = torch.randn(9, 2, 3, dtype=torch.float64)
    h = x.numpy().reshape(9, 6)
    one, other, last = (m for m in network.modules() if isinstance(m, nn.Linear))
    for weight, bias in (numbers(one), numbers(other)):
        (w, v), (b, c) = np.split(weight, 2), np.split(bias, 2)
        h = (h @ w.T + b) / (1 + np.exp(-(h @ v.T + c)))
    weight, bias = numbers(last)
    want = (h @ weight.T + bias).reshape(9, 4, 2)
    np.testing.assert_allclose(network(x).detach().numpy(), want, rtol=1e-12)


@pytest.mark.parametrize("hidden", [(), (7,)])
def test_a_gated_mlp_without_hidden_layers_is_affine_and_with_them_is_not(
    hidden: Sequence[int],
) -> None:
    torch.manual_seed(0)
    network = GatedMLP((3,), (2, 2), hidden).double()
    a, b = torch.randn(2, 3, dtype=torch.float64)
    gap = network(0.3 * a + 0.7 * b) - 0.3 * network(a) - 0.7 * network(b)
    assert bool(gap.abs().max() < 1e-12) is (not hidden)


def test_a_residual_block_starts_as_the_identity_and_leaves_it() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(6, "silu")
    h = torch.randn(4, 6, 5, 3)
    assert torch.equal(block(h), h)
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
    for _ in range(2):  # the last convolution moves first, then what stands before it
        optimizer.zero_grad()
        (block(h) - h.roll(1, 1)).square().mean().backward()
        optimizer.step()
    assert all(bool((p.grad != 0).any()) for p in block.parameters() if p.grad is not None)
    assert not torch.equal(block(h), h)


@pytest.mark.parametrize(("width", "groups"), [(1, 1), (7, 1), (15, 1), (16, 2), (32, 4), (50, 5)])
def test_a_residual_block_normalizes_groups_of_channels_of_one_datum(
    width: int, groups: int
) -> None:
    torch.manual_seed(0)
    block = ResidualBlock(width, "tanh").double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    norms = [m for m in block.modules() if isinstance(m, nn.GroupNorm)]
    convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    h = torch.randn(3, width, 4, 5, dtype=torch.float64)
    f = h
    for norm, convolution in zip(norms, convolutions, strict=True):
        grouped = f.reshape(3, groups, -1)
        centred = grouped - grouped.mean(-1, keepdim=True)
        scale = (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt()
        f = (centred / scale).reshape_as(h)
        f = (f * norm.weight[:, None, None] + norm.bias[:, None, None]).tanh()
        f = F.conv2d(f, convolution.weight, convolution.bias, padding=1)
    torch.testing.assert_close(block(h), h + f)


@every_shape
def test_a_residual_encoder_starts_as_the_convolutions_it_is_built_on(shape: Shape) -> None:
    torch.manual_seed(0)
    channels = (4, 6, 8)
    residual = ResidualEncoder(shape, (2, 5), channels, blocks=2, activation="elu").double()
    plain = ConvEncoder(shape, (2, 5), channels, activation="elu").double()
    kept = [m for m in residual.layers if not isinstance(m, ResidualBlock)]
    assert len(residual.layers) - len(kept) == 2 * len(channels)
    plain.layers.load_state_dict(nn.Sequential(*kept).state_dict())
    x = torch.randn(3, *shape, dtype=torch.float64)
    torch.testing.assert_close(residual(x), plain(x))


@every_shape
def test_a_residual_decoder_repeats_pixels_and_convolves(shape: Shape) -> None:
    torch.manual_seed(0)
    decoder = ResidualDecoder((5,), (2, *shape), (4, 6), blocks=2, activation="elu").double()
    z = torch.randn(3, 5, dtype=torch.float64)
    (affine,) = (m for m in decoder.layers if isinstance(m, nn.Linear))
    convolutions = [m for m in decoder.layers if isinstance(m, nn.Conv2d)]
    sizes = [tuple(-(-side // 2**times) for side in shape[1:]) for times in (2, 1, 0)]
    h = affine(z).reshape(3, 4, *sizes[0])
    for convolution, (height, width) in zip(convolutions, sizes[1:], strict=True):
        wide = F.elu(h).repeat_interleave(2, -1).repeat_interleave(2, -2)[..., :height, :width]
        h = F.conv2d(wide, convolution.weight, convolution.bias, padding=1)
    torch.testing.assert_close(decoder(z), h.reshape(3, 2, *shape))


def test_one_channel_of_one_pixel_passes() -> None:
    """All that a norm could leave of it is its sign."""
    torch.manual_seed(0)
    x = torch.linspace(-2, 2, 5, dtype=torch.float64).reshape(5, 1, 1, 1)
    encoder = ResidualEncoder((1, 1, 1), (1,), channels=(1, 1)).double()
    decoder = ResidualDecoder((1,), (1, 1, 1), channels=(1, 1)).double()
    for out in (encoder(x), decoder(x.flatten(1)).flatten(1)):
        steps = [float(b - a) for a, b in pairwise(out.detach())]
        assert all(abs(step) > 1e-6 for step in steps)


@pytest.mark.parametrize(
    ("network", "channels"),
    [(ResidualEncoder, (1, 2)), (ResidualDecoder, (7, 1)), (ResidualEncoder, ()),
     (ResidualDecoder, ()), (ResidualEncoder, (5, 9, 11, 3, 2))],
)  # fmt: skip
def test_any_widths_and_any_number_of_levels_do(network: Any, channels: tuple[int, ...]) -> None:
    direction = "encoder" if network is ResidualEncoder else "decoder"
    module = network(*ends(direction, (3, 7, 9)), channels, blocks=2)
    assert isinstance(build(module, *ends(direction, (3, 7, 9)), direction), nn.Module)


# Refusals.


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: GatedMLP((2,), (3,), hidden=(4, 0)), r"hidden is \[4, 0\]; each layer needs"),
        (lambda: ResidualEncoder((1, 8, 8), (2,), (3, -1)), r"channels is \[3, -1\]"),
        (lambda: ResidualDecoder((2,), (1, 8, 8), (0,)), r"channels is \[0\]"),
        (lambda: ResidualEncoder((1, 8, 8), (2,), blocks=0), "blocks is 0; a level needs at least"),
        (lambda: ResidualDecoder((2,), (1, 8, 8), blocks=-2), "blocks is -2"),
        (lambda: ResidualEncoder((64,), (2,)), r"\(64,\); take `encoder='MLP'`"),
        (lambda: ResidualDecoder((2,), (1, 64)), r"\(1, 64\); take `decoder='MLP'`"),
    ],
)
def test_what_cannot_be_made_is_refused(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("part", "name", "other"),
    [("decoder", "ResidualEncoder", "ResidualDecoder"), ("encoder", "ConvDecoder", "ConvEncoder"),
     ("decoder", "ConvEncoder", "ConvDecoder"), ("encoder", "ResidualDecoder", "ResidualEncoder")],
)  # fmt: skip
def test_a_network_of_the_other_direction_names_its_mirror(
    part: str, name: str, other: str
) -> None:
    with pytest.raises(InputError, match=f"{name} .*images.*`{part}='{other}'`") as refused:
        build_programs({part: Spec(name)}, latent_dim=5, data_shape=(1, 8, 8))
    assert str(refused.value).count("\n") == 0


def test_widths_come_from_the_command_line() -> None:
    parts = {
        "encoder": Spec("GatedMLP", {"hidden": "30,20"}),
        "decoder": Spec("ResidualDecoder", {"channels": "9,8", "blocks": "2"}),
    }
    made: Any = build_programs(parts, latent_dim=5, data_shape=(1, 8, 8))
    gated, residual = made.guide.encoder, made.model.decoder
    assert [m.out_features for m in gated.modules() if isinstance(m, nn.Linear)] == [60, 40, 10]
    assert len([m for m in residual.layers if isinstance(m, ResidualBlock)]) == 4
    assert made.parts["decoder"]["init_args"] == {
        "channels": [9, 8], "blocks": 2, "activation": "silu",
    }  # fmt: skip


# Beside x.


@pytest.mark.parametrize("shape", [(), (7,), (4, 1), (2, 3, 5)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_labels_are_one_hot(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    y = torch.randint(4, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    got = features(y, 4)
    assert got.dtype == torch.get_default_dtype()
    assert torch.equal(got, F.one_hot(y.long(), 4).float())


def test_yes_and_no_are_labels() -> None:
    assert features(torch.tensor([True, False]), 2).tolist() == [[0, 1], [1, 0]]


def test_a_label_that_is_not_known_has_no_one() -> None:
    assert features(torch.tensor([2, -1, 0]), 3).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_covariates_stay_as_they_are() -> None:
    for y in (torch.randn(7, 3), torch.randn(2, 7, 3, dtype=torch.float64)):
        assert features(y, 3) is y
    one = torch.randn(7)
    assert torch.equal(features(one, 1), one[:, None])
    assert features(one[:, None], 1).shape == (7, 1)


@pytest.mark.parametrize(
    ("y", "size", "sentence"),
    [
        (None, 3, "conditional on y, and the data have none; give labels"),
        (torch.tensor([0, 3]), 3, "the label 3, and the program knows 3 classes; .* from 0 to 2"),
        (torch.tensor([[1], [-2]]), 3, "the label -2"),
        (torch.zeros(5, 2), 3, r"y has shape \(5, 2\), and .* on 3 covariates"),
        (torch.zeros(5), 3, r"y has shape \(5,\)"),
    ],
)
def test_what_is_no_label_and_no_covariate_is_refused(
    y: Tensor | None, size: int, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        features(y, size)


def test_a_graph_of_labels_is_true_for_all_labels() -> None:
    graph = trace(lambda y: features(y, 3), [torch.zeros(4, dtype=torch.int64)])
    for y in (torch.tensor([2, -1, 0, 1]), torch.tensor([0, 0, 2, 2])):
        assert torch.equal(graph(y), features(y, 3))
    assert graph(torch.tensor([3, -2, 0, 1]))[:2].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_conditional_bound_is_captured_as_it_is() -> None:
    torch.manual_seed(0)
    model = ConditionalVAE(StandardNormal(2), Bernoulli((2, 3)), classes=3)
    guide = MeanField(2, (2, 3), classes=3)
    x, y = torch.rand(5, 2, 3).round(), torch.tensor([0, 2, -1, 1, 1])
    assert_captured(model, guide, x, y=y)


@pytest.mark.parametrize(
    ("values", "more", "lead"),
    [((4,), (4,), (4,)), ((3, 4), (4,), (3, 4)), ((4,), (5, 1), (5, 4)),
     ((3, 4), (5, 1, 1), (5, 3, 4)), ((), (4,), (4,))],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3)])
def test_each_datum_has_its_features_beside_it(
    values: Shape, more: Shape, lead: Shape, shape: Shape
) -> None:
    x = torch.randn(*values, *shape, dtype=torch.float64)
    beside_it = torch.randn(*more, 2)
    got = beside(x, len(shape), beside_it)
    assert got.dtype == torch.float64
    assert beside(x.float(), len(shape), beside_it.double()).dtype == torch.float32
    assert tuple(got.shape) == (*lead, *joined_shape(shape, 2))
    wide = x.expand(*lead, *shape), beside_it.expand(*lead, 2)
    for place in np.ndindex(*lead):
        want = torch.cat([wide[0][place].reshape(-1), wide[1][place].double()])
        assert torch.equal(got[place], want)


def test_without_features_a_datum_keeps_its_shape() -> None:
    assert joined_shape((1, 4, 4), 0) == (1, 4, 4)
    assert joined_shape((1, 4, 4), 3) == (19,)


# Scales.


def test_a_scale_is_exp_where_networks_live() -> None:
    x = torch.linspace(-1.4, 1.4, 99, dtype=torch.float64)
    torch.testing.assert_close(positive(x), x.exp(), rtol=1e-2, atol=0)
    torch.testing.assert_close(positive(x / 10), (x / 10).exp(), rtol=2e-5, atol=0)


@pytest.mark.parametrize("scale_of", [positive, posterior_scale])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_scale_is_positive_finite_and_rising_whatever_the_network_says(
    dtype: torch.dtype, scale_of: Callable[[Tensor], Tensor]
) -> None:
    extremes = [-math.inf, -1e30, -1e3, -5.0, 0.0, 5.0, 1e3, 1e30, math.inf]
    x = torch.tensor(extremes, dtype=dtype, requires_grad=True)
    scale = scale_of(x)
    (slope,) = torch.autograd.grad(scale.log().sum(), x)
    scale = scale.detach()
    assert scale.dtype == dtype
    assert float(scale.min()) == pytest.approx(math.exp(-10), rel=0.05)
    assert float(scale.max()) == pytest.approx(math.exp(10), rel=0.05)
    assert bool((scale.diff() >= 0).all())
    assert bool((scale[2:6].diff() > 0).all())
    assert bool(slope.isfinite().all())
    assert bool((slope[3:6] > 0).all())


def test_the_slope_of_a_scale_is_that_of_its_numbers() -> None:
    x = torch.linspace(-30, 30, 13, dtype=torch.float64, requires_grad=True)
    for scale_of in (positive, posterior_scale):
        assert torch.autograd.gradcheck(lambda t, f=scale_of: f(t).log(), x)


def test_a_posteriors_scale_grows_as_exp_below_one_and_in_proportion_above() -> None:
    below = torch.linspace(-1.4, 0.4, 99, dtype=torch.float64)
    torch.testing.assert_close(posterior_scale(below), below.exp(), rtol=1.1e-2, atol=0)
    above = torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
    want = above + (1 + above.square()).sqrt()
    torch.testing.assert_close(posterior_scale(above), want, rtol=4e-2, atol=0)
    assert float(posterior_scale(torch.tensor(6.1))) < 13  # where exp is 446
    assert float(posterior_scale(torch.tensor(30.0))) > 40  # as wide a prior is met


@pytest.mark.parametrize(
    "network", [*(partial(MLP, activation=name) for name in get_args(Activation)), GatedMLP]
)
def test_a_signal_keeps_its_size_through_the_layers_and_the_seed_decides_them(
    network: Callable[..., nn.Module],
) -> None:
    """Through twelve of width 200, of which torch's own weights leave nothing but the biases."""
    x = torch.randn(500, 200, generator=torch.Generator().manual_seed(1))

    def deep(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return network((200,), (200,), hidden=(200,) * 12)

    one = deep(0)
    affine = [layer for layer in one.modules() if isinstance(layer, nn.Linear)]
    assert not any(bool(layer.bias.any()) for layer in affine)
    with torch.no_grad():
        assert 0.3 < float(one(x).std()) < 3
    assert torch.equal(one(x), deep(0)(x))
    assert not torch.equal(one(x), deep(1)(x))


def test_a_gain_undoes_what_a_nonlinearity_takes_away() -> None:
    assert gain(nn.ReLU()) == pytest.approx(math.sqrt(2), abs=0.01)
    e = torch.randn(2, 100_000, generator=torch.Generator().manual_seed(1)).double()
    for layer, x in ((nn.SiLU(), e[0]), (nn.Tanh(), e[0]), (nn.GLU(0), e.flatten())):
        assert float(layer(x).square().mean()) == pytest.approx(gain(layer) ** -2, rel=0.02)
