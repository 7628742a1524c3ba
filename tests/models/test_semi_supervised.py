"""The semi-supervised pair: labels known or not in one batch, exact sums over classes."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO

from ppvae.data import from_arrays
from ppvae.diagnostics import log_evidence, subject
from ppvae.errors import InputError
from ppvae.guides import SemiSupervised
from ppvae.models import Bernoulli, Gaussian, SemiSupervisedVAE, StandardNormal
from ppvae.networks import MLP
from tests.support.fits import quick, small
from tests.support.pca import affine
from tests.support.semi_supervised import (
    CLASSES,
    COLUMNS,
    LABELS,
    Exact,
    data,
    enumerated,
    random_pair,
)

__all__ = ["quick"]  # a fixture: no pictures


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


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: SemiSupervisedVAE(StandardNormal(2), Bernoulli((4,))),
            "and the data have none; give labels",
        ),
        (lambda: SemiSupervised(2, (4,), classes=1), "needs two classes or more, and is given 1"),
        (
            lambda: SemiSupervised(2, (4,), classes=3, alpha=-1),
            "`guide.alpha` is -1; it must be 0 or",
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
