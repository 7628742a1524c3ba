"""Lower limit: only the matrix products and convolutions of a step, forward and backward."""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from ..job import Job, Run
from .networks import decoder, encoder
from .stepping import batches

__all__ = ["make"]

Product = Callable[[], object]


def make(job: Job) -> Run:
    """Run each layer's product, and those of the gradients of its weights and its input."""
    x = batches(job)[0]
    z = torch.randn(job.batch, job.latent, device=job.device)
    networks = [(encoder(job), x, False), (decoder(job), z, True)]
    products = [p for net, of, into in networks for p in _products(net.to(job.device), of, into)]

    def run(steps: int) -> float:
        for _ in range(steps):
            for product in products:
                product()
        if job.device == "cuda":
            torch.cuda.synchronize()
        return math.nan

    return Run(run, lambda: ([], []))


def _products(network: nn.Sequential, x: Tensor, into_x: bool) -> Iterator[Product]:
    """The products of a network; ``into_x``: its input is not data and needs a gradient."""
    network.requires_grad_(False)
    for layer in network:
        y = layer(x)
        g = torch.randn_like(y)
        if isinstance(layer, nn.Linear):
            yield from _linear(layer.weight, x, g, into_x)
            into_x = True
        elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            yield from _convolution(layer, x, g, into_x)
            into_x = True
        x = y


def _linear(weight: Tensor, x: Tensor, g: Tensor, into_x: bool) -> Iterator[Product]:
    # Outputs are allocated once, so that only the products are timed.
    yield partial(torch.mm, x, weight.t(), out=torch.empty_like(g))
    yield partial(torch.mm, g.t(), x, out=torch.empty_like(weight))
    if into_x:
        yield partial(torch.mm, g, weight, out=torch.empty_like(x))


def _convolution(
    layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, g: Tensor, into_x: bool
) -> Iterator[Product]:
    how = (
        layer.stride, layer.padding, layer.dilation, layer.transposed, layer.output_padding,
        layer.groups,
    )  # fmt: skip
    yield partial(torch.ops.aten.convolution, x, layer.weight, None, *how)
    gradients = [into_x, True, False]  # of input, weight, bias
    yield partial(torch.ops.aten.convolution_backward, g, x, layer.weight, None, *how, gradients)
