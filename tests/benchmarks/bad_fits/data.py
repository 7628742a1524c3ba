"""Data of the bad fits: the digits, and tables simulated from known distributions."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ppvae.data import Data, from_arrays, load
from ppvae.data.in_memory import InMemorySplit

from .parts import LOADINGS

ROWS = 2_000
"""Rows of each table: 1,600 training, 200 validation and 200 test rows."""


def digits() -> Data:
    """All digits."""
    return load("digits", binarize="dynamic")


def few_digits() -> Data:
    """160 training digits; validation and test rows are those of `digits`."""
    return _few(digits())


def static_digits() -> Data:
    """All digits, binarized once, so that no new noise prevents overfitting."""
    return load("digits", binarize="static")


def few_static_digits() -> Data:
    """160 training digits, binarized once."""
    return _few(static_digits())


def _few(whole: Data) -> Data:
    train = whole.train
    assert isinstance(train, InMemorySplit)
    rows = torch.randperm(len(train), generator=_generator(0))[:160]
    few = replace(train, x=train.x[rows], extras={}, known=train.known.select(rows))
    return replace(whole, train=few, source=None)


def counts() -> Data:
    """12 counts of two latents, overdispersed: 57 % of them are 0."""
    g = _generator(1)
    z = torch.randn(ROWS, 2, generator=g)
    rate = (-0.2 + z @ torch.randn(2, 12, generator=g) * 0.6).exp()
    gamma = torch.distributions.Gamma(1.0, 1.0 / rate)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        x = torch.poisson(gamma.sample())
    return from_arrays(x.to(torch.int64).numpy(), name="counts")


def heavy_tails() -> Data:
    """8 columns of two latents, with noise of a Student-t of 2.5 degrees of freedom."""
    g = _generator(3)
    z = torch.randn(ROWS, 2, generator=g)
    signal = (z @ torch.randn(2, 8, generator=g)).tanh()
    with torch.random.fork_rng():
        torch.manual_seed(4)
        noise = torch.distributions.StudentT(2.5).sample((ROWS, 8))
    return _table(signal + 0.2 * noise, "heavy tails")


def linear() -> Data:
    """W z + noise of variance 1/4, with W of `FixedLinear` and z of four standard normals."""
    g = _generator(5)
    z = torch.randn(ROWS, 4, generator=g)
    return _table(z @ LOADINGS.T + 0.5 * torch.randn(ROWS, 6, generator=g), "linear")


def clusters() -> Data:
    """6 columns, linear in two latents that form five clusters, with little noise."""
    g = _generator(6)
    angle = torch.randint(5, (ROWS,), generator=g) * (2 * torch.pi / 5)
    centre = 3 * torch.stack([angle.cos(), angle.sin()], 1)
    z = centre + 0.2 * torch.randn(ROWS, 2, generator=g)
    x = z @ torch.randn(2, 6, generator=g) + 0.2 * torch.randn(ROWS, 6, generator=g)
    return _table(x, "clusters")


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _table(x: Tensor, name: str) -> Data:
    return from_arrays(x.numpy(), name=name)


DATA: dict[str, Callable[[], Data]] = {
    each.__name__: each
    for each in (
        digits, few_digits, static_digits, few_static_digits, counts, heavy_tails, linear, clusters,
    )
}  # fmt: skip
