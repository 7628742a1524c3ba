"""Classification by q(y | x), and its accuracy."""

import math
from functools import partial

import pyro
import pytest
import torch
from pyro.infer import TraceEnum_ELBO

from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.data import Data, as_split, load
from ppvae.data.labels import hide
from ppvae.diagnostics import subject
from ppvae.errors import InputError
from ppvae.guides import MeanField, SemiSupervised
from ppvae.models import Bernoulli, SemiSupervisedVAE, StandardNormal
from ppvae.networks import MLP
from ppvae.programs import Pair
from ppvae.programs.classification import classification, classify, has_classes
from ppvae.training.order import Order
from tests.support.semi_supervised import COLUMNS, LABELS, Exact, data, labels_of


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
    """A short fit to the digits with few labels: 32 repeated labelled rows in each batch."""
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
