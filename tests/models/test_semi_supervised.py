"""The semi-supervised pair: exact sums over classes, labels known or not in one batch, accuracy."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from torch import Tensor
from torch.distributions import Categorical, MultivariateNormal, Normal

from ppvae.bounds.audit import audit
from ppvae.bounds.enumeration import expectations
from ppvae.bounds.kl_weight import Weighed
from ppvae.bounds.objective import Bound
from ppvae.compilation.captured import Captured
from ppvae.data import Data, as_split, from_arrays, load
from ppvae.data.labels import hide
from ppvae.diagnostics import log_evidence, subject
from ppvae.errors import InputError
from ppvae.guides import MeanField, SemiSupervised
from ppvae.guides.scales import posterior_scale
from ppvae.models import Bernoulli, Gaussian, SemiSupervisedVAE, StandardNormal
from ppvae.networks import MLP
from ppvae.programs import Pair
from ppvae.programs.classification import classification, classify, has_classes
from ppvae.training.order import Order
from tests.support.fits import quick, small
from tests.support.pca import AFFINE, affine
from tests.support.slow import few

__all__ = ["quick"]  # a fixture

CLASSES, COLUMNS = 3, 4
LABELS = torch.tensor([0, -1, 2, -1, 1, -1])


def enumerated(particles: int = 1) -> TraceEnum_ELBO:
    return TraceEnum_ELBO(
        num_particles=particles, vectorize_particles=particles > 1, max_plate_nesting=1
    )


def data() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return 2 * torch.randn(len(LABELS), COLUMNS, generator=generator, dtype=torch.float64)


class Exact:
    """Programs in float64 whose guide is the posterior itself, and what is known of them.

    x given y is N(V y + b, w w' + I), so that p(y | x) is linear in x, and z given both is normal.
    """

    def __init__(self) -> None:
        torch.manual_seed(0)
        likelihood = Gaussian((COLUMNS,), variance=1.0)
        self.model = SemiSupervisedVAE(StandardNormal(1), likelihood, AFFINE, CLASSES).double()
        self.guide = SemiSupervised(1, (COLUMNS,), AFFINE, CLASSES).double().eval()
        layer = affine(self.model.decoder)
        w, v, b = layer.weight.detach()[:, 0], layer.weight.detach()[:, 1:], layer.bias.detach()
        covariance = torch.outer(w, w) + torch.eye(COLUMNS, dtype=torch.float64)
        self.given_y = MultivariateNormal((v.T + b)[:, None], covariance)
        variance = 1 / (1 + w @ w)
        code, head = affine(self.guide.latent.encoder), affine(self.guide.classifier)
        means = self.given_y.mean[:, 0]
        slopes = torch.linalg.solve(covariance, means.T).T
        with torch.no_grad():
            code.weight[0].copy_(variance * torch.cat([w, -w @ v]))
            code.weight[1].zero_()
            code.bias.copy_(torch.stack([-variance * w @ b, 10 * (variance.log() / 20).atanh()]))
            head.weight.copy_(slopes)
            head.bias.copy_(-(slopes * means).sum(1) / 2)

    def log_joint(self, x: Tensor) -> Tensor:
        """log p(x, y) of every class: (data, classes)."""
        log_p: Tensor = self.given_y.log_prob(x).T - math.log(CLASSES)
        return log_p

    def log_p(self, x: Tensor, y: Tensor) -> Tensor:
        """log p(x, y) where y is known, and log p(x) elsewhere."""
        joint = self.log_joint(x)
        known = joint.gather(1, y.clamp(min=0)[:, None])[:, 0]
        return torch.where(y < 0, joint.logsumexp(1), known)


@pytest.mark.parametrize("particles", [1, 3])
def test_with_the_posterior_as_guide_the_bound_is_log_p_with_and_without_labels(
    particles: int,
) -> None:
    exact, x = Exact(), data()
    want = -float(exact.log_p(x, LABELS).sum())
    for seed in range(3):  # whatever is drawn
        torch.manual_seed(seed)
        loss = enumerated(particles).loss(exact.model, exact.guide, x, y=LABELS)
        assert loss == pytest.approx(want, rel=1e-10)
    unlabelled = enumerated(particles).loss(exact.model, exact.guide, x)
    none = torch.full_like(LABELS, -1)
    assert unlabelled == pytest.approx(-float(exact.log_p(x, none).sum()), rel=1e-10)


def test_with_another_q_of_y_the_bound_is_the_sum_over_classes_without_noise() -> None:
    exact, x = Exact(), data()
    with torch.no_grad():
        affine(exact.guide.classifier).bias.add_(torch.tensor([1.0, -0.5, 0.0]))
        log_q = exact.guide.classifier(x).log_softmax(-1)
    sums = (log_q.exp() * (exact.log_joint(x) - log_q)).sum(1)
    want = float(torch.where(LABELS < 0, sums, exact.log_p(x, LABELS)).sum())
    losses = []
    for seed in range(4):
        torch.manual_seed(seed)
        losses.append(-enumerated().loss(exact.model, exact.guide, x, y=LABELS))
    assert losses == pytest.approx([want] * 4, rel=1e-10)
    assert want < float(exact.log_p(x, LABELS).sum()) - 0.01


def test_every_importance_weight_is_log_p_with_the_posterior_as_guide() -> None:
    exact, x = Exact(), data()
    for y in (LABELS, None):
        want = exact.log_p(x, torch.full_like(LABELS, -1) if y is None else y)
        pair, facts, rows = subject(exact.model, exact.guide, x, y, elbo=TraceEnum_ELBO)
        found = log_evidence(pair, facts, rows, samples=9)
        torch.testing.assert_close(found.log_p, want)
        torch.testing.assert_close(found.elbo, want)


def test_importance_sampling_finds_log_p_with_another_guide() -> None:
    exact, x = Exact(), data()
    with torch.no_grad():
        affine(exact.guide.classifier).weight.mul_(0.5)
        affine(exact.guide.latent.encoder).bias[1] += 0.3
    pair, facts, rows = subject(exact.model, exact.guide, x, LABELS, elbo=TraceEnum_ELBO)
    found = log_evidence(pair, facts, rows, samples=4_000)
    assert bool(((found.log_p - exact.log_p(x, LABELS)).abs() < 5 * found.error).all())
    assert 0 < float(found.error.max()) < 0.1


def random_pair(alpha: float = 0.0, **kinds: Any) -> tuple[SemiSupervisedVAE, SemiSupervised]:
    """Small networks, as they are initialized."""
    torch.manual_seed(1)
    network = partial(MLP, hidden=(5,), **kinds)
    model = SemiSupervisedVAE(
        StandardNormal(2), Gaussian((COLUMNS,), variance=1.0), network, CLASSES
    )
    return model.double(), SemiSupervised(2, (COLUMNS,), network, CLASSES, alpha).double()


def by_hand(
    model: SemiSupervisedVAE, guide: SemiSupervised, x: Tensor, y: Tensor, z: Tensor
) -> tuple[Tensor, Tensor]:
    """Reconstruction and KL of draws z: (classes, particles, data, 2), summed class by class."""
    log_q = Categorical(logits=guide.classifier(x)).logits
    reconstruction = kl = torch.zeros(())
    for i in range(len(x)):
        for label in range(CLASSES) if y[i] < 0 else [int(y[i])]:
            log_q_y = log_q[i, label] if y[i] < 0 else torch.zeros(())
            weight = log_q_y.exp() / z.shape[1]
            hot = torch.eye(CLASSES, dtype=x.dtype)[label]
            loc, log_scale = guide.latent.encoder(torch.cat([x[i], hot]))
            q = Normal(loc, posterior_scale(log_scale))
            for at in z[label, :, i]:
                mean = model.decoder(torch.cat([at, hot]))[0]
                log_p_z = Normal(0.0, 1.0).log_prob(at).sum()
                reconstruction = reconstruction + weight * Normal(mean, 1.0).log_prob(x[i]).sum()
                log_ratio = log_q_y + q.log_prob(at).sum() - log_p_z + math.log(CLASSES)
                kl = kl + weight * log_ratio
    return reconstruction, kl


def remembering(guide: SemiSupervised, draws: list[Tensor]) -> Callable[..., None]:
    def program(x: Tensor, y: Tensor) -> None:
        draws.append(guide(x, y))

    return program


@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize("alpha", [0.0, 7.0])
def test_value_and_gradient_are_those_of_the_sum_over_classes_by_hand(
    particles: int, alpha: float
) -> None:
    model, guide = random_pair(alpha)
    x = data()
    draws: list[Tensor] = []
    torch.manual_seed(2)
    loss = enumerated(particles).differentiable_loss(model, remembering(guide, draws), x, y=LABELS)
    z = draws[0].reshape(CLASSES, particles, len(x), 2)
    reconstruction, kl = by_hand(model, guide, x, LABELS, z)
    known = LABELS >= 0
    score = Categorical(logits=guide.classifier(x[known])).log_prob(LABELS[known]).sum()
    want = -(reconstruction - kl + alpha * score)
    torch.testing.assert_close(loss, want)
    parameters = [*model.parameters(), *guide.parameters()]
    for a, b in zip(
        torch.autograd.grad(loss, parameters, retain_graph=True),
        torch.autograd.grad(want, parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("particles", [1, 3])
def test_the_terms_of_a_bound_are_those_of_the_sum_by_hand(particles: int) -> None:
    model, guide = random_pair(alpha=7.0)
    x = data()
    draws: list[Tensor] = []
    batch = {"x": x, "y": LABELS}
    pair = Pair(model, guide, batch)
    facts = audit(pair, TraceEnum_ELBO, batch)
    assert {site.name: site.kl for site in facts.sites} == {
        "y": "enumerated", "z": "Monte Carlo", "x": "-"
    }  # fmt: skip
    guide.register_forward_hook(lambda _m, _i, out: draws.append(out))
    pair.eval()
    for beta in (1.0, 0.3):
        terms = Bound(pair, TraceEnum_ELBO, facts, particles)(batch, beta)
        z = draws[-1].reshape(CLASSES, particles, len(x), 2)
        reconstruction, kl = by_hand(model, guide, x, LABELS, z)
        torch.testing.assert_close(terms.reconstruction, reconstruction)
        torch.testing.assert_close(terms.kl, kl)
        torch.testing.assert_close(terms.objective, reconstruction - beta * kl)


@pytest.mark.parametrize("particles", [1, 3])
def test_the_bound_is_the_same_in_training_where_its_objective_has_the_classification_term(
    particles: int,
) -> None:
    model, guide = random_pair(alpha=7.0)
    batch = {"x": data(), "y": LABELS}
    pair = Pair(model, guide, batch)
    bound = Bound(pair, TraceEnum_ELBO, audit(pair, TraceEnum_ELBO, batch), particles)
    seen = []
    for training in (True, False):
        torch.manual_seed(0)
        seen.append(bound.train(training)(batch, 0.3))
    learning, looking = seen
    for one, other in zip(learning[1:], looking[1:], strict=True):
        torch.testing.assert_close(one, other)
    known = LABELS >= 0
    score = Categorical(logits=guide.classifier(data()[known])).log_prob(LABELS[known]).sum()
    torch.testing.assert_close(learning.objective - looking.objective, 7.0 * score)
    torch.testing.assert_close(looking.objective, looking.reconstruction - 0.3 * looking.kl)


def test_metrics_of_a_fit_have_the_term_in_the_objective_of_training_alone(
    tmp_path: Path, quick: None
) -> None:
    y = torch.arange(90) % CLASSES
    x = torch.randn(90, 3, generator=torch.Generator().manual_seed(0)) + y[:, None]
    guide = {"class_path": "SemiSupervised", "init_args": {"alpha": 50.0}}
    run = small(
        tmp_path, data=from_arrays(x, y), labels=60, model="SemiSupervisedVAE", guide=guide,
        elbo="TraceEnum_ELBO", epochs=3, warm_up=2,
    )  # fmt: skip
    for row in run.history():
        assert row["elbo"] == pytest.approx(row["reconstruction"] - row["kl"], abs=1e-3)
        if row["split"] == "train":  # of a guess, log q(y | x) is -1.1 or less, times 50
            assert row["objective"] < row["elbo"] - 5
        else:
            assert row["objective"] == pytest.approx(row["elbo"], abs=1e-3)


def test_evaluation_leaves_the_classification_term_out() -> None:
    losses = []
    for alpha in (0.0, 7.0):
        model, guide = random_pair(alpha)
        guide.eval()
        torch.manual_seed(0)
        losses.append(enumerated().loss(model, guide, data(), y=LABELS))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e2, 1e6])
def test_no_logits_however_sure_and_wrong_make_a_gradient_infinite(
    dtype: torch.dtype, size: float
) -> None:
    model, guide = (part.to(dtype) for part in random_pair(alpha=1.0))
    head = [m for m in guide.classifier.modules() if isinstance(m, torch.nn.Linear)][-1]
    with torch.no_grad():
        head.bias.copy_(torch.tensor([size, 0.0, -size]))
    x = data().to(dtype)
    loss = enumerated().differentiable_loss(model, guide, x, y=LABELS)
    assert loss.isfinite()
    for slope in torch.autograd.grad(loss, [*model.parameters(), *guide.parameters()]):
        assert bool(slope.isfinite().all())


def test_without_enumeration_a_known_label_is_what_is_drawn() -> None:
    model, guide = random_pair()
    drawn = []
    for _ in range(40):
        trace: Any = poutine.trace(guide).get_trace(data(), LABELS)
        drawn.append(trace.nodes["y"]["value"])
    values = torch.stack(drawn)
    known = LABELS >= 0
    assert bool((values[:, known] == LABELS[known]).all())
    assert all(len(column.unique()) > 1 for column in values[:, ~known].T)
    trace.compute_log_prob()
    assert bool((trace.nodes["y"]["log_prob"][known] == 0).all())
    held = poutine.condition(model, {"y": LABELS.clamp(min=0)})
    free: Any = poutine.trace(held).get_trace(data())
    assert free.nodes["z"]["value"].shape == (6, 2)


def test_of_a_class_x_is_drawn_from_that_class() -> None:
    exact = Exact()
    y = torch.arange(CLASSES).repeat_interleave(4_000)
    torch.manual_seed(0)
    free = poutine.uncondition(exact.model)
    x = poutine.condition(free, {"y": y})(torch.empty(len(y), COLUMNS)).detach()
    for label in range(CLASSES):
        of_class, normal = x[y == label], exact.given_y
        error = normal.variance[label, 0].sqrt() / math.sqrt(len(of_class))
        assert bool(((of_class.mean(0) - normal.mean[label, 0]).abs() < 5 * error).all())


# Sums over enumerated latents in general.


P_A, P_B = torch.tensor([0.2, 0.8]), torch.tensor([[0.3, 0.6, 0.1], [0.5, 0.25, 0.25]])
LOC = torch.tensor([[0.0, 1.0, -2.0], [0.5, -1.0, 2.0]])


def chained(x: Tensor, q_a: Tensor, q_b: Tensor, how: str = "parallel") -> tuple[Any, Any]:
    """A class a of each datum, and classes b of each of its parts, which depend on it."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", x.shape[-1], dim=-1):
            a = pyro.sample("a", dist.Categorical(P_A))
            pyro.sample("u", dist.Normal(LOC[:, 0][a], 1.0), obs=x[0])
            with pyro.plate("parts", len(x), dim=-2):
                b = pyro.sample("b", dist.Categorical(P_B[a]))
                pyro.sample("x", dist.Normal(LOC[a, b], 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", x.shape[-1], dim=-1):
            a = pyro.sample("a", dist.Categorical(q_a), infer={"enumerate": "parallel"})
            with pyro.plate("parts", len(x), dim=-2):
                pyro.sample("b", dist.Categorical(q_b[a]), infer=cast("Any", {"enumerate": how}))

    return model, guide


@pytest.mark.parametrize("how", ["parallel", "sequential"])
def test_expectations_weigh_each_term_by_the_sites_that_it_may_depend_on(how: str) -> None:
    x = torch.tensor([[0.3, -1.0, 2.0, 0.0], [1.0, 0.5, -0.5, 0.2]])  # parts, data
    q_a = torch.tensor([0.6, 0.4])
    q_b = torch.tensor([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]], requires_grad=True)
    model, guide = (Weighed(program, 1.0) for program in chained(x, q_a, q_b, how))
    loss = TraceEnum_ELBO(max_plate_nesting=2).differentiable_loss(model, guide, x)
    calls = list(zip(model.calls, guide.calls, strict=True))
    assert len(calls) == (1 if how == "parallel" else 3)
    reconstruction, kl = torch.stack([torch.stack(expectations(*c)) for c in calls]).sum(0)
    reconstruction, kl, loss = reconstruction.detach(), kl.detach(), loss.detach()
    q_a, q_b = q_a.double(), q_b.detach().double()
    rec = gap = 0.0
    for i in range(4):
        for a in range(2):
            rec += float(q_a[a] * Normal(LOC[a, 0], 1.0).log_prob(x[0, i]))
            gap += float(q_a[a] * (q_a[a] / P_A[a]).log())
            for part in range(2):
                for b in range(3):
                    weight = q_a[a] * q_b[a, b]
                    rec += float(weight * Normal(LOC[a, b], 1.0).log_prob(x[part, i]))
                    gap += float(weight * (q_b[a, b] / P_B[a, b]).log())
    assert float(reconstruction) == pytest.approx(rec, rel=1e-5)
    assert float(kl) == pytest.approx(gap, rel=1e-5)
    assert float(loss) == pytest.approx(gap - rec, rel=1e-5)


def test_expectations_follow_scales_masks_and_values_without_probability() -> None:
    x, mask = torch.tensor([0.3, -1.0, 2.0]), torch.tensor([True, False, True])
    logits = torch.tensor([0.0, -math.inf], requires_grad=True)

    def model(x: Tensor) -> None:
        with pyro.plate("data", 30, subsample=x):
            a = pyro.sample("a", dist.Categorical(logits=logits.detach()))
            pyro.sample("x", dist.Normal(a.float(), 1.0).mask(mask), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", 30, subsample=x):
            pyro.sample("a", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})

    model_sites, guide_sites = Weighed(model, 1.0), Weighed(guide, 1.0)
    loss = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(model_sites, guide_sites, x)
    reconstruction, kl = expectations(model_sites.calls[0], guide_sites.calls[0])
    want = 10 * Normal(0.0, 1.0).log_prob(x[mask]).sum()
    torch.testing.assert_close(reconstruction.detach(), want)
    assert float(kl.detach()) == pytest.approx(0.0, abs=1e-4)
    assert float(loss.detach()) == pytest.approx(-float(want), rel=1e-5)


# Classes told.


def test_the_classes_told_are_q_of_y_whatever_labels_are_at_hand() -> None:
    exact, x = Exact(), data()
    want = exact.log_joint(x).softmax(1)
    for y in (None, LABELS):
        pair, facts, rows = subject(exact.model, exact.guide, x, y, elbo=TraceEnum_ELBO)
        assert has_classes(facts)
        torch.testing.assert_close(classify(pair, rows.take(torch.arange(6))), want)
    truth = torch.tensor([0, 1, 2, -1, 1, 0])
    found = classification(pair, rows, truth, batch_size=4)
    known = truth >= 0
    hits = want.argmax(1)[known] == truth[known]
    assert found.rows == 5
    assert found.accuracy == pytest.approx(float(hits.double().mean()))
    share = found.accuracy
    assert found.standard_error == pytest.approx(math.sqrt(share * (1 - share) / 5))
    log_loss = -want[known].gather(1, truth[known][:, None]).log().mean()
    assert found.log_loss == pytest.approx(float(log_loss))


def test_programs_without_a_class_tell_none() -> None:
    exact = Exact()
    pair = Pair(exact.model, MeanField(1, (COLUMNS,)).double(), {"x": data()})
    with pytest.raises(InputError, match="no class: no latent 'y'"):
        classify(pair, {"x": data()})
    pair, _, rows = subject(exact.model, exact.guide, data(), elbo=TraceEnum_ELBO)
    with pytest.raises(InputError, match="these data have no known label"):
        classification(pair, rows, torch.full((6,), -1))


def learned(few: Data, epochs: int) -> Pair:
    """A short fit to the digits of which few are labelled: 32 of each batch, over and over."""
    network = partial(MLP, hidden=(200,))
    model = SemiSupervisedVAE(StandardNormal(5), Bernoulli(few.shape), network, few.classes)
    guide = SemiSupervised(5, few.shape, network, few.classes, alpha=4.0)
    first = few.train.take(torch.arange(2))
    pair = Pair(model, guide, first)
    bound = Bound(pair, TraceEnum_ELBO, audit(pair, TraceEnum_ELBO, first)).train()
    optimizer = torch.optim.Adam(pair.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    order = Order.of(few.train, 128, 32, 1)
    for epoch in range(epochs):
        for batch in few.train.batches(order.batches(0, epoch, torch.device("cpu"))):
            optimizer.zero_grad()
            (-bound(batch).objective / 128).backward()
            optimizer.step()
        schedule.step()
    return pair


@pytest.mark.slow
def test_a_hundred_labels_and_the_rest_without_tell_digits_better_than_a_hundred_alone() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    pyro.set_rng_seed(0)
    whole, epochs = load("digits", binarize="dynamic"), 25
    few = hide(whole, 100)
    pair = learned(few, epochs)
    held_out = [next(iter(whole.splits[part].chunks(180))) for part in ("valid", "test")]
    x, y = (torch.cat([batch[name] for batch in held_out]) for name in ("x", "y"))
    semi = classification(pair, as_split(x), y).accuracy
    # The others see the labelled digits binarized as often as there were epochs.
    rows = (labels_of(few, "train") >= 0).nonzero()[:, 0]
    seen = [next(iter(whole.train.batches([rows]))) for _ in range(epochs)]
    pixels = torch.cat([batch["x"].flatten(1) for batch in seen]).numpy()
    labels = torch.cat([batch["y"] for batch in seen]).numpy()
    for alone in (LogisticRegression(max_iter=500), KNeighborsClassifier(5)):
        score = alone.fit(pixels, labels).score(x.flatten(1).numpy(), y.numpy())
        assert semi > score + 0.025


# Labels hidden.


def labelled() -> Data:
    y = torch.arange(200) % 4
    return from_arrays(torch.randn(200, 2, generator=torch.Generator().manual_seed(0)), y)


def labels_of(whole: Data, part: str) -> Tensor:
    split = whole.splits[part]
    return split.take(torch.arange(len(split)))["y"]


@pytest.mark.parametrize("keep", [4, 40, 42])
def test_as_many_labels_of_each_class_stay_as_were_asked_for(keep: int) -> None:
    whole = labelled()
    few = hide(whole, keep, seed=1)
    y, before = labels_of(few, "train"), labels_of(whole, "train")
    known = y >= 0
    assert int(known.sum()) == keep
    counts = y[known].bincount(minlength=4)
    assert int(counts.max() - counts.min()) <= 1
    assert torch.equal(y[known], before[known])
    assert bool((y[~known] == -1).all())
    for part in ("valid", "test"):
        assert bool((labels_of(few, part) == -1).all())
        assert bool((labels_of(whole, part) >= 0).all())
        assert torch.equal(
            few.splits[part].take(torch.arange(5))["x"],
            whole.splits[part].take(torch.arange(5))["x"],
        )
    assert few.classes == 4
    assert torch.equal(labels_of(hide(whole, keep, seed=1), "train"), y)
    assert not torch.equal(labels_of(hide(whole, keep, seed=2), "train"), y)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: hide(labelled(), 3), "`labels=3`: give at least one for each of the 4 classes"),
        (lambda: hide(labelled(), 161), "at most the 160 of the training data"),
        (lambda: hide(labelled(), 160), "asks for 40 of each class, and the training data has 3"),
        (lambda: hide(from_arrays(torch.randn(20, 2)), 5), "`labels=5` hides labels, and arrays"),
        (
            lambda: hide(from_arrays(torch.randn(20, 2), torch.randn(20)), 5),
            "hides labels, and arrays has none",
        ),
        (
            lambda: SemiSupervisedVAE(StandardNormal(2), Bernoulli((4,))),
            "and the data have none; give labels",
        ),
        (lambda: SemiSupervised(2, (4,), classes=1), "needs two classes or more, and is given 1"),
        (
            lambda: SemiSupervised(2, (4,), classes=3, alpha=-1),
            "`guide.alpha` is -1; a weight is 0 or",
        ),
        (
            lambda: SemiSupervised(2, (4,), classes=3)(torch.zeros(2, 4), torch.zeros(2)),
            r"y holds torch.float32, and classes are whole numbers",
        ),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
def test_a_bound_that_does_not_sum_is_refused_by_the_audit(elbo: type[Trace_ELBO]) -> None:
    exact = Exact()
    with pytest.raises(InputError, match=r"site 'y' asks to be enumerated, .* take TraceEnum_ELBO"):
        subject(exact.model, exact.guide, data(), LABELS, elbo=elbo)


def test_weights_make_the_round_trip() -> None:
    model, guide = random_pair()
    torch.manual_seed(5)
    network = partial(MLP, hidden=(5,))
    other = SemiSupervisedVAE(
        StandardNormal(2), Gaussian((COLUMNS,), variance=1.0), network, CLASSES
    ).double()
    double = SemiSupervised(2, (COLUMNS,), network, CLASSES, 0.0).double()
    other.load_state_dict(model.state_dict())
    double.load_state_dict(guide.state_dict())
    assert "logits" not in model.state_dict()
    losses = []
    for p, q in ((model, guide), (other, double)):
        torch.manual_seed(0)
        losses.append(enumerated().loss(p, q, data(), y=LABELS))
    assert losses[0] == losses[1]


def test_entries_that_were_not_observed_are_left_out() -> None:
    model, guide = random_pair()
    mask = torch.rand(6, COLUMNS, generator=torch.Generator().manual_seed(0)) < 0.5
    pair = Pair(model, guide, {"x": data(), "y": LABELS, "mask": mask})
    x = torch.where(mask, data(), 0.0)

    def loss(seen: Tensor, **extras: Tensor) -> float:
        torch.manual_seed(0)
        held = poutine.condition(pair.call_model, {"x": seen})
        value: float = enumerated().loss(held, pair.call_guide, x, y=LABELS, **extras)
        return value

    assert loss(x, mask=mask) == loss(torch.where(mask, x, 9.0), mask=mask)
    assert loss(x, mask=mask) != loss(x)
    rows = as_split(x, LABELS, mask)
    facts = audit(pair, TraceEnum_ELBO, rows.take(torch.arange(6)))
    assert facts.is_local
    assert facts.vectorizes


@pytest.mark.parametrize("particles", few([3, 1], 2))
@pytest.mark.parametrize("beta", few([0.3, 1.0], 2))
def test_the_bound_of_a_step_is_pyros_in_value_and_gradient_and_has_a_graph(
    particles: int, beta: float
) -> None:
    model, guide = random_pair(7.0)
    batch = {"x": data(), "y": LABELS}
    pair = Pair(model, guide, batch)
    bound = Bound(pair, TraceEnum_ELBO, audit(pair, TraceEnum_ELBO, batch), particles).train()
    told: list[str] = []
    graph = Captured(bound, compile=False, check=0, tell=told.append)
    graph(batch, beta)

    def found(terms: Any) -> tuple[Tensor, ...]:
        return (*terms, *torch.autograd.grad(terms.objective, list(bound.parameters())))

    results = []
    for call in (bound, graph):
        torch.manual_seed(4)
        results.append(found(call(batch, beta)))
    assert bound.is_static_sum
    torch.manual_seed(4)
    loss = enumerated(particles).differentiable_loss(
        Weighed(pair.call_model, 1.0), Weighed(pair.call_guide, 1.0), **batch
    )
    kl = results[0][3]
    torch.testing.assert_close(results[0][0], -loss + (1 - beta) * kl)
    if beta == 1:
        results.append((*results[0][:4], *torch.autograd.grad(-loss, list(bound.parameters()))))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b)
    assert told == []


