"""A graph in two parts: nodes that depend on fixed inputs only are computed once."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from ppvae.compilation import captured, hoisting
from ppvae.compilation.captured import Captured
from ppvae.compilation.graphs import Function, trace
from ppvae.compilation.hoisting import Hoisted


def targets(graph: GraphModule) -> list[str]:
    """The operations of a graph."""
    return [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]


def kept_in(parts: list[GraphModule]) -> Callable[[GraphModule], Function]:
    """A compiler that compiles nothing and records the graphs."""

    def keep(graph: GraphModule) -> Function:
        parts.append(graph)
        return graph

    return keep


def draws(weight: Tensor, x: Tensor, scale: Tensor) -> Tensor:
    """An encoder of x, draws, and a decoder."""
    loc = torch.tanh(x @ weight)
    z = loc + scale * torch.randn(50, *loc.shape)
    return ((z @ weight.T - x).square() + (1 + x).log()).sum(-1)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    given = torch.Generator().manual_seed(0)
    return torch.randn(4, 2, generator=given), torch.rand(3, 4, generator=given), torch.tensor(0.5)


def test_what_fixed_inputs_decide_is_computed_once() -> None:
    parts: list[GraphModule] = []
    weight, x, scale = inputs()
    hoisted = Hoisted(trace(draws, [weight, x, scale]), 2, kept_in(parts))
    (each_time,) = parts
    assert targets(each_time).count("aten.mm.default") == 1  # the decoder's, of two
    assert "aten.tanh.default" not in targets(each_time)
    assert "aten.log.default" not in targets(each_time)
    calls: list[int] = []
    hoisted._once.register_forward_pre_hook(lambda *_: calls.append(1))

    def same() -> bool:
        torch.manual_seed(1)
        found = hoisted(weight, x, scale)
        torch.manual_seed(1)
        return torch.equal(found, draws(weight, x, scale))

    assert same()
    scale = scale + 1  # it varies
    assert same()
    assert len(calls) == 1
    x = x.clone()  # another tensor
    assert same()
    weight.mul_(2)  # the same, and changed
    assert same()
    assert len(calls) == 3


def test_inference_tensors_are_followed_though_they_count_no_changes() -> None:
    with torch.inference_mode():
        weight, x, scale = inputs()
        hoisted = Hoisted(trace(draws, [weight, x, scale]), 2, kept_in([]))
        for _ in range(2):
            torch.manual_seed(1)
            found = hoisted(weight, x, scale)
            torch.manual_seed(1)
            assert torch.equal(found, draws(weight, x, scale))
            weight.mul_(2)


def test_what_is_spread_over_draws_is_not_kept() -> None:
    """It would need memory for all draws in each batch."""

    def spread(x: Tensor, noise: Tensor) -> Tensor:
        return (x.expand(50, 3, 4).exp() * noise).sum()

    parts: list[GraphModule] = []
    Hoisted(trace(spread, [torch.rand(3, 4), torch.rand(50, 3, 4)]), 1, kept_in(parts))
    assert "aten.exp.default" in targets(parts[0])


class Sums(nn.Module):
    """With a frozen network, and with one that counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2).requires_grad_(False)
        self.calls = nn.Buffer(torch.zeros(()))
        self.counts = False

    def forward(self, batch: dict[str, Tensor], number: Tensor) -> Tensor:
        if self.counts:
            self.calls.add_(1)
        total: Tensor = self.layer(batch["x"]).sum() * number + self.calls
        return total


@pytest.mark.parametrize("counts", [False, True])
def test_a_module_that_changes_its_buffers_is_not_taken_apart(
    counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    plain = hoisting.Hoisted

    def counted(*args: Any) -> Any:
        made.append(args[1])
        return plain(*args)

    monkeypatch.setattr(captured, "Hoisted", counted)
    one, other = Sums(), Sums()
    other.load_state_dict(one.state_dict())
    one.counts = other.counts = counts
    graph = Captured(one, compile=False, check=0, fixed=1)
    batch = {"x": torch.rand(3, 4)}
    with torch.no_grad():
        for i in range(4):
            number = torch.tensor(float(i))
            torch.testing.assert_close(graph(batch, number), other(batch, number))
    assert not graph.reason
    # Weight, bias, buffer and x stay the same; the number does not.
    assert made == ([] if counts else [4])
