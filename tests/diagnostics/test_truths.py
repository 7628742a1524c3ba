"""Facts of the audit are true: bounds compared with exact values of log p(x)."""

from math import isfinite, log
from pathlib import Path
from typing import Any, override

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoDiagonalNormal, AutoMultivariateNormal, AutoNormal
from pyro.nn import PyroModule
from torch import Tensor, nn

from ppvae.bounds.objective import Bound
from ppvae.data import from_arrays
from ppvae.diagnostics import embed, log_evidence, subject
from ppvae.encode import encode
from ppvae.errors import InputError
from tests.support.fits import quick, small
from tests.support.toys import Guide, Model, rows, toy

__all__ = ["quick"]  # a fixture, used by every test here

X = torch.tensor(toy(60))
PARTS: dict[str, Any] = {"likelihood": ..., "decoder": ..., "encoder": ..., "epochs": 1}


class Mapped(Guide):
    """z as a Delta of an auxiliary draw: by the identity, or by 2 u with its density."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            q = self.posterior(x)
            q = dist.Normal(q.mean / self.factor, q.stddev / self.factor).to_event(1)
            u = pyro.sample("u", q, infer={"is_auxiliary": True})
            density = torch.full((len(x),), -2 * log(self.factor))
            pyro.sample("z", dist.Delta(self.factor * u, density, event_dim=1))


@pytest.mark.parametrize("factor", [1.0, 2.0])
@pytest.mark.parametrize("elbo", [TraceMeanField_ELBO, Trace_ELBO])
def test_a_delta_of_an_auxiliary_draw_has_its_density(factor: float, elbo: Any) -> None:
    torch.manual_seed(0)
    model, guide, plain = Model(), Mapped(factor), Guide()
    plain.load_state_dict(guide.state_dict())
    mapped, direct = (subject(model, g, X, elbo=elbo) for g in (guide, plain))
    assert mapped[1].is_bound
    assert mapped[1].mapped == ("z",)
    assert mapped[1].notes == ()
    one, other = (log_evidence(*pair, samples=4000) for pair in (mapped, direct))
    error = (one.elbo - other.elbo).std() / len(X) ** 0.5 + other.elbo.abs().mean() * 0.01
    assert abs(one.elbo.mean() - other.elbo.mean()) < 4 * error
    bounds = []
    for pair, facts, split in (mapped, direct):
        bound = Bound(pair, elbo, facts, 2000)
        torch.manual_seed(0)  # the same draws, u for the one and z for the other
        with torch.no_grad():
            bounds.append(bound(next(iter(split.chunks(60)))).elbo / 60)
    by_draws = elbo is Trace_ELBO  # the other takes the KL of the plain guide in closed form
    assert float(bounds[0]) == pytest.approx(float(bounds[1]), rel=1e-4 if by_draws else 0.03)
    codes = [embed(pair, facts, split) for pair, facts, split in (mapped, direct)]
    assert torch.allclose(codes[0].scale["z"], codes[1].scale["z"], rtol=0.5)


class Point(Guide):
    """A point mass."""

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(self.posterior(x).mean, event_dim=1))


def test_a_point_mass_stays_one() -> None:
    _, facts, _ = subject(Model(), Point(), X)
    assert not facts.is_bound
    assert not facts.has_evidence


class Noisy(Guide):
    """Draws unused noise."""

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            noise = dist.Normal(torch.zeros(3), 2.0).to_event(1)
            pyro.sample("noise", noise, infer={"is_auxiliary": True})
            pyro.sample("z", self.posterior(x))


class Wider(Guide):
    """Uses three draws for two latents."""

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            fn = dist.Normal(torch.zeros(3), 2.0).to_event(1)
            u = pyro.sample("noise", fn, infer={"is_auxiliary": True})
            q = self.posterior(x)
            pyro.sample("z", dist.Delta(q.mean + u[..., :2] * u[..., 2:], event_dim=1))


class Conditional(Guide):
    """Draws z given noise, which needs a bound with a reverse model of the noise."""

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            fn = dist.Normal(torch.zeros(2), 2.0).to_event(1)
            u = pyro.sample("noise", fn, infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(self.posterior(x).mean + u, 1.0).to_event(1))


@pytest.mark.parametrize("guide", [Noisy, Wider, Conditional])
def test_noise_that_adds_its_entropy_is_no_bound_and_said_to_be_none(guide: Any) -> None:
    _, facts, _ = subject(Model(), guide(), X)
    (note,) = facts.notes
    assert "'noise' of the guide is auxiliary" in note
    assert "no bound" in note


class Renamed(Guide):
    """Has another name for its latent."""

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("code", self.posterior(x))


def test_no_refusal_advises_to_call_a_latent_auxiliary() -> None:
    with pytest.raises(InputError, match=r"'code'.*a Delta of it$"):
        subject(Model(), Renamed(), X)


class Mixture(PyroModule):
    """p(x) as a mixture of normals, by k or by k and a normal z, summed out in the model."""

    def __init__(self, prior: bool) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(1)
        self.loc = nn.Parameter(torch.randn(3, 4, generator=g))
        self.logits = nn.Parameter(torch.tensor([0.0, 0.5, 1.0]))
        self.prior = prior

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            probs = dist.Categorical(logits=self.logits)
            if self.prior:  # p(z) is a mixture, and p(x | z) does not depend on k
                k = pyro.sample("k", probs, infer={"enumerate": "parallel"})
                z = pyro.sample("z", dist.Normal(self.loc[k], 1.0).to_event(1))
                pyro.sample("x", dist.Normal(z, 0.7).to_event(1), obs=x)
            else:
                z = pyro.sample("z", dist.Normal(torch.zeros(4), 1.0).to_event(1))
                k = pyro.sample("k", probs, infer={"enumerate": "parallel"})
                pyro.sample("x", dist.Normal(self.loc[k] + z, 0.7).to_event(1), obs=x)

    def log_p(self, x: Tensor) -> Tensor:
        """log p(x) of both forms, in closed form."""
        each: Tensor = dist.Normal(self.loc, (1 + 0.7**2) ** 0.5).to_event(1).log_prob(x[:, None])
        return (each + self.logits.log_softmax(-1)).logsumexp(-1)


class Encoder(PyroModule):
    """q(z | x), of four dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 8)

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc, log_scale = self.net(x).split(4, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.tanh().exp()).to_event(1))


