"""A number and its gradient as a graph: equal to those of the function, with fewer calls."""

import pytest
import torch
from torch import Tensor, nn

from ppvae.compilation.gradient import Potential
from ppvae.compilation.guard import Unfaithful


class Quadratic(nn.Module):
    """|W z|^2 / 2, whose gradient is W' W z; it counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, 2.0], [0.0, 3.0]], dtype=torch.float64))
        self.calls = 0

    def __call__(self, z: Tensor) -> Tensor:
        self.calls += 1
        return (self.weight @ z).square().sum() / 2


def slope(potential: Potential, z: Tensor) -> tuple[Tensor, Tensor]:
    z = z.clone().requires_grad_()
    value = potential(z)
    return value.detach(), torch.autograd.grad(value, z)[0]


def test_number_and_gradient_are_the_functions_own_at_few_calls_of_it() -> None:
    module = Quadratic()
    potential = Potential(module, module)
    w = module.weight.detach()
    torch.manual_seed(0)
    for z in torch.randn(64, 2, dtype=torch.float64):
        value, gradient = slope(potential, z)
        torch.testing.assert_close(value, (w @ z).square().sum() / 2)
        torch.testing.assert_close(gradient, w.T @ w @ z)
    traces, checks = 2, 7  # the calls 1, 2, 4, ..., 64
    assert module.calls == traces + checks
    assert module.weight.grad is None
    assert module.weight.requires_grad


@pytest.mark.parametrize("changes", [True, False])
def test_what_has_no_graph_is_the_function_itself(changes: bool) -> None:
    """One branches on values; the other reads a Python number that changes."""
    scales = [1.0]

    def function(z: Tensor) -> Tensor:
        if changes:
            return scales[0] * z.sum()
        return z.sum() if z.sum() > 0 else 2 * z.sum()

    potential = Potential(function, nn.Module())
    z = torch.ones(2)
    assert float(slope(potential, z)[0]) == 2.0
    scales[0] = 3.0
    expected = 6.0 if changes else 2.0
    value, gradient = slope(potential, z)  # the second call is compared
    assert float(value) == expected
    torch.testing.assert_close(gradient, torch.full((2,), expected / 2))
    value, gradient = slope(potential, -z)
    assert float(value) == (-6.0 if changes else -4.0)
    torch.testing.assert_close(gradient, torch.full((2,), 3.0 if changes else 2.0))


def test_a_graph_that_was_wrong_unseen_is_no_silent_matter() -> None:
    """Its third call is not compared, so the result must be computed again."""
    scales = [1.0]
    potential = Potential(lambda z: scales[0] * z.sum(), nn.Module())
    z = torch.ones(2)
    assert [float(potential(z)) for _ in range(2)] == [2, 2]
    scales[0] = 1.001
    assert float(potential(z)) == 2
    with pytest.raises(Unfaithful, match="not the program's any more"):
        potential(z)
    assert float(potential(z)) == pytest.approx(2.002)  # the function itself


def test_infinite_densities_are_those_of_the_function() -> None:
    potential = Potential(lambda z: torch.where(z > 0, z, torch.inf).sum(), nn.Module())
    z = torch.tensor([-1.0])
    for _ in range(3):
        value, _ = slope(potential, z)
        assert float(value) == float("inf")
