"""The conditional model: decoder and encoder read y, and draws have the given y."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor

from ppvae.cli.given import given_settings
from ppvae.compilation import capture
from ppvae.data import Split, load
from ppvae.diagnostics import log_evidence, subject
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.models import Bernoulli, ConditionalVAE, Gaussian, StandardNormal
from ppvae.networks import MLP
from ppvae.run import Run
from ppvae.sample import sample
from tests.support.fits import quick, small
from tests.support.pca import AFFINE, affine
from tests.support.slow import few

__all__ = ["quick"]  # a fixture: fits without pictures


def conditional(classes: int = 3, columns: int = 4) -> tuple[ConditionalVAE, MeanField]:
    """An affine decoder and encoder, in float64."""
    torch.manual_seed(0)
    model = ConditionalVAE(StandardNormal(2), Gaussian((columns,), variance=1.0), AFFINE, classes)
    guide = MeanField(2, (columns,), AFFINE, classes)
    return model.double(), guide.double()


def drawn(model: ConditionalVAE, y: Tensor, *shape: int) -> Any:
    """The site of x given only y."""
    trace: Any = poutine.trace(poutine.uncondition(model)).get_trace(torch.empty(shape), y=y)
    return trace.nodes


def test_the_decoder_reads_z_with_the_label_as_a_one_hot_vector_beside_it() -> None:
    model, _ = conditional()
    layer = affine(model.decoder)
    y = torch.tensor([2, 0, 1, 2, 2])
    nodes = drawn(model, y, 5, 4)
    z = nodes["z"]["value"]
    want = z @ layer.weight[:, :2].T + layer.weight[:, 2:][:, y].T + layer.bias
    torch.testing.assert_close(nodes["x"]["fn"].mean, want)


@pytest.mark.parametrize("labels", [True, False])
def test_with_the_posterior_as_guide_bound_and_every_weight_are_log_p_of_x_given_y(
    labels: bool,
) -> None:
    """Both affine, z of one dimension: x given y is N(V y + b, w w' + I)."""
    torch.manual_seed(0)
    model = ConditionalVAE(StandardNormal(1), Gaussian((4,), variance=1.0), AFFINE, 3).double()
    guide = MeanField(1, (4,), AFFINE, 3).double()
    layer, code = affine(model.decoder), affine(guide.encoder)
    w, v, b = layer.weight.detach()[:, 0], layer.weight.detach()[:, 1:], layer.bias.detach()
    # z given x and y is N(S w' (x - V y - b), S), 1 / S = 1 + w' w; y stands after x.
    variance = 1 / (1 + w @ w)
    with torch.no_grad():
        code.weight[0].copy_(variance * torch.cat([w, -w @ v]))
        code.weight[1].zero_()
        code.bias.copy_(torch.stack([-variance * w @ b, 10 * (variance.log() / 20).atanh()]))
    x = torch.randn(6, 4, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 0, 1, 2]) if labels else torch.randn(6, 3, dtype=torch.float64)
    numbers = torch.eye(3, dtype=torch.float64)[y] if labels else y
    covariance = torch.outer(w, w) + torch.eye(4, dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal(numbers @ v.T + b, covariance)
    found = log_evidence(*subject(model, guide, x, y), samples=7)
    torch.testing.assert_close(found.log_p, normal.log_prob(x))
    torch.testing.assert_close(found.elbo, normal.log_prob(x))
    loss = Trace_ELBO(max_plate_nesting=1).loss(model, guide, x, y=y)
    assert loss == pytest.approx(-float(normal.log_prob(x).sum()))


def test_the_guide_reads_y_and_each_y_of_its_own_in_one_call() -> None:
    _, guide = conditional()
    x = torch.randn(5, 4, dtype=torch.float64)
    every = torch.arange(3)[:, None]
    fn: Any = guide.posterior(x, every)
    assert tuple(fn.batch_shape) == (3, 5)
    for label in range(3):
        alone: Any = guide.posterior(x, torch.full((5,), label))
        torch.testing.assert_close(fn.mean[label], alone.mean)
    assert float((fn.mean[0] - fn.mean[1]).detach().abs().min()) > 1e-3


@pytest.mark.parametrize("particles", [1, 3])
def test_missing_entries_are_left_out_of_the_bound(particles: int) -> None:
    model, guide = conditional()
    x, y = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    mask = torch.rand(5, 4) < 0.5
    elbo = Trace_ELBO(
        num_particles=particles, vectorize_particles=particles > 1, max_plate_nesting=1
    )

    def loss(data: Tensor) -> float:
        torch.manual_seed(0)
        # A guide with its own arguments, whose encoder reads zeros at unobserved entries.
        value: float = elbo.loss(model, lambda x, y, mask: guide(x * mask, y), data, y=y, mask=mask)
        return value

    assert loss(x) == loss(torch.where(mask, x, 99.0))
    torch.manual_seed(0)
    whole = elbo.loss(model, lambda x, y: guide(x * mask, y), x, y=y)
    assert loss(x) != whole


@pytest.mark.slow
def test_a_graph_computes_what_pyro_does() -> None:
    model, guide = conditional()
    x, y = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    loss = capture(model, guide, Trace_ELBO(max_plate_nesting=1), x, y=y, compile=False)
    torch.manual_seed(3)
    graph = loss(x, y=y)
    assert not loss.reason
    torch.manual_seed(3)
    eager = Trace_ELBO(max_plate_nesting=1).differentiable_loss(model, guide, x, y=y)
    torch.testing.assert_close(graph, eager)


def test_weights_make_the_round_trip() -> None:
    model, _ = conditional()
    torch.manual_seed(9)
    other = ConditionalVAE(StandardNormal(2), Gaussian((4,), variance=1.0), AFFINE, 3).double()
    other.load_state_dict(model.state_dict())
    y = torch.tensor([2, 0, 1])
    means = []
    for one in (model, other):
        torch.manual_seed(0)
        means.append(drawn(one, y, 3, 4)["x"]["fn"].mean)
    assert torch.equal(*means)


def test_data_without_labels_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"ConditionalVAE is conditional on y, .* take `model='VAE'`"
    ):
        ConditionalVAE(StandardNormal(2), Bernoulli((4,)))
    model, _ = conditional()
    with pytest.raises(InputError, match="conditional on y, and the data have none; give labels"):
        model(torch.zeros(2, 4))


