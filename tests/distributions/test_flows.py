"""Laws of flows: a bijection with its Jacobian, a density, and equal densities of draws."""

import copy
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn
from torch.autograd.functional import jacobian

from ppvae.distributions.flows import Autoregressive
from ppvae.errors import InputError
from tests.support.slow import few

CASES = list(product(("spline", "affine"), (False, True), (0, 3)))
every = pytest.mark.parametrize(("kind", "inverse", "context"), CASES)


def made(
    kind: Any,
    inverse: bool = False,
    context: int = 0,
    features: int = 2,
    noise: float = 0.3,
    **own: Any,
) -> Autoregressive:
    """A small flow in double precision, with random weights instead of the initial ones."""
    torch.manual_seed(0)
    size: dict[str, Any] = {"transforms": 2, "hidden": (6,)} | own
    flow = Autoregressive(features, context, kind, inverse=inverse, **size).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return flow


def told(context: int, *lead: int, seed: int = 1) -> Tensor | None:
    """The context of a conditional flow, else None."""
    generator = torch.Generator().manual_seed(seed)
    size = (*lead, context)
    return torch.randn(size, generator=generator, dtype=torch.float64) if context else None


def points(*shape: int, seed: int = 2) -> Tensor:
    """Values within, at the ends of, and outside of the interval of the splines."""
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(shape, generator=generator, dtype=torch.float64)


@every
@pytest.mark.parametrize("features", few([1, 2], 3))
def test_the_density_integrates_to_one_and_is_that_of_the_draws(
    kind: str, inverse: bool, context: int, features: int
) -> None:
    # Nearly straight: a sum over a grid misses the kinks of a strongly bent spline.
    fn = made(kind, inverse, context, features, noise=0.15)(told(context))
    assert (fn.batch_shape, fn.event_shape) == ((), (features,))
    axis = torch.linspace(-12, 12, 4001 if features == 1 else 251, dtype=torch.float64)
    z = torch.cartesian_prod(*[axis] * features).reshape(-1, features)
    with torch.no_grad():
        mass = fn.log_prob(z).exp() * float(axis[1] - axis[0]) ** features
        assert float(mass.sum()) == pytest.approx(1.0, abs=1e-3)
        draws = fn.sample((20_000,))
    for height in (torch.tanh, torch.square, lambda z: z.prod(-1, keepdim=True)):
        want, found = (mass.unsqueeze(-1) * height(z)).sum(0), height(draws)
        error = found.std(0) / math.sqrt(len(found))
        assert bool(((found.mean(0) - want).abs() < 5 * error + 1e-3).all())


@every
@pytest.mark.parametrize("features", [1, 4])
def test_there_and_back_with_the_determinant_of_autograds_jacobian(
    kind: str, inverse: bool, context: int, features: int
) -> None:
    flow = made(kind, inverse, context, features)
    transform, z = flow(told(context, 9)).transform, points(9, features)
    there, log_det = transform.call_and_ladj(z)
    back, opposite = transform.inv.call_and_ladj(there)
    torch.testing.assert_close(back, z)
    torch.testing.assert_close(opposite, -log_det)
    assert there.shape == z.shape
    assert log_det.shape == (9,)
    assert not torch.isclose(there, z).all(-1).any()
    for at, way, want in ((z, transform, log_det), (there, transform.inv, opposite)):
        matrices = jacobian(lambda t, way=way: way(t).sum(0), at).transpose(0, 1)
        torch.testing.assert_close(torch.linalg.slogdet(matrices).logabsdet, want)


@every
def test_a_number_is_bent_by_those_before_it_and_the_next_layer_turns_them_round(
    kind: str, inverse: bool, context: int
) -> None:
    def reads(transforms: int) -> Tensor:
        """Which numbers of z each number of f(z) depends on."""
        flow = made(kind, inverse, context, features=4, transforms=transforms)
        transform = flow(told(context, 20)).transform
        matrices = jacobian(lambda z: transform(z).sum(0), points(20, 4)).transpose(0, 1)
        reaches: Tensor = (matrices.abs() > 1e-9).any(0)
        return reaches

    everything = torch.ones(4, 4, dtype=torch.bool)
    assert torch.equal(reads(1), everything.tril())
    assert torch.equal(reads(2), everything)


