"""Autocast applies to networks only, in programs of any kind."""

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn

from ppvae.bounds import ELBOS
from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.guides import MeanField
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.programs import Pair


class Plain(nn.Module):
    """A program that is a module of torch's, not of Pyro's."""

    def __init__(self, is_model: bool) -> None:
        super().__init__()
        self.net = nn.Linear(2, 6) if is_model else nn.Linear(6, 2)
        self.is_model = is_model

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            if self.is_model:
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(self.net(z), 1.0).to_event(1), obs=x)
            else:
                pyro.sample("z", dist.Normal(self.net(x), 0.5).to_event(1))


class Methods(nn.Module):
    """Both programs as methods."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder, self.encoder = nn.Linear(2, 6), nn.Linear(6, 2)

    def model(self, x: Tensor) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 0.5).to_event(1))


def programs(kind: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    if kind == "ours":
        return VAE(StandardNormal(2), Gaussian((6,), variance="learned")), MeanField(2, (6,))
    if kind == "plain":
        return Plain(True), Plain(False)
    if kind == "methods":
        owner = Methods()
        return owner.model, owner.guide
    decoder, encoder = nn.Linear(2, 6), nn.Linear(6, 2)

    def model(x: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

    return model, guide


@pytest.mark.parametrize("kind", ["ours", "plain", "methods", "functions"])
@pytest.mark.parametrize("elbo", [elbo for elbo in ELBOS if elbo is not TraceEnum_ELBO])
def test_autocast_is_for_networks_alone(kind: str, elbo: type[Trace_ELBO]) -> None:
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
    pair = Pair(*programs(kind), {"x": x})
    bound = Bound(pair, elbo, audit(pair, elbo, {"x": x}))
    inside: list[torch.dtype] = []
    for layer in (m for m in pair.modules() if isinstance(m, nn.Linear)):
        layer.register_forward_hook(lambda _m, _i, out: inside.append(out.dtype), prepend=True)
    sampled: list[torch.dtype] = []

    class Watch(poutine.messenger.Messenger):
        def _pyro_post_sample(self, msg: Any) -> None:
            if msg["type"] == "sample" and msg["name"] in ("x", "z"):
                sampled.extend([msg["value"].dtype, msg["fn"].log_prob(msg["value"]).dtype])

    def value(is_mixed: bool) -> tuple[Tensor, list[Tensor]]:
        inside.clear()
        sampled.clear()
        pair.zero_grad()
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_mixed), Watch():
            objective = bound({"x": x}).objective
        objective.backward()
        assert set(inside) == {torch.bfloat16 if is_mixed else torch.float32}
        assert set(sampled) == {torch.float32}
        assert objective.dtype == torch.float32
        return objective.detach() / len(x), [
            p.grad.clone() for p in pair.parameters() if p.grad is not None
        ]

    exact, slopes = value(False)
    mixed, rough = value(True)
    assert exact != mixed
    # bfloat16 has 8 bits: each output of a network is off by 2^-9 of itself or so.
    assert abs(float(exact - mixed)) < 0.02 * abs(float(exact))
    for a, b in zip(slopes, rough, strict=True):
        assert float((a - b).norm()) < 0.05 * float(a.norm()) + 1e-3


def test_hooks_are_inert_without_autocast_and_without_a_bound() -> None:
    x = torch.randn(8, 6)
    model, guide = programs("ours")
    before = guide.encoder(x)
    pair = Pair(model, guide, {"x": x})
    Bound(pair, TraceMeanField_ELBO, audit(pair, TraceMeanField_ELBO, {"x": x}))
    assert torch.equal(guide.encoder(x), before)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert guide.encoder(x).dtype == torch.bfloat16  # as torch has it, outside a bound