def test_a_fit_to_data_without_labels_says_where_labels_come_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`label` of a table"):
        small(tmp_path, model="ConditionalVAE")


def learned_digits(seconds: int = 12) -> tuple[ConditionalVAE, Split]:
    """A short fit to the digits, binarized again in every batch."""
    torch.manual_seed(0)
    data = load("digits", binarize="dynamic")
    network = partial(MLP, hidden=(128,))
    model = ConditionalVAE(StandardNormal(8), Bernoulli(data.shape), network, data.classes)
    guide = MeanField(8, data.shape, network, data.classes)
    parameters = [*model.parameters(), *guide.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=4e-3)
    elbo = TraceMeanField_ELBO(max_plate_nesting=1)
    for _ in range(seconds):
        for batch in data.train.batches(torch.randperm(len(data.train)).split(64)):
            optimizer.zero_grad()
            (elbo.differentiable_loss(model, guide, batch["x"], y=batch["y"]) / 64).backward()
            optimizer.step()
    return model, data.train


@pytest.mark.slow
def test_a_classifier_of_real_digits_recognizes_what_is_drawn_of_each_class() -> None:
    from sklearn.linear_model import LogisticRegression

    model, train = learned_digits()
    real = train.take(torch.arange(len(train)))
    grey = load("digits").train.take(torch.arange(len(train)))["x"].flatten(1) / 16
    classifier = LogisticRegression(max_iter=2000).fit(grey.numpy(), real["y"].numpy())
    y = torch.arange(10).repeat_interleave(40)
    with torch.no_grad():
        means = drawn(model, y, len(y), 1, 8, 8)["x"]["fn"].mean.flatten(1)
    right = classifier.predict(means.numpy()) == y.numpy()
    assert right.mean() >= 0.85
    # Draws of one class differ, by z.
    spread = means.reshape(10, 40, 64).std(1).mean()
    assert float(spread) > 0.02


def cats_and_dogs(folder: Path) -> Path:
    """Two clusters far apart with names; 90 rows."""
    generator = np.random.default_rng(0)
    kinds = np.array(["dog", "cat"] * 45)
    x = generator.normal(size=(90, 2)) + np.where(kinds == "dog", 5.0, -5.0)[:, None]
    return saved(folder, x, kinds)


def saved(folder: Path, x: NDArray[Any], y: NDArray[Any]) -> Path:
    path = folder / "kinds.npz"
    np.savez(path, x=x.astype(np.float32), y=y)
    return path


def fitted(folder: Path, data: Path, **settings: Any) -> Run:
    return small(folder, data=data, model="ConditionalVAE", epochs=15, lr=3e-2, **settings)


def means_of(run: Run, given: str | None, folder: Path, count: int = 40) -> NDArray[np.float64]:
    found = sample(run, count=count, given=given, out=folder / f"of-{given}")
    means: NDArray[np.float64] = found["samples_mean"].mean(-1)
    return means


@pytest.mark.slow
def test_the_command_draws_of_a_class_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    run = fitted(tmp_path, cats_and_dogs(tmp_path))
    assert means_of(run, "dog", tmp_path).min() > 0.5  # a table is standardized
    assert means_of(run, "cat", tmp_path).max() < -0.5
    both = means_of(run, None, tmp_path)
    assert both.min() < -0.5
    assert both.max() > 0.5
    assert given_settings("sample", [str(run.path), "--given", "dog"])["given"] == "dog"
    with pytest.raises(InputError, match=r"is not a label of .* its labels are cat, dog"):
        sample(run, given="cow", out=tmp_path / "cow")


@pytest.mark.parametrize("columns", few([2, 1], 2))
def test_the_command_draws_at_covariates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    generator = np.random.default_rng(0)
    y = generator.normal(size=(90, columns))
    x = 4 * y[:, :1] + 0.3 * generator.normal(size=(90, 2))
    run = fitted(tmp_path, saved(tmp_path, x, y[:, 0] if columns == 1 else y))
    rest = ",0" if columns == 2 else ""
    far = [means_of(run, f"{value}{rest}", tmp_path).mean() for value in (-1, 1)]
    # Tables are standardized: y of -1 and 1 are some 2 standard deviations of x apart.
    assert far[1] - far[0] > 1.2
    for wrong in ("1,2,3", "tall", "nan"):
        with pytest.raises(InputError, match=f"`given={wrong!r}` .* {columns} comma-separated"):
            sample(run, given=wrong, out=tmp_path / wrong)


def test_a_condition_that_a_model_does_not_have_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small(tmp_path, data=cats_and_dogs(tmp_path))
    with pytest.raises(InputError, match="not conditional on anything; fit a Conditional"):
        sample(run, given="dog", out=tmp_path / "dog")
