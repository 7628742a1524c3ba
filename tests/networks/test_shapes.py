"""Shapes of networks; wrong ones are refused."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from ppvae.errors import InputError
from ppvae.networks import MLP, ConvDecoder, ConvEncoder, Network, build

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
