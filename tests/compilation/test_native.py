"""Laws of graph passes: the changed graph computes the same."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule

import ppvae.compilation.native
import ppvae.compilation.products
from ppvae.compilation.graphs import give_unwidened, trace
from ppvae.compilation.native import Replayed, compiled, is_all_on


def passed(graph: GraphModule, monkeypatch: pytest.MonkeyPatch, *, of_intel: bool = False) -> Any:
    """The graph after the passes, uncompiled."""
    monkeypatch.setattr(ppvae.compilation.products, "_LARGE", 1)
    monkeypatch.setattr(ppvae.compilation.products, "is_of_intel", lambda: of_intel)
    monkeypatch.setattr(ppvae.compilation.native, "compile_natively", lambda graph, *_, **__: graph)
    return compiled(graph)


def targets(graph: GraphModule) -> list[str]:
    return [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]


def products(x: Tensor, w: Tensor, b: Tensor) -> list[Tensor]:
    return [
        torch.nn.functional.linear(x, w, b),
        x @ w.t(),
        x.t() @ x,
        x[:, ::2] @ w[:, ::2].t(),
        x[:1].expand(5, -1) @ w.t(),
        torch.addmm(b, x, w.t(), beta=0.5, alpha=2.0),
        torch.addmm(x @ w.t(), x, w.t()),
        x.double() @ w.double().t(),
    ]


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_products_of_another_library_are_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [torch.randn(6, 8), torch.randn(4, 8), torch.randn(4)]
    graph = trace(products, tensors)
    run = passed(graph, monkeypatch)
    for want, got in zip(products(*tensors), run(*tensors), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    assert targets(graph).count("ppvae.linear.default") == 6
    # Products with a transposed left factor, with other weights, or of another type stay.
    assert sum("mm.default" in target for target in targets(graph)) == 3


def test_intels_processors_keep_the_products_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = trace(products, [torch.randn(6, 8), torch.randn(4, 8), torch.randn(4)])
    passed(graph, monkeypatch, of_intel=True)
    assert "ppvae.linear.default" not in targets(graph)


def test_the_bias_of_a_bfloat16_product_is_added_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def function(x: Tensor, w: Tensor, b: Tensor) -> list[Tensor]:
        rows = b.expand(len(x), -1)
        return [torch.addmm(b, x, w.t()), torch.addmm(rows, x, w.t()), torch.addmm(b, x, w, beta=2)]

    # Whole numbers, whose products and sums have no rounding error.
    tensors = [torch.randint(-2, 3, shape).bfloat16() for shape in ((6, 6), (6, 6), (6,))]
    run = passed(graph := trace(function, tensors), monkeypatch)
    for want, got in zip(function(*tensors), run(*tensors), strict=True):
        assert torch.equal(got, want)
    assert targets(graph).count("aten.mm.default") == 2
    assert targets(graph).count("aten.addmm.default") == 1  # scaled, it stays


def test_what_is_widened_to_be_given_is_given_as_it_is() -> None:
    def function(x: Tensor) -> list[Tensor]:
        narrow = x.bfloat16()
        return [narrow.float(), narrow.float() + 1, x.long().float()]

    graph = trace(function, [x := torch.randn(4)])
    give_unwidened(graph)
    copied, *others = graph(x)
    assert copied.dtype == torch.bfloat16
    for want, got in zip(function(x), (copied.float(), *others), strict=True):
        assert torch.equal(got, want)
        assert got.dtype == want.dtype


def test_scalars_are_held_before_the_loops_and_noise_stays_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def function(step: Tensor, rate: Tensor, x: Tensor) -> list[Tensor]:
        noise = torch.randn_like(x)
        step += 1
        coin = torch.bernoulli(torch.sigmoid(rate))
        corrected = rate / (1 - 0.9**step)
        x -= corrected * (x + noise * coin)
        return [x * step.double()]

    def fresh() -> list[Tensor]:
        return [torch.tensor(1.0), torch.tensor(0.1), torch.ones(5)]

    run = passed(graph := trace(function, fresh()), monkeypatch)
    assert targets(graph).count("_inductor_test.realize.default") >= 1
    for seed in range(6):
        one, other = fresh(), fresh()
        torch.manual_seed(seed)
        want = function(*one)
        torch.manual_seed(seed)
        got = run(*other)
        torch.testing.assert_close(got, want)
        torch.testing.assert_close(other, one)


def test_a_graph_with_a_number_on_another_device_is_not_all_on_one() -> None:
    graph = trace(lambda x: x * torch.randn(()), [torch.ones(3)])
    assert is_all_on(graph, "cpu")
    assert not is_all_on(graph, "cuda")


@pytest.mark.gpu
def test_a_replay_draws_anew_and_moves_what_it_keeps() -> None:
    def function(total: Tensor, x: Tensor) -> list[Tensor]:
        total += x.sum() + torch.randn((), device="cuda")
        return []

    total = torch.zeros((), device="cuda")
    run = Replayed(compiled(trace(function, [total, torch.ones(4, device="cuda")])), 1)
    seen = []
    for i in range(12):
        before = float(total)
        run(total, torch.full((4,), float(i), device="cuda"))
        seen.append(float(total) - before - 4 * i)
    assert len({round(value, 5) for value in seen}) == 12
    assert all(abs(value) < 6 for value in seen)
