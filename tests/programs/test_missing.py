"""Missing entries: they change no figure, and what is imputed is what the model knows of them."""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch import Tensor, nn

from ppvae.bounds import ELBOS
from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.data import as_split
from ppvae.diagnose import diagnose
from ppvae.diagnostics import decompose, log_evidence, subject
from ppvae.diagnostics.bound.terms import bits_per_dim
from ppvae.errors import InputError
from ppvae.guides import (
    Delta,
    ExactPosterior,
    MeanField,
    SemiAmortized,
    SemiSupervised,
    TopDown,
)
from ppvae.models import (
    VAE,
    Bernoulli,
    Binomial,
    ConditionalVAE,
    Gaussian,
    HierarchicalVAE,
    Likelihood,
    LinearGaussian,
    SemiSupervisedVAE,
    StandardNormal,
    likelihoods,
    observe,
)
from ppvae.networks import MLP
from ppvae.programs import Pair, imputation, named_arguments
from ppvae.programs.imputation import Imputation, impute
from ppvae.run import Run
from ppvae.sample import main, sample
from tests.support.columns import likelihood_of
from tests.support.fits import quick, small
from tests.support.pca import AFFINE
from tests.support.refusals import refusal

__all__ = ["quick"]  # a fixture: fits without pictures

ROWS, COLUMNS, CLASSES = 6, 4, 3
SIGMAS = 5.0
CURVED = partial(MLP, hidden=(5,), activation="tanh")
LABELS = torch.tensor([0, 1, 2, 0, -1, -1])

Batch = dict[str, Tensor]
Programs = tuple[Any, Any, Batch]


def data(is_binary: bool) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, COLUMNS, generator=generator)
    return (x > 0).double() if is_binary else (2 * x).double()


def holes() -> Tensor:
    """Where x was observed: nowhere in the first row, everywhere in the second.

    In the other rows never in the last column.
    """
    mask = torch.rand(ROWS, COLUMNS, generator=torch.Generator().manual_seed(2)) < 0.6
    mask[:, -1] = False
    mask[0], mask[1] = False, True
    return mask


def vae() -> Programs:
    model = VAE(StandardNormal(1), Bernoulli((COLUMNS,)), CURVED)
    return model, MeanField(1, (COLUMNS,), CURVED), {"x": data(True)}


def refined() -> Programs:
    model, _, batch = vae()
    return model, SemiAmortized(1, (COLUMNS,), model, CURVED), batch


def hierarchical() -> Programs:
    likelihood = Gaussian((COLUMNS,), variance="learned")
    model = HierarchicalVAE(
        StandardNormal(1), likelihood, CURVED, widths=(1, 1), hidden=(5,), activation="tanh"
    )
    guide = TopDown(model, (COLUMNS,), CURVED, features=5, hidden=(5,), activation="tanh")
    return model, guide, {"x": data(False)}


def conditional() -> Programs:
    model = ConditionalVAE(StandardNormal(1), Binomial((COLUMNS,), 7), CURVED, CLASSES)
    guide = MeanField(1, (COLUMNS,), CURVED, CLASSES)
    return model, guide, {"x": 5 * data(True) + 1, "y": LABELS.clamp(min=0)}


def semi_supervised() -> Programs:
    model = SemiSupervisedVAE(StandardNormal(1), Bernoulli((COLUMNS,)), CURVED, CLASSES)
    return model, SemiSupervised(1, (COLUMNS,), CURVED, CLASSES), {"x": data(True), "y": LABELS}


def linear(mean_field: bool = False) -> Programs:
    model = LinearGaussian(1, (COLUMNS,))
    guide = MeanField(1, (COLUMNS,), AFFINE) if mean_field else ExactPosterior(model)
    return model, guide, {"x": data(False)}


PROGRAMS: dict[str, Callable[[], Programs]] = {
    "VAE": vae,
    "VAE, refined": refined,
    "HierarchicalVAE": hierarchical,
    "ConditionalVAE": conditional,
    "SemiSupervisedVAE": semi_supervised,
    "LinearGaussian": linear,
    "LinearGaussian, mean field": partial(linear, True),
}
every_program = pytest.mark.parametrize("name", PROGRAMS)
BOUNDS = [
    (name, elbo)
    for name in PROGRAMS
    for elbo in ELBOS
    if (elbo is TraceEnum_ELBO) == (name == "SemiSupervisedVAE")
]
every_bound = pytest.mark.parametrize(
    ("name", "elbo"), BOUNDS, ids=[f"{name}-{elbo.__name__}" for name, elbo in BOUNDS]
)