@every
@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("transforms", [1, 3])
def test_untrained_it_is_its_base(
    kind: Any, inverse: bool, context: int, features: int, transforms: int
) -> None:
    flow = Autoregressive(features, context, kind, transforms, (6,), inverse).double()
    y, z = told(context, 9), points(9, features)
    base: Any = dist.Laplace(torch.ones(features).double(), 2.0).to_event(1)
    torch.testing.assert_close(flow(y, base).log_prob(z), base.log_prob(z))
    normal = torch.from_numpy(stats.norm.logpdf(z.numpy()).sum(1))
    torch.testing.assert_close(flow(y).log_prob(z), normal)
    torch.testing.assert_close(flow(y).transform(z), z)
    # It can leave its start: the last weights of every layer have a gradient.
    slopes = torch.autograd.grad(
        flow(y).log_prob(z).sum(), list(flow.parameters()), allow_unused=True
    )
    assert sum(bool(slope is not None and slope.any()) for slope in slopes) >= transforms


# Affine flows by hand


def line(network: Any, inputs: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Shift and log-scale, ``(rows, 2)`` each, of a masked network with one hidden layer.

    Log-scales are drawn in between log 1e-3 and log 1e3.
    """
    first, last = (layer for layer in network if isinstance(layer, nn.Linear))
    seen = [
        layer.get_buffer("mask").numpy() * layer.weight.detach().numpy() for layer in (first, last)
    ]
    hidden = inputs @ seen[0].T + first.bias.detach().numpy()
    hidden = hidden / (1 + np.exp(-hidden))
    out = (hidden @ seen[1].T + last.bias.detach().numpy()).reshape(len(inputs), 2, 2)
    shift, raw = out[..., 0], out[..., 1]
    return shift, raw / (1 + np.abs(raw / math.log(1e-3)))


@pytest.mark.parametrize("context", [0, 3])
def test_an_affine_flow_is_what_a_hand_computes(context: int) -> None:
    flow = made("affine", context=context)
    y, z = told(context, 7), points(7, 2)
    beside = np.zeros((7, 0)) if y is None else y.numpy()
    u, log_det = z.numpy(), np.zeros(7)
    layers: Any = flow.transform.get_submodule("transforms")
    for layer, (one, two) in zip(layers, ((0, 1), (1, 0)), strict=True):
        # The transformation of z_1 depends on nothing, that of z_2 on z_1.
        nothing = np.concatenate([np.full((7, 2), 7.7), beside], 1)
        shift, log_scale = line(layer.hyper, nothing)
        shift_one, log_one = shift[:, one], log_scale[:, one]
        given = nothing.copy()
        given[:, one] = u[:, one]
        shift, log_scale = line(layer.hyper, given)
        bent = np.empty_like(u)
        bent[:, one] = np.exp(log_one) * u[:, one] + shift_one
        bent[:, two] = np.exp(log_scale[:, two]) * u[:, two] + shift[:, two]
        assert np.ptp(shift[:, two]) > 0.01
        u, log_det = bent, log_det + log_one + log_scale[:, two]
    want = stats.norm.logpdf(u).sum(1) + log_det
    np.testing.assert_allclose(flow(y).log_prob(z).detach().numpy(), want, rtol=1e-9)
    # The same map in the other direction.
    turned = copy.deepcopy(flow)
    turned.inverse = True
    torch.testing.assert_close(turned(y).transform(torch.from_numpy(u)), z)
    backwards = stats.norm.logpdf(z.numpy()).sum(1) - log_det
    found = turned(y).log_prob(torch.from_numpy(u)).detach().numpy()
    np.testing.assert_allclose(found, backwards, rtol=1e-9)


def test_one_number_alone_is_scaled_and_shifted_by_parameters() -> None:
    flow = made("affine", features=1, transforms=1)
    log_scale, shift = (float(flow.transform.state_dict()[f"transforms.0.phi.{i}"]) for i in (1, 0))
    log_scale /= 1 - abs(log_scale) / math.log(1e-3)
    z = points(9, 1)
    # u = exp(log_scale) z + shift is standard normal.
    want = stats.norm.logpdf(z.numpy(), -shift / math.exp(log_scale), math.exp(-log_scale)).sum(1)
    np.testing.assert_allclose(flow().log_prob(z).detach().numpy(), want, rtol=1e-9)


def test_splines_bend_nothing_beyond_five() -> None:
    z = torch.tensor([[6.0, -7.0], [-5.0, 5.0], [-40.0, 5.5]], dtype=torch.float64)
    for inverse in (False, True):
        transform = made("spline", inverse)().transform
        torch.testing.assert_close(transform(z), z)
        inside = points(500, 2).clamp(-5, 5)
        assert bool((transform(inside).abs() <= 5 + 1e-12).all())


# Draws


@contextmanager
def passes(flow: Autoregressive) -> Iterator[list[str]]:
    """Count the passes through the networks of a flow."""
    seen: list[str] = []
    networks = {n: m for n, m in flow.named_modules() if n.endswith("hyper")}
    handles = [
        network.register_forward_hook(lambda *_, name=name: seen.append(name))
        for name, network in networks.items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@every
def test_a_draw_is_scored_in_the_pass_that_made_it_as_any_other_value(
    kind: str, inverse: bool, context: int
) -> None:
    flow = made(kind, inverse, context, features=4)
    y = told(context, 6)
    fn = flow(y)
    with passes(flow) as seen:
        z = fn.rsample((5,))
        drawing = len(seen)
        known = fn.log_prob(z)
        assert len(seen) == drawing
        anew = fn.log_prob(z.clone())
        scoring = len(seen) - drawing
    # For two layers: one pass each in the fast direction; in the slow one a pass per number,
    # and one more for the derivative.
    assert (scoring if not inverse else drawing) == 2
    assert (drawing if not inverse else scoring) == 2 * (4 + 1)
    assert z.shape == (5, 6, 4) if context else (5, 4)
    assert known.shape == z.shape[:-1]
    torch.testing.assert_close(known, anew)
    # So is the gradient, through the draw and by the parameters.
    weights = list(flow.parameters())
    slopes = [torch.autograd.grad(t.sum(), weights, retain_graph=True) for t in (known, anew)]
    torch.testing.assert_close(*slopes)
    assert all(bool(slope.any()) for slope in slopes[0][-2:])


@every
def test_only_the_very_draw_is_known(kind: str, inverse: bool, context: int) -> None:
    flow = made(kind, inverse, context)
    fn = flow(told(context))
    first, second = fn.rsample(), fn.rsample()
    torch.testing.assert_close(fn.log_prob(first), fn.log_prob(first.clone()))
    torch.testing.assert_close(fn.log_prob(second), fn.log_prob(second.clone()))
    with torch.no_grad():
        free = fn.sample()
        free += 1.0  # changed in place
        torch.testing.assert_close(fn.log_prob(free), fn.log_prob(free.clone()))
        free = fn.sample()
    assert fn.log_prob(free).requires_grad  # the score of a draw that was made without a gradient
    parameters = list(flow.parameters())
    slopes = torch.autograd.grad(fn.log_prob(free), parameters)
    torch.testing.assert_close(slopes, torch.autograd.grad(fn.log_prob(free.clone()), parameters))
    with torch.inference_mode():
        held = fn.sample()
        torch.testing.assert_close(fn.log_prob(held), fn.log_prob(held.clone()))
        held += 1.0
        torch.testing.assert_close(fn.log_prob(held), fn.log_prob(held.clone()))


@every
def test_the_gradient_of_the_density_is_that_of_finite_differences(
    kind: str, inverse: bool, context: int
) -> None:
    flow = made(kind, inverse, context, hidden=(4,))
    names = [name for name, _ in flow.named_parameters()]

    def density(z: Tensor, *rest: Tensor) -> Tensor:
        y, values = (rest[0], rest[1:]) if context else (None, rest)
        fn = torch.func.functional_call(flow, dict(zip(names, values, strict=True)), (y,))
        log_prob: Tensor = fn.log_prob(z)
        return log_prob

    y, z = told(context, 5), points(5, 2).requires_grad_()
    given = [] if y is None else [y.requires_grad_()]
    assert torch.autograd.gradcheck(density, (z, *given, *flow.parameters()), fast_mode=True)


# Shapes and types


@every
def test_batches_of_context_and_base_are_broadcast(kind: str, inverse: bool, context: int) -> None:
    flow = made(kind, inverse, context)
    loc = points(4, 1, 2)
    base: Any = dist.Normal(loc, 0.5).to_event(1)
    y, z = told(context, 3), points(5, 4, 3, 2)
    fn = flow(y, base) if context else flow(None, base.expand((4, 3)))
    assert (fn.batch_shape, fn.event_shape) == ((4, 3), (2,))
    assert fn.rsample((5,)).shape == (5, 4, 3, 2)
    log_prob = fn.log_prob(z)
    assert log_prob.shape == (5, 4, 3)
    for i, j in product(range(4), range(3)):
        one = flow(None if y is None else y[j], dist.Normal(loc[i, 0], 0.5).to_event(1))
        torch.testing.assert_close(log_prob[:, i, j], one.log_prob(z[:, i, j]))
    wide = fn.expand((2, 4, 3))
    assert wide.rsample().shape == (2, 4, 3, 2)
    torch.testing.assert_close(wide.log_prob(z[:2]), log_prob[:2])
    if y is not None:  # another context gives another density
        assert not torch.isclose(flow(y.roll(1, 0), base).log_prob(z), log_prob).any()


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_computes_in_the_type_of_its_weights(
    kind: str, inverse: bool, context: int, dtype: torch.dtype
) -> None:
    flow = made(kind, inverse, context, features=3)
    y, z = told(context, 9), points(9, 3)
    exact = flow(y).log_prob(z)
    fn = flow.to(dtype)(None if y is None else y.to(dtype))
    assert fn.rsample().dtype == fn.log_prob(fn.rsample()).dtype == dtype
    found = fn.log_prob(z.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


@every
def test_saved_and_loaded_it_is_the_same(kind: str, inverse: bool, context: int) -> None:
    one, other = made(kind, inverse, context), made(kind, inverse, context, noise=0.5)
    y, z = told(context, 9), points(9, 2)
    assert not torch.isclose(one(y).log_prob(z), other(y).log_prob(z)).all()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert torch.equal(one(y).log_prob(z), other(y).log_prob(z))
    assert {"loc", "scale"}.isdisjoint(one.state_dict())


@every
def test_nothing_is_infinite_whatever_its_networks_say(
    kind: str, inverse: bool, context: int
) -> None:
    # Affine maps are unbounded: larger weights would overflow single precision.
    size = {"spline": 100.0, "affine": 3.0}[kind]
    flow = made(kind, inverse, context, features=3, noise=size).float()
    y = told(context, 50)
    fn = flow(None if y is None else y.float())
    z = fn.rsample()
    for value in (z, 0 * z.detach(), points(50, 3).float()):
        log_prob = fn.log_prob(value)
        slopes = torch.autograd.grad(log_prob.sum(), list(flow.parameters()), retain_graph=True)
        assert all(bool(t.isfinite().all()) for t in (z, log_prob, *slopes))


SENTENCES: dict[str, Callable[[], Any]] = {
    "kind is 'cubic'; a flow is 'spline' or 'affine'":
        lambda: Autoregressive(2, kind="cubic"),  # type: ignore[arg-type]  # to be refused
    "features is 0, transforms 3 and context 0; a flow needs at least 1, 1 and 0":
        lambda: Autoregressive(0),
    "features is 2, transforms 0 and context 0": lambda: Autoregressive(2, transforms=0),
    "features is 2, transforms 3 and context -1": lambda: Autoregressive(2, context=-1),
    "hidden is [4, 0]; each layer needs a width of at least 1":
        lambda: Autoregressive(2, hidden=(4, 0)),
    "the flow is made for a context of 3 numbers and is given none; make it with context=0, or "
    "call it with 3": lambda: Autoregressive(2, context=3)(),
    "the flow is made for a context of 0 numbers and is given 4; make it with context=4, or call "
    "it with none": lambda: Autoregressive(2)(torch.zeros(5, 4)),
    "the flow is made for a context of 3 numbers and is given 4; make it with context=4, or call "
    "it with 3": lambda: Autoregressive(2, context=3)(torch.zeros(5, 4)),
}  # fmt: skip


@pytest.mark.parametrize("sentence", SENTENCES)
def test_what_makes_no_flow_is_refused(sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        SENTENCES[sentence]()


def test_a_value_of_another_length_and_no_number_are_refused() -> None:
    fn = made("spline")()
    for value in (torch.zeros(3).double(), torch.full((2,), math.nan).double()):
        with pytest.raises(ValueError, match=r"value|match"):
            fn.log_prob(value)
