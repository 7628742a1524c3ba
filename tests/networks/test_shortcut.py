"""A shortcut: the network starts affine, and every weight learns."""

import pytest
import torch

from ppvae.networks import MLP


def test_a_network_with_a_shortcut_starts_affine_and_every_weight_learns() -> None:
    torch.manual_seed(0)
    network = MLP((2, 3), (4, 2), hidden=(16, 16), shortcut=True).double()
    x, y = torch.randn(2, 5, 2, 3, dtype=torch.float64)
    assert network(x[:, None]).shape == (5, 1, 4, 2)
    affine = (network(x) + network(y)) / 2
    torch.testing.assert_close(network((x + y) / 2), affine)
    assert network.affine is not None
    weight, bias = network.affine
    torch.testing.assert_close(network(x), (x.flatten(1) @ weight.T + bias).view(5, 4, 2))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    before = {name: each.detach().clone() for name, each in network.named_parameters()}
    for _ in range(3):
        optimizer.zero_grad()
        (network(x) - y.sin().sum(-1, keepdim=True).repeat(1, 2, 2)).square().sum().backward()
        optimizer.step()
    for name, each in network.named_parameters():
        assert not torch.equal(each, before[name]), name


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_a_network_without_a_shortcut_is_as_before(hidden: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    plain = MLP((3,), (2,), hidden)
    torch.manual_seed(0)
    with_one = MLP((3,), (2,), hidden, shortcut=True)
    assert plain.affine is None
    assert with_one.affine is not None
    names = {name for name, _ in plain.named_parameters()}
    extra = {name for name, _ in with_one.named_parameters()} - names
    assert extra == ({"shortcut.weight"} if hidden else set())
    firsts = [next(network.layers.parameters()) for network in (plain, with_one)]
    assert torch.equal(*firsts)
    x = torch.randn(4, 3)
    assert torch.equal(plain(x), plain.layers(x))
