"""The polynomial for log(1 + exp(-|x|)): its precision, and where it is used."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ppvae.compilation.graphs import trace
from ppvae.compilation.logistic import coefficients, take_quicker_logistic_terms

EPS = float(torch.finfo(torch.float32).eps)


def logarithms(graph: torch.fx.GraphModule) -> int:
    return len(graph.graph.find_nodes(op="call_function", target=torch.ops.aten.log.default))


def log_density(logits: Tensor, x: Tensor) -> Tensor:
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none")


def test_the_polynomial_is_off_by_less_than_single_precision() -> None:
    e = np.linspace(0, 1, 100_001)
    off = np.polynomial.Polynomial(coefficients())(e) - np.log1p(e)
    assert float(np.abs(off).max()) < 4e-8 < EPS


@pytest.mark.parametrize("with_gradient", [False, True])
def test_a_bernoulli_density_takes_no_logarithm_and_stays_what_it_is(with_gradient: bool) -> None:
    logits = torch.cat([torch.linspace(-120, 120, 24_001), torch.tensor([0.0, 1e-9, -1e-9])])
    x = (torch.rand(len(logits), generator=torch.Generator().manual_seed(0)) < 0.5).float()

    def both(logits: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        if not with_gradient:
            return (log_density(logits, x),)
        logits = logits.detach().requires_grad_()
        with torch.enable_grad():
            value = log_density(logits, x)
            return value.detach(), torch.autograd.grad(value.sum(), logits)[0]

    graph = trace(both, [logits, x])
    assert logarithms(graph) == 1
    before = graph(logits, x)
    take_quicker_logistic_terms(graph)
    graph.recompile()
    assert logarithms(graph) == 0
    exact = log_density(logits.double(), x.double())
    after = graph(logits, x)
    assert float((after[0].double() - exact).abs().sub(EPS * exact.abs()).max()) < 2 * EPS
    # The errors of many terms are not biased.
    near = (logits.abs() < 8) & (logits != 0)
    assert abs(float((after[0].double() - exact)[near].mean())) < 1e-3 / 784 / 10
    for one, other in zip(before[1:], after[1:], strict=True):
        assert torch.equal(one, other)


def test_double_precision_keeps_its_logarithms() -> None:
    graph = trace(log_density, [torch.randn(5).double(), torch.rand(5).double()])
    take_quicker_logistic_terms(graph)
    assert logarithms(graph) == 1