class ShownZeros(nn.Module):
    """A guide that is shown zeros where nothing was observed, as a split gives them."""

    def __init__(self, guide: nn.Module) -> None:
        super().__init__()
        self.guide = guide

    def forward(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Any:
        extras = {"y": y, "mask": mask}
        named = {name: extras[name] for name in named_arguments(self.guide) & extras.keys()}
        return self.guide(x if mask is None else x.where(mask, 0), **named)


def programs(name: str) -> Programs:
    """Two programs in float64, no weight of which is 0, and a batch without a mask."""
    torch.manual_seed(0)
    model, guide, batch = PROGRAMS[name]()
    model.double(), guide.double()
    with torch.no_grad():
        for parameter in [*model.parameters(), *guide.parameters()]:
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model, guide, batch


def climbed(bound: Bound, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
    """All terms of a bound, and the gradient of what is climbed, by the same draws each time."""
    weights = list(bound.pair.parameters())
    torch.manual_seed(0)
    terms = bound(batch, 0.7)
    slopes = torch.autograd.grad(
        terms.objective, weights, allow_unused=True, materialize_grads=True
    )
    return torch.stack(tuple(terms)).detach(), slopes


# What stands at missing entries


@every_bound
def test_what_stands_at_missing_entries_changes_nothing(name: str, elbo: Any) -> None:
    model, guide, batch = programs(name)
    mask = holes()
    # The exact posterior looks at no missing entry of its own accord.
    shown = guide if isinstance(guide, ExactPosterior) else ShownZeros(guide)
    pair = Pair(model, shown, batch | {"mask": mask})
    bound = Bound(pair, elbo, audit(pair, elbo, batch | {"mask": mask}), particles=2)
    found = [
        climbed(bound, batch | {"x": torch.where(mask, batch["x"], filler), "mask": mask})
        for filler in (0.0, 123.4, torch.nan)
    ]
    terms, slopes = found[0]
    assert bool(terms.isfinite().all())
    assert any(bool((slope != 0).any()) for slope in slopes)
    for other_terms, other_slopes in found[1:]:
        torch.testing.assert_close(other_terms, terms, rtol=0, atol=0)
        torch.testing.assert_close(other_slopes, slopes, rtol=0, atol=0)
    whole, _ = climbed(bound, batch | {"mask": torch.ones_like(mask)})
    assert bool((whole[:3] != terms[:3]).all())  # so that a mask is no idle word


@every_bound
def test_a_mask_that_hides_nothing_changes_nothing(name: str, elbo: Any) -> None:
    model, guide, batch = programs(name)
    whole = batch | {"mask": torch.ones(ROWS, COLUMNS, dtype=torch.bool)}
    pair = Pair(model, guide, whole)
    bound = Bound(pair, elbo, audit(pair, elbo, whole), particles=2)
    torch.testing.assert_close(climbed(bound, whole), climbed(bound, batch))


@every_program
def test_a_column_that_is_never_observed_teaches_nothing(name: str) -> None:
    model, guide, batch = programs(name)
    mask = holes()
    mask[:, -1] = False
    elbo = TraceEnum_ELBO if name == "SemiSupervisedVAE" else Trace_ELBO
    pair = Pair(model, guide, batch | {"mask": mask})
    bound = Bound(pair, elbo, audit(pair, elbo, batch | {"mask": mask}))
    bound(batch | {"mask": mask}).objective.backward()
    if name.startswith("LinearGaussian"):
        said = model.loc.grad
    else:
        *_, last = model.decoder.parameters()
        said = last.grad
    assert bool((said[:-1] != 0).all())
    assert float(said[-1]) == 0


def on_a_grid(name: str) -> dict[str, Tensor]:
    """log p(x_observed), and mean and variance of each entry given what was observed: sums over z.

    Without the programs' own masks: every element's log p(x | z) is summed by hand.
    """
    model, _, batch = programs(name)
    mask, step = holes(), 0.05 if name == "HierarchicalVAE" else 0.01
    axis = torch.arange(-6, 6, step, dtype=torch.float64)
    points: dict[str, Tensor] = {"z": axis}
    log_cell = math.log(step)
    if name == "HierarchicalVAE":
        z1, z2 = torch.cartesian_prod(2 * axis, axis).unbind(-1)
        points, log_cell = {"z1": z1, "z2": z2}, 2 * math.log(step) + math.log(2)
    if name == "SemiSupervisedVAE":
        z = torch.cartesian_prod(torch.arange(CLASSES).double(), axis)
        points = {"y": z[:, 0].long(), "z": z[:, 1]}
    count = len(next(iter(points.values())))
    held = {
        site: value[:, None].expand(-1, ROWS) if site == "y" else value[:, None, None]
        for site, value in points.items()
    }
    held = {s: v if s == "y" else v.expand(-1, ROWS, 1) for s, v in held.items()}
    with torch.no_grad(), pyro.plate("points", count, dim=-2):
        trace: Any = poutine.trace(poutine.condition(model, held)).get_trace(**batch)
    fn = trace.nodes["x"]["fn"].base_dist
    log_joint = (fn.log_prob(batch["x"]) * mask).sum(-1)
    for site in points:
        log_joint = log_joint + trace.nodes[site]["fn"].log_prob(held[site])
    if name == "SemiSupervisedVAE":
        known = (LABELS < 0) | (held["y"] == LABELS)
        log_joint = log_joint.where(known, -math.inf)
    weight = log_joint.softmax(0)[..., None]
    mean = (weight * fn.mean).sum(0)
    square = (weight * (fn.variance + fn.mean.square())).sum(0)
    return {
        "log_p": log_joint.logsumexp(0) + log_cell,
        "mean": mean,
        "scale": (square - mean.square()).sqrt(),
    }


def asked(name: str) -> tuple[Any, Any, Any]:
    """What a diagnostic is asked of: programs, the guide wide enough to be a proposal; and data."""
    model, guide, batch = programs(name)
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.mul_(0.2)
    if name == "HierarchicalVAE":  # nothing narrower than the prior is wide enough
        guide = poutine.block(model, hide=["x"])
    elbo = TraceEnum_ELBO if name == "SemiSupervisedVAE" else Trace_ELBO
    mask = holes()
    x = torch.where(mask, batch["x"], torch.nan)
    return subject(model, guide, x, batch.get("y"), mask, elbo=elbo)


@every_program
def test_the_evidence_is_that_of_what_was_observed(name: str) -> None:
    found, want = log_evidence(*asked(name), samples=4000), on_a_grid(name)["log_p"]
    off = (found.log_p - want).abs()
    assert bool((off <= SIGMAS * found.error + 1e-4).all())
    assert float(found.error.max()) < 0.15
    if name != "SemiSupervisedVAE":
        assert float(want[0]) == pytest.approx(0, abs=1e-6)  # nothing has the probability 1


# Imputation


@pytest.mark.slow
@every_program
def test_what_is_imputed_is_the_conditional_mean_with_its_spread(name: str) -> None:
    want, mask = on_a_grid(name), holes()
    found = impute(*asked(name), samples=4000, draws=200)
    off = (found.x - want["mean"]).abs()
    assert bool((off <= SIGMAS * found.error + 1e-4)[~mask].all())
    torch.testing.assert_close(
        found.scale.double()[~mask], want["scale"][~mask], rtol=0.1, atol=1e-3
    )
    error = found.draws.double().std(0) / math.sqrt(200)
    off = (found.draws.double().mean(0) - want["mean"]).abs()
    assert bool((off <= SIGMAS * error + 1e-4)[~mask].all())
    x = programs(name)[2]["x"].float()
    for kept in (found.x, *found.draws):
        assert torch.equal(kept[mask], x[mask])
    assert torch.equal(found.mask, mask)
    for nothing in (found.scale, found.error):
        assert bool((nothing[mask] == 0).all())
        assert bool((nothing[~mask] > 0).all())
    assert found.ess.isnan().tolist() == [False, True, False, False, False, False]


def pca_case(rows: int = 5, latent_dim: int = 2) -> tuple[LinearGaussian, Tensor, Tensor, Any]:
    torch.manual_seed(0)
    model = LinearGaussian(latent_dim, (COLUMNS,), noise=0.4).double()
    with torch.no_grad():
        model.loc.normal_()
    x = 2 * torch.randn(rows, COLUMNS).double()
    mask = torch.rand(rows, COLUMNS) < 0.5
    mask[0] = False
    holed = torch.where(mask, x, torch.nan)
    return model, x, mask, subject(model, ExactPosterior(model), holed, mask=mask, elbo=Trace_ELBO)


def conditional_normal(model: LinearGaussian, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the missing entries given those seen, of N(mu, W W' + s^2 I)."""
    w, mu = model.weight.detach(), model.loc.detach()
    c = w @ w.mT + 0.4**2 * torch.eye(COLUMNS).double()
    gain = torch.linalg.solve(c[seen][:, seen], c[seen][:, ~seen]).mT
    loc = mu[~seen] + gain @ (x[seen] - mu[seen])
    return loc, c[~seen][:, ~seen] - gain @ c[seen][:, ~seen]


def test_by_the_exact_posterior_it_is_the_conditional_normal() -> None:
    model, x, mask, case = pca_case()
    found = impute(*case, samples=2000, draws=500)
    for i, seen in enumerate(mask):
        loc, covariance = conditional_normal(model, x[i].float().double(), seen)
        off = (found.x[i, ~seen] - loc).abs()
        assert bool((off <= SIGMAS * found.error[i, ~seen]).all())
        # All weights are equal: the error is the spread of E[x | z] over z, of 2000 draws.
        error = ((covariance.diagonal() - 0.4**2) / 2000).clamp(min=0).sqrt()
        torch.testing.assert_close(found.error[i, ~seen].double(), error, rtol=0.1, atol=1e-4)
        torch.testing.assert_close(
            found.scale[i, ~seen].double(), covariance.diagonal().sqrt(), rtol=0.05, atol=0
        )
        # Entries of a datum are drawn together; of 500 draws of 2000 some are the same.
        off = found.draws[:, i, ~seen].double() - loc
        products = off[:, :, None] * off[:, None]
        error = products.std(0) * math.sqrt(1 / 500 + 1 / 2000)
        assert bool(((products.mean(0) - covariance).abs() <= SIGMAS * error).all())
    holed = ~mask.all(1)
    torch.testing.assert_close(found.ess[holed], torch.full_like(found.ess[holed], 2000.0))


def test_the_error_is_the_scatter_over_seeds() -> None:
    _, _, mask, (pair, facts, rows) = pca_case()
    guide = MeanField(2, (COLUMNS,), AFFINE).double()
    torch.manual_seed(0)
    off = Pair(pair.program("model"), guide, rows.take(torch.arange(5)))
    found = [impute(off, facts, rows, samples=300, draws=0, seed=s) for s in range(60)]
    means = torch.stack([one.x[~mask] for one in found])
    stated = torch.stack([one.error[~mask] for one in found])
    trusted = torch.stack([one.ess[:, None].expand(-1, COLUMNS)[~mask] for one in found]) > 30
    both = trusted.all(0)
    assert int(both.sum()) >= 4
    ratio = means.var(0)[both] / stated.square().mean(0)[both]
    assert 0.6 < float(ratio.mean()) < 1.6


def test_draws_in_chunks_have_the_same_law(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, mask, case = pca_case()
    monkeypatch.setattr(imputation, "CHUNK", 7 * x.numel())
    found = impute(*case, samples=700, draws=400)
    torch.testing.assert_close(found.ess[~mask.all(1)].mean(), torch.tensor(700.0))
    for i, seen in enumerate(mask):
        loc, covariance = conditional_normal(model, x[i].float().double(), seen)
        assert bool(((found.x[i, ~seen] - loc).abs() <= SIGMAS * found.error[i, ~seen]).all())
        error = covariance.diagonal().sqrt() * (1 / 400 + 1 / 700) ** 0.5
        off = (found.draws[:, i, ~seen].mean(0) - loc).abs()
        assert bool((off <= SIGMAS * error).all())
        spread = found.draws[:, i, ~seen].double().std(0)
        torch.testing.assert_close(spread, covariance.diagonal().sqrt(), rtol=0.2, atol=0)


def test_it_is_a_function_of_the_seed_and_moves_nothing() -> None:
    *_, (pair, facts, rows) = pca_case(rows=9)
    state, heard = torch.get_rng_state(), list[int]()

    def again(**options: Any) -> Imputation:
        return impute(pair, facts, rows, samples=20, **options)

    one = again(batch_size=4, on_rows=heard.append)
    assert torch.equal(state, torch.get_rng_state())
    assert sum(heard) == 9
    assert pair.training
    assert all(p.grad is None and p.requires_grad for p in pair.parameters())
    torch.rand(3)
    for name in ("x", "scale", "error", "draws"):
        assert torch.equal(getattr(one, name), getattr(again(batch_size=4), name))
        assert not torch.equal(getattr(one, name), getattr(again(batch_size=4, seed=1), name))
    assert one.draws.shape == (5, 9, COLUMNS)
    assert again(draws=0).draws.shape == (0, 9, COLUMNS)


@pytest.mark.parametrize("unknown", ["mean", "variance"])
def test_for_moments_that_a_family_does_not_know_its_draws_stand_in(unknown: str) -> None:
    def refused(self: Any) -> Tensor:
        raise NotImplementedError

    family = type("Unknown", (dist.Laplace,), {unknown: property(refused)})

    def model(x: Tensor, mask: Tensor) -> None:
        shift = pyro.param("shift", torch.tensor(3.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            loc = (z + shift).expand(*z.shape[:-1], 2)
            pyro.sample("x", family(loc, 0.5).mask(mask).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))

    x, mask = torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.bool)
    found = impute(*subject(model, guide, x, mask=mask, elbo=Trace_ELBO), samples=4000)
    assert bool(((found.x - 3.0).abs() <= SIGMAS * found.error).all())
    scale = math.sqrt(1 + 2 * 0.5**2)
    torch.testing.assert_close(found.scale, torch.full((3, 2), scale), rtol=0.05, atol=0)
    # The mean of x given z scatters less than x does, and is taken where it is known.
    noise = scale if unknown == "mean" else 1.0
    torch.testing.assert_close(
        found.error, torch.full((3, 2), noise / math.sqrt(4000)), rtol=0.05, atol=0
    )


FAMILIES = [name for name in likelihoods.__all__ if name != "Likelihood"]


@pytest.mark.parametrize("name", FAMILIES)
def test_one_draw_of_z_has_the_spread_that_its_family_has(name: str) -> None:
    """With all weight on one z the scale is that of x given z, and no draw of x is needed."""
    likelihood = likelihood_of(name, (2,))
    h = torch.randn(likelihood.decoder_shape, generator=torch.Generator().manual_seed(0))

    def model(x: Tensor, mask: Tensor) -> None:
        shift = pyro.param("shift", torch.tensor(0.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            observe(x, likelihood(h + shift + 0 * z[..., None]), mask)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))

    x, mask = torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.bool)
    found = impute(*subject(model, guide, x, mask=mask, elbo=Trace_ELBO), samples=1)
    elements = likelihood(h).base_dist
    torch.testing.assert_close(found.x, elements.mean.detach().expand(3, 2))
    torch.testing.assert_close(found.scale, elements.variance.sqrt().detach().expand(3, 2))


def test_what_cannot_be_imputed_is_refused() -> None:
    model, x, mask, (pair, facts, rows) = pca_case()

    def refused(*case: Any, **options: Any) -> str:
        with pytest.raises(InputError) as caught:
            impute(*case, **options)
        return str(caught.value)

    for complete in (as_split(x), as_split(x, mask=torch.ones_like(mask))):
        assert "no entry of the data is missing" in refused(pair, facts, complete)
    assert "samples is 0; it must be at least 1" in refused(pair, facts, rows, samples=0)
    assert "draws is -1; it must be at least 0" in refused(pair, facts, rows, draws=-1)
    point = Pair(model, Delta(2, (COLUMNS,)).double(), rows.take(torch.arange(5)))
    told = audit(point, Trace_ELBO, rows.take(torch.arange(5)))
    assert "point mass has no density" in refused(point, told, rows)

    def blind(x: Tensor) -> None:
        model(x)

    unmasked = Pair(blind, MeanField(2, (COLUMNS,), AFFINE).double(), {"x": x})
    told = audit(unmasked, Trace_ELBO, {"x": x})
    assert "the model does not name 'mask'" in refused(unmasked, told, rows)

    def halves(x: Tensor, mask: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
            for name, half in (("left", slice(0, 2)), ("right", slice(2, 4))):
                fn = dist.Normal(z, 1.0).mask(mask[:, half]).to_event(1)
                pyro.sample(name, fn, obs=x[:, half])

    case = subject(halves, MeanField(2, (COLUMNS,), AFFINE).double(), x, mask=mask)
    assert "no site of the model observes x itself" in refused(*case)


# Bits per dimension


def test_bits_are_per_observed_element() -> None:
    torch.manual_seed(0)
    model = LinearGaussian(2, (COLUMNS,)).double()
    x, mask = torch.randn(40, COLUMNS).double(), torch.rand(40, COLUMNS) < 0.5
    mask[0] = False
    case = subject(model, ExactPosterior(model), x, mask=mask, elbo=Trace_ELBO)
    found = decompose(*case, draws=2)
    assert found.elements == COLUMNS
    assert torch.equal(found.observed, mask.sum(1))
    log_p = model.evidence(x.float().double(), mask).detach()
    bits = found.bits_per_dim
    assert bits is not None
    assert bits.mean == pytest.approx(-float(log_p.sum() / mask.sum()) / math.log(2))
    # A column that nobody observed is as one that is not there.
    fewer, hidden = LinearGaussian(2, (COLUMNS - 1,)).double(), mask.clone()
    hidden[:, -1] = False
    with torch.no_grad():
        fewer.weight.copy_(model.weight[:-1])
        fewer.noise.load_state_dict(model.noise.state_dict())
    two = [
        decompose(*subject(m, ExactPosterior(m), a, mask=b, elbo=Trace_ELBO), draws=2).bits_per_dim
        for m, a, b in ((model, x, hidden), (fewer, x[:, :-1], mask[:, :-1]))
    ]
    assert two[0] is not None
    assert two[1] is not None
    assert two[0].mean == pytest.approx(two[1].mean)
    assert two[0].standard_error == pytest.approx(two[1].standard_error)


def test_the_error_of_bits_is_that_of_a_ratio() -> None:
    generator = torch.Generator().manual_seed(0)
    observed = torch.randint(1, 30, (400, 100), generator=generator).double()
    noise = torch.randn(400, 100, generator=generator).double()
    nats = -2.0 * observed + 3 * noise  # what is not said of one datum is not asked of it
    figures = [bits_per_dim(n, o) for n, o in zip(nats, observed, strict=True)]
    means = torch.tensor([each.mean for each in figures])
    errors = torch.tensor([each.standard_error for each in figures])
    assert float(means.mean()) == pytest.approx(2 / math.log(2), rel=5e-3)
    assert 0.8 < float(means.var() / errors.square().mean()) < 1.25
    naive = nats[0].std() / 10 / observed[0].mean() / math.log(2)
    assert float(naive) > 3 * figures[0].standard_error
    nothing = bits_per_dim(torch.zeros(3), torch.zeros(3))
    assert math.isnan(nothing.mean)
    assert math.isnan(nothing.standard_error)


# From the command line

Array = NDArray[Any]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the pixels of scikit-learn's digits, to learn from and held out; and the truth."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    x = load_digits().images[:, None] / 16
    mask = np.random.default_rng(0).random(x.shape) < 0.5
    holed = np.where(mask, x, np.nan)
    np.savez(folder / "learn.npz", x=holed[:1400], mask=mask[:1400])
    np.savez(folder / "held.npz", x=holed[1400:], mask=mask[1400:])
    np.savez(folder / "nowhere.npz", x=holed[1400:1420], mask=np.zeros_like(mask[1400:1420]))
    np.savez(folder / "narrow.npz", x=holed[1400:, :, :4], mask=mask[1400:, :, :4])
    np.save(folder / "truth.npy", x[1400:])
    np.save(folder / "nan.npy", holed[1400:])
    return folder


@pytest.fixture
def run(digits: Path, quick: None) -> Run:
    """A short fit to what is left of the digits; one for all tests."""
    if not (digits / "run").exists():
        small(
            digits, data=digits / "learn.npz", likelihood=None, decoder=None, encoder=None,
            model="LinearGaussian", guide="ExactPosterior", elbo="Trace_ELBO", latent_dim=15,
            epochs=12, batch_size=64, lr=2e-2, schedule="CosineAnnealingLR",
        )  # fmt: skip
    return Run(digits / "run")


@pytest.mark.slow
def test_half_of_the_digits_tell_more_of_the_other_half_than_the_mean_digit(
    digits: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "filled"
    main([str(run.path), "--impute", "--data", str(digits / "held.npz"), "--samples", "100",
          "--out", str(out)])  # fmt: skip
    assert sorted(path.name for path in out.iterdir()) == ["imputed.npz", "imputed.png"]
    with Image.open(out / "imputed.png") as image:
        image.verify()
    with np.load(out / "imputed.npz") as file:
        found = dict(file)
    assert {name: array.shape for name, array in found.items()} == {
        "x": (397, 1, 8, 8), "scale": (397, 1, 8, 8), "error": (397, 1, 8, 8),
        "draws": (5, 397, 1, 8, 8), "mask": (397, 1, 8, 8), "ess": (397,),
    }  # fmt: skip
    truth, hidden = np.load(digits / "truth.npy"), ~found["mask"]
    with np.load(digits / "learn.npz") as learned:
        mean = np.nanmean(learned["x"], 0)
    off = found["x"] - truth
    assert np.abs(off[~hidden]).max() < 1e-6
    assert np.square(off[hidden]).mean() < 0.6 * np.square((mean - truth)[hidden]).mean()
    # The scale is that of what is missed.
    assert 0.7 < np.sqrt(np.square(off[hidden] / found["scale"][hidden]).mean()) < 1.3
    said = " ".join(capsys.readouterr().out.split())
    assert f"{hidden.sum():,} missing entries are imputed, in {out}" in said
    assert "100 samples per datum have an effective sample size of 100" in said


def test_the_runs_own_data_are_imputed_by_default_and_a_file_is_not_overwritten(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    some: dict[str, Any] = {"impute": True, "samples": 5, "out": tmp_path}
    found = sample(run, **some)
    test = run.data().test.take(torch.arange(140))
    assert np.array_equal(found["mask"], test["mask"].numpy())
    assert np.array_equal(found["x"][found["mask"]], test["x"][test["mask"]].numpy())
    before = (tmp_path / "imputed.npz").read_bytes()
    with pytest.raises(InputError, match=r"imputed.npz exists already; .*`overwrite=True`"):
        sample(run, **some)
    assert (tmp_path / "imputed.npz").read_bytes() == before
    again = sample(run, overwrite=True, seed=1, **some)
    assert not np.array_equal(again["draws"], found["draws"])


def test_of_data_of_which_nothing_is_known_the_model_tells_what_all_are_like(
    digits: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    found = sample(
        run, impute=True, data=digits / "nowhere.npz", samples=2000, out=tmp_path / "out"
    )
    model: Any = run.model
    mean = model.loc.detach().numpy()
    variance = model.weight.detach().square().sum(1).view(1, 8, 8) + model.noise() ** 2
    assert (np.abs(found["x"] - mean) <= SIGMAS * found["error"] + 1e-6).all()
    np.testing.assert_allclose(found["scale"].mean(0), variance.detach().sqrt(), rtol=0.03)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--data", "{data}/narrow.npz"], "has shape (1, 4, 8), and the model was fitted on"),
        (["--data", "{data}/truth.npy"], "no entry of the data is missing, so that there is nothi"),
        (["--data", "{data}/nan.npy"], "holds NaN or an infinity in 397 of 397 rows"),
        (["--data", "{data}/no.npz"], "no.npz: there is no such file or folder"),
        (["--data", "{data}/held.npz", "--samples", "0"], "samples is 0; it must be at least 1"),
        (["--data", "{data}/held.npz", "--given", "3"], "--given 3 is for draws of new data"),
    ],
)
def test_a_mistake_is_a_sentence_and_leaves_nothing(
    digits: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    argv: list[str], sentence: str,
) -> None:  # fmt: skip
    capsys.readouterr()
    before = set(run.path.rglob("*"))
    flags = [word.format(data=digits) for word in argv]
    out = tmp_path / "out"
    assert sentence in refusal(main, capsys, run.path, "--impute", *flags, "--out", out)
    assert list(tmp_path.iterdir()) == []
    assert set(run.path.rglob("*")) == before


def test_a_run_of_complete_data_has_nothing_to_impute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quick: None
) -> None:
    run = small(tmp_path, epochs=1)
    capsys.readouterr()
    said = refusal(main, capsys, run.path, "--impute")
    assert "give data with a mask that is True where x was observed: an .npz of x and mask" in said
    assert not (run.path / "samples").exists()
    # But it can impute other data, which it knows as complete ones.
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(20, 3)), rng.random((20, 3)) < 0.5
    np.savez(tmp_path / "holed.npz", x=x, mask=mask)
    found = sample(run, impute=True, data=tmp_path / "holed.npz", samples=50)
    assert np.array_equal(found["mask"], mask)
    assert (found["scale"][~mask] > 0).all()


def test_a_fit_is_the_same_whatever_stands_at_missing_entries(tmp_path: Path, quick: None) -> None:
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(60, 3)), rng.random((60, 3)) < 0.6
    summaries = []
    for name, filler in (("nan", np.nan), ("number", 1e3), ("infinity", -np.inf)):
        np.savez(tmp_path / f"{name}.npz", x=np.where(mask, x, filler), mask=mask)
        run = small(tmp_path, out=name, data=tmp_path / f"{name}.npz")
        summary = json.loads((run.path / "summary.json").read_text())
        summaries.append({key: value for key, value in summary.items() if key != "seconds"})
        assert math.isfinite(summary["log_p"]["mean"])
    assert summaries[0] == summaries[1] == summaries[2]


def test_bits_of_a_fit_and_of_its_diagnosis_are_per_observed_element(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    rng = np.random.default_rng(0)
    x, mask = rng.integers(0, 256, (60, 1, 4, 4), dtype=np.uint8), rng.random((60, 1, 4, 4)) < 0.4
    np.savez(tmp_path / "grey.npz", x=x, mask=mask)
    run = small(tmp_path, data=tmp_path / "grey.npz", likelihood="DiscretizedLogistic", epochs=1)
    summary = json.loads((run.path / "summary.json").read_text())
    test = run.data().test
    count = int(test.take(torch.arange(len(test)))["mask"].sum())
    nats = len(test) * summary["log_p"]["mean"]
    assert summary["bits_per_dim"] == pytest.approx(-nats / count / math.log(2))
    assert summary["bits_per_dim"] == pytest.approx(8, abs=2)  # noise, of which nothing is learned
    diagnose(run, quick=True, only=["bound"], out=tmp_path / "diagnosis")
    record = json.loads((tmp_path / "diagnosis" / "diagnostics.json").read_text())
    bound = record["answers"]["bound"]
    nats = len(test) * bound["elbo"]["value"]
    assert bound["bits_per_dim"]["value"] == pytest.approx(-nats / count / math.log(2))


class Positive(Likelihood):
    """log-normal elements, to which 0 is no value; a split has zeros where nothing was observed."""

    support = dist.constraints.positive

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        fn: dist.TorchDistribution = dist.LogNormal(h[..., 0, :], 1.0).to_event(1)
        return fn


def test_missing_entries_need_not_have_a_probability(tmp_path: Path, quick: None) -> None:
    rng = np.random.default_rng(0)
    x, mask = 0.1 + 0.8 * rng.random((60, 3)), rng.random((60, 3)) < 0.6
    np.savez(tmp_path / "x.npz", x=x, mask=mask)
    run = small(tmp_path, data=tmp_path / "x.npz", likelihood=Positive, epochs=1)
    assert math.isfinite(json.loads((run.path / "summary.json").read_text())["log_p"]["mean"])
    x[3, 1], mask[3, 1] = 0, True
    np.savez(tmp_path / "x.npz", x=x, mask=mask)
    with pytest.raises(InputError, match="holds 0, and LogNormal"):
        small(tmp_path, out="other", data=tmp_path / "x.npz", likelihood=Positive, epochs=1)