@pytest.mark.parametrize("prior", [False, True], ids=["likelihood", "prior"])
def test_a_class_that_the_model_sums_over_is_inferred(prior: bool) -> None:
    model, guide = Mixture(prior), Encoder()
    pair, facts, split = subject(model, guide, X, elbo=TraceEnum_ELBO)
    assert facts.summed == ("k",)
    assert facts.latents == ("z",)
    batch = next(iter(split.chunks(60)))
    bound = Bound(pair, TraceEnum_ELBO, facts, 500)
    torch.manual_seed(0)
    terms = bound(batch)
    # By hand: E_q[log p(x, z) - log q(z | x)], the class summed in each draw.
    loc, log_scale = guide.net(X).split(4, -1)
    q = dist.Normal(loc, log_scale.tanh().exp()).to_event(1)
    z = q.rsample((4000,))
    weights = model.logits.log_softmax(-1)
    if prior:
        log_prior = dist.Normal(model.loc, 1.0).to_event(1).log_prob(z[..., None, :]) + weights
        log_prior = log_prior.logsumexp(-1)
        log_likelihood = dist.Normal(z, 0.7).to_event(1).log_prob(X)
    else:
        log_prior = dist.Normal(torch.zeros(4), 1.0).to_event(1).log_prob(z)
        means = model.loc + z[..., None, :]
        log_likelihood = dist.Normal(means, 0.7).to_event(1).log_prob(X[:, None]) + weights
        log_likelihood = log_likelihood.logsumexp(-1)
    assert float(terms.reconstruction.detach()) / 60 == pytest.approx(
        float(log_likelihood.detach().mean()), rel=0.02
    )
    kl = float((q.log_prob(z) - log_prior).detach().mean())
    assert float(terms.kl.detach()) / 60 == pytest.approx(kl, rel=0.03, abs=0.02)
    assert torch.allclose(terms.elbo, terms.reconstruction - terms.kl, rtol=1e-5)
    assert float(terms.elbo.detach()) / 60 < float(model.log_p(X).detach().mean())
    torch.manual_seed(0)
    half = bound(batch, 0.5)
    assert torch.allclose(half.objective, half.reconstruction - 0.5 * half.kl, rtol=1e-5)
    torch.autograd.grad(half.objective, list(pair.parameters()))
    with pytest.raises(InputError, match="sums over 'k'"):
        log_evidence(pair, facts, split, samples=10)


