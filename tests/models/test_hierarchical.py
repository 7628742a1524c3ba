"""The hierarchical model: its density by layers, and its part in fits."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from scipy import stats
from torch import Tensor, nn

from ppvae import load
from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.data import load as load_data
from ppvae.encode import encode
from ppvae.errors import InputError
from ppvae.guides import Ladder
from ppvae.models import Bernoulli, Gaussian, HierarchicalVAE, StandardNormal
from ppvae.networks import MLP
from ppvae.programs import Pair
from ppvae.programs.generation import reconstruct
from tests.support.fits import quick, small, weights
from tests.support.hierarchies import GUIDES, ROWS, data, guide_of, model_of, nodes
from tests.support.pca import AFFINE

__all__ = ["quick"]  # a fixture: no pictures


def test_the_density_is_the_sum_over_layers() -> None:
    model = model_of((4, 3, 2)).double()
    x = data()["x"].double()
    torch.manual_seed(0)
    z = {f"z{i}": torch.randn(ROWS, w, dtype=torch.float64) for i, w in ((1, 4), (2, 3), (3, 2))}
    got = sum(node["log_prob"] for node in nodes(poutine.condition(model, z), x).values())

    def normal(value: Tensor, network: nn.Module, above: Tensor) -> Any:
        loc, log_scale = (v.numpy() for v in network(above).detach().unbind(-2))
        scale = np.exp(10 * np.tanh(log_scale / 10))
        return stats.norm.logpdf(value.numpy(), loc, scale).sum(-1)

    want = stats.norm.logpdf(z["z3"].numpy()).sum(-1)
    want += normal(z["z2"], model.between[1], z["z3"])
    want += normal(z["z1"], model.between[0], z["z2"])
    mean = model.decoder(z["z1"]).detach()[:, 0].numpy()
    want += stats.norm.logpdf(x.numpy(), mean).sum(-1)
    assert isinstance(got, Tensor)
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-12)


@pytest.mark.parametrize("widths", [(3, 2), (4, 3, 2)])
def test_with_skips_x_is_decoded_from_all_layers_and_nothing_else_changes(
    widths: tuple[int, ...],
) -> None:
    plain, model = model_of(widths), model_of(widths, skips=True)
    x = data()["x"]
    z = {f"z{i}": torch.randn(ROWS, width) for i, width in enumerate(widths, start=1)}
    found, without = (nodes(poutine.condition(m, z), x) for m in (model, plain))
    mean = model.decoder(torch.cat(list(z.values()), -1))[:, 0]
    torch.testing.assert_close(found["x"]["log_prob"], dist.Normal(mean, 1.0).log_prob(x).sum(-1))
    model.between.load_state_dict(plain.between.state_dict())
    found = nodes(poutine.condition(model, z), x)
    for name in z:
        torch.testing.assert_close(found[name]["log_prob"], without[name]["log_prob"])
    for guide in GUIDES:
        pair = Pair(model, guide_of(guide, model), data())
        torch.manual_seed(0)
        loss = Trace_ELBO().differentiable_loss(pair.call_model, pair.call_guide, **data())
        (slope,) = torch.autograd.grad(loss, next(model.decoder.parameters()))
        assert bool(slope.abs().sum(0).gt(0).all())  # every layer has a gradient


def test_by_default_each_layer_is_twice_as_wide_as_that_above() -> None:
    def widths(top: int, **more: Any) -> tuple[int, ...]:
        return HierarchicalVAE(
            StandardNormal(top), Gaussian((2,), variance=1.0), AFFINE, **more
        ).widths

    assert widths(50) == (100, 50)
    assert widths(4, layers=5) == (64, 32, 16, 8, 4)
    assert widths(2, widths=[7, 5, 2]) == widths(2, widths=[7, 5, 2], layers=3) == (7, 5, 2)


def test_missing_entries_are_left_out_whatever_stands_there() -> None:
    model = model_of()
    x = data()["x"]
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    z = {"z2": torch.randn(ROWS, 2), "z1": torch.randn(ROWS, 3)}
    held = poutine.condition(model, z)
    got = nodes(held, x, mask=mask)["x"]["log_prob"]
    elsewhere = torch.where(mask, x, torch.full_like(x, 1e4))
    torch.testing.assert_close(nodes(held, elsewhere, mask=mask)["x"]["log_prob"], got)
    mean = model.decoder(z["z1"])[:, 0]
    terms = dist.Normal(mean, 1.0).log_prob(x)
    torch.testing.assert_close(got, (terms * mask).sum(-1))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"layers": 0}, "`model.layers` is 0; HierarchicalVAE has at least 2 layers"),
        ({"layers": 1, "widths": (2,)}, "`model.layers` is 1; .* for one take `model='VAE'`"),
        ({"widths": (2,)}, r"`model.widths` is \[2\]; HierarchicalVAE has at least 2 layers"),
        ({"layers": 3, "widths": (4, 2)}, r"`model.widths` is \[4, 2\] and `model.layers` is 3"),
        ({"widths": (4, 3)}, "the last layer, has 2 dimensions; give `latent_dim=3`"),
        ({"widths": (0, 2)}, r"`model.widths` is \[0, 2\]; each layer needs a width of at least 1"),
    ],
)
def test_layers_and_widths_that_make_no_sense_are_refused(
    more: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        HierarchicalVAE(StandardNormal(2), Gaussian((3,), variance=1.0), AFFINE, **more)


# Together with the rest of the package


@pytest.mark.slow
def test_a_fit_by_name_is_found_again_on_disk(tmp_path: Path) -> None:
    run = small(
        tmp_path,
        model={"class_path": "HierarchicalVAE", "init_args": {"widths": "3,2", "hidden": "8"}},
        guide={"class_path": "Ladder", "init_args": {"features": 5}},
    )
    assert run.config["model"]["init_args"]["widths"] == [3, 2]
    assert not any("_model" in name for name in weights(run.path))
    again = load(run.path)
    x = torch.zeros(4, 3)
    for one, other in zip(run.guide(x), again.guide(x), strict=True):
        assert one.shape == other.shape
    for name, value in run.pair.state_dict().items():
        assert torch.equal(value, again.pair.state_dict()[name])
    model: Any = again.model
    assert model.widths == (3, 2)
    found = encode(again, samples=3)
    rows = len(found["log_p"])
    assert (found["loc_z1"].shape, found["scale_z2"].shape) == ((rows, 3), (rows, 2))
    mean, drawn = reconstruct(again.pair, again.audit, {"x": x})
    assert mean.shape == drawn.shape == x.shape


@pytest.mark.slow
def test_a_short_fit_beats_the_independent_marginal_of_binarized_digits() -> None:
    digits = load_data("digits", binarize="static")
    train, test = (
        split.take(torch.arange(len(split)))["x"] for split in (digits.train, digits.test)
    )
    shape = tuple(train.shape[1:])
    torch.manual_seed(0)
    model = HierarchicalVAE(
        StandardNormal(4), Bernoulli(shape), partial(MLP, hidden=(64,)), hidden=(32,)
    )
    pair = Pair(
        model,
        Ladder(model, shape, partial(MLP, hidden=(64,)), features=32, hidden=(32,)),
        {"x": train},
    )
    bound = Bound(pair, TraceMeanField_ELBO, audit(pair, TraceMeanField_ELBO, {"x": train[:9]}))
    optimizer = torch.optim.Adam(pair.parameters(), lr=1e-2)
    for epoch in range(14):
        for rows in torch.randperm(len(train)).split(128):
            optimizer.zero_grad()
            (-bound({"x": train[rows]}, min(1.0, epoch / 7)).objective / len(rows)).backward()
            optimizer.step()
    with torch.no_grad():
        elbo = np.mean([float(bound({"x": test}).objective) / len(test) for _ in range(10)])
    mean = (train.sum(0) + 1) / (len(train) + 2)
    marginal = float(dist.Bernoulli(probs=mean).log_prob(test).sum((1, 2, 3)).mean())
    assert elbo > marginal + 1
