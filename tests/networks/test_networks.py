"""Laws of the networks: each datum alone, every size, finite slopes."""

import math
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import nn

from ppvae.components.building import build_programs
from ppvae.components.kinds import KINDS
from ppvae.components.spec import Spec
from ppvae.data import load
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.models import VAE, Bernoulli, StandardNormal
from ppvae.networks import (
    GatedMLP,
    ResidualDecoder,
    ResidualEncoder,
    Shape,
)
from ppvae.networks.residual import ResidualBlock
from tests.support.networks import (
    CASES,
    NETWORKS,
    assert_captured,
    ends,
    every_network,
    every_shape,
    inputs,
    made,
)
from tests.support.slow import few

ENCODERS, DECODERS = ([name for name, d in CASES if d == of] for of in ("encoder", "decoder"))


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
    assert network.training  # where batch normalization would couple the data
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
    # For an image of one pixel, all other entries of a kernel meet the padding.
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


# Each network once, since capturing takes a second.
PAIRS = list(islice(zip(cycle(ENCODERS), cycle(DECODERS)), max(len(ENCODERS), len(DECODERS))))


@pytest.mark.parametrize(("encoder", "decoder"), few(PAIRS, 0))
@pytest.mark.parametrize("compile", COMPILERS)
def test_the_captured_bound_is_the_eager_one(encoder: str, decoder: str, compile: bool) -> None:
    shape, x = (2, 5, 3), torch.rand(6, 2, 5, 3).round()
    torch.manual_seed(0)
    model = VAE(StandardNormal(4), Bernoulli(shape), NETWORKS[decoder])
    guide = MeanField(4, shape, NETWORKS[encoder])
    assert_captured(model, guide, x, compile=compile)


@pytest.mark.parametrize("encoder", few(ENCODERS, 3))
@pytest.mark.parametrize("decoder", few(DECODERS, 2))
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
    assert before == pytest.approx(-64 * math.log(2), rel=0.2)  # the initial bound
    for batch in x.split(64):
        optimizer.zero_grad()
        (elbo.differentiable_loss(model, guide, batch) / len(batch)).backward()
        optimizer.step()
    assert bound() > before + 5


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
