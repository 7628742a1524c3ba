"""Residual networks: their blocks and convolutions."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ppvae.networks import (
    ConvEncoder,
    ResidualDecoder,
    ResidualEncoder,
    Shape,
    build,
)
from ppvae.networks.residual import ResidualBlock
from tests.support.networks import ends, every_shape


def test_a_residual_block_starts_as_the_identity_and_leaves_it() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(6, "silu")
    h = torch.randn(4, 6, 5, 3)
    assert torch.equal(block(h), h)
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
    for _ in range(2):  # the last convolution changes first, then the ones before it
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
    """A norm would leave only the sign."""
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