def test_a_guide_whose_draws_need_scores_keeps_pyros_estimator() -> None:
    def guide(x: Tensor, y: Tensor | None = None) -> None:
        with pyro.plate("data", len(x)):
            logits = pyro.param("logits", torch.zeros(CLASSES))
            pyro.sample("y", dist.Categorical(logits=logits))  # drawn, not summed
            pyro.sample("k", dist.Bernoulli(0.4), infer={"enumerate": "parallel"})

    def model(x: Tensor, y: Tensor | None = None) -> None:
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.Categorical(logits=torch.zeros(CLASSES)))
            k = pyro.sample("k", dist.Bernoulli(0.5))
            loc = (y + k).to(x)[..., None].expand([*(y + k).shape, COLUMNS])
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    batch = {"x": data().float()}
    pair = Pair(model, guide, batch)
    assert not Bound(pair, TraceEnum_ELBO, audit(pair, TraceEnum_ELBO, batch)).is_static_sum


def test_at_first_no_class_is_preferred_and_none_makes_a_difference() -> None:
    model, guide = random_pair()
    x, z = data(), torch.randn(1, 2, dtype=torch.float64)
    torch.testing.assert_close(guide.classifier(x), torch.zeros(len(x), CLASSES).double())
    hot = torch.eye(CLASSES, dtype=torch.float64)
    said = model.decoder(torch.cat([z.expand(CLASSES, 2), hot], -1))
    read = guide.latent.encoder(torch.cat([x[:1].expand(CLASSES, COLUMNS), hot], -1))
    for values in (said, read):
        torch.testing.assert_close(values, values[:1].expand_as(values))


def test_in_the_first_batches_labels_alone_teach_the_classes() -> None:
    _, guide = random_pair()
    guide.hold = 2
    guide.train()
    x, slopes = data(), []
    torch.nn.init.normal_(affine_last(guide).weight)
    for _ in range(3):
        trace = poutine.trace(guide).get_trace(x, LABELS)
        fn: Any = trace.nodes["y"]["fn"]
        said = fn.log_prob(torch.zeros(len(x))).sum()
        grads = torch.autograd.grad(
            said, list(guide.classifier.parameters()), allow_unused=True, materialize_grads=True
        )
        slopes.append(float(sum(g.abs().sum() for g in grads)))
    assert slopes[:2] == [0.0, 0.0]
    assert slopes[2] > 0
    guide.eval()
    before = int(guide.batches)
    guide(x, LABELS)
    assert int(guide.batches) == before == 3  # evaluation counts no batch


def affine_last(guide: SemiSupervised) -> torch.nn.Linear:
    (*_, last) = (m for m in guide.classifier.modules() if isinstance(m, torch.nn.Linear))
    return last