@pytest.mark.slow
def test_the_sum_in_the_model_climbs_to_the_exact_evidence(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Mixture(prior=True)
    run = small(
        tmp_path, data=from_arrays(toy(200)), model=model, guide=Encoder(), elbo="TraceEnum_ELBO",
        **PARTS | {"epochs": 60, "lr": 1e-2},
    )  # fmt: skip
    assert any("sums over 'k'" in note for note in run.audit.notes)
    exact = float(model.log_p(run.example()["x"]).detach().mean())
    bound = (run.history()[-2])["elbo"]
    assert exact - 1.0 < bound < exact + 0.3
    summary = run.summary or {}
    assert summary["log_p"] is None
    assert "log_p" not in encode(run, from_arrays(toy(200)).test)


def test_other_bounds_are_told_of_the_sum() -> None:
    with pytest.raises(InputError, match="'k' of the model asks to be enumerated"):
        subject(Mixture(prior=True), Encoder(), X)


class Shared(Model):
    """Has a latent that all data share."""

    size: int | None = None

    def plate(self, x: Tensor) -> Any:
        """The plate of the data."""
        if self.size is None:
            return pyro.plate("data", len(x))
        return pyro.plate("data", self.size, subsample=torch.arange(len(x)))

    @override
    def forward(self, x: Tensor) -> None:
        shift = pyro.sample("shift", dist.Normal(0.0, 1.0).expand([4]).to_event(1))
        with self.plate(x):
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(self.net(z) + shift, 0.5).to_event(1), obs=x)


class SharedGuide(Guide):
    """Infers it."""

    def __init__(self, model: Shared) -> None:
        super().__init__()
        self.plate = model.plate
        self.loc, self.log_scale = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))

    @override
    def forward(self, x: Tensor) -> None:
        pyro.sample("shift", dist.Normal(self.loc, self.log_scale.exp()).to_event(1))
        with self.plate(x):
            pyro.sample("z", self.posterior(x))


def test_a_latent_of_all_data_counts_once_or_it_is_said(tmp_path: Path) -> None:
    model = Shared()
    _, facts, _ = subject(model, SharedGuide(model), X)
    (note,) = (note for note in facts.notes if "'shift'" in note)
    assert "once per batch" in note
    assert "pyro.plate('data', N, subsample=torch.arange(len(x)))" in note
    model.size, kls = 72, []
    for rows_at_once in (9, 36):
        torch.manual_seed(0)
        run = small(
            tmp_path, str(rows_at_once), data=rows(), model=model, guide=SharedGuide(model),
            batch_size=rows_at_once, lr=1e-12, **PARTS,
        )  # fmt: skip
        assert not any("'shift'" in note for note in run.audit.notes)
        kls.append((run.history()[0])["kl"])
    assert kls[0] == pytest.approx(kls[1], rel=1e-4)


def _scaled(kind: type[Any]) -> Any:
    class Scaled(kind):  # type: ignore[misc]  # a base that is given
        @override
        def forward(self, x: Tensor) -> None:
            with poutine.scale(scale=1 / 72):
                super().forward(x)

    return Scaled()


def test_programs_with_scales_of_their_own_finish_without_log_p(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small(tmp_path, data=rows(), model=_scaled(Model), guide=_scaled(Guide), **PARTS)
    said = " ".join(capsys.readouterr().out.split())
    assert said.index("is scaled by 0.0138889") < said.index("writing to")
    summary = run.summary or {}
    assert summary["log_p"] is None
    assert isfinite(summary["elbo"])
    assert "log_p" not in encode(run, rows().test)


class Named(Model):
    """Names its latent like labels."""

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("y", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(self.net(z), 0.5).to_event(1), obs=x)


class NamedGuide(Guide):
    """Infers it."""

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("y", self.posterior(x))


def test_a_latent_called_y_that_is_no_class_is_not_classified(tmp_path: Path) -> None:
    labelled = from_arrays(toy(90), y=torch.arange(90) % 3)
    run = small(tmp_path, data=labelled, model=Named(), guide=NamedGuide(), **PARTS)
    assert (run.summary or {})["classification"] is None


class Rate(PyroModule):
    """Has bounded latents that all data share."""

    @override
    def forward(self, x: Tensor) -> None:
        scale = pyro.sample("scale", dist.Gamma(2.0, 2.0))
        share = pyro.sample("share", dist.Dirichlet(torch.ones(4)))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(share, 0.1 + scale[..., None]).to_event(1), obs=x)


@pytest.mark.parametrize("kind", [AutoNormal, AutoMultivariateNormal, AutoDiagonalNormal])
def test_a_guide_of_pyros_has_the_bound_that_pyro_gives_it(kind: Any) -> None:
    model = Rate()
    guide = kind(model, init_scale=0.3)
    found = []
    for elbo in (TraceMeanField_ELBO, Trace_ELBO):
        pair, facts, split = subject(model, guide, X, elbo=elbo)
        assert facts.is_bound
        assert set(facts.mapped) == {"scale", "share"}
        assert not any("auxiliary" in note for note in facts.notes)
        torch.manual_seed(0)
        bound = Bound(pair, elbo, facts, 1000)
        with torch.no_grad():
            found.append(float(bound(next(iter(split.chunks(60)))).elbo))
    torch.manual_seed(0)
    pyros = Trace_ELBO(1000, vectorize_particles=True, max_plate_nesting=1)
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert found[0] == pytest.approx(-float(pyros.loss(model, guide, X)), rel=1e-4)
