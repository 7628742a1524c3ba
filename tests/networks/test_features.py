"""Labels and covariates as inputs of networks besides x."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ppvae.compilation.graphs import trace
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.models import Bernoulli, StandardNormal
from ppvae.models.conditional_vae import ConditionalVAE
from ppvae.networks import (
    Shape,
    beside,
    features,
    joined_shape,
)
from tests.support.networks import assert_captured


@pytest.mark.parametrize("shape", [(), (7,), (4, 1), (2, 3, 5)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_labels_are_one_hot(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    y = torch.randint(4, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    got = features(y, 4)
    assert got.dtype == torch.get_default_dtype()
    assert torch.equal(got, F.one_hot(y.long(), 4).float())


def test_yes_and_no_are_labels() -> None:
    assert features(torch.tensor([True, False]), 2).tolist() == [[0, 1], [1, 0]]


def test_a_label_that_is_not_known_has_no_one() -> None:
    assert features(torch.tensor([2, -1, 0]), 3).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_covariates_stay_as_they_are() -> None:
    for y in (torch.randn(7, 3), torch.randn(2, 7, 3, dtype=torch.float64)):
        assert features(y, 3) is y
    one = torch.randn(7)
    assert torch.equal(features(one, 1), one[:, None])
    assert features(one[:, None], 1).shape == (7, 1)


@pytest.mark.parametrize(
    ("y", "size", "sentence"),
    [
        (None, 3, "conditional on y, and the data have none; give labels"),
        (torch.tensor([0, 3]), 3, "the label 3, and the program knows 3 classes; .* from 0 to 2"),
        (torch.tensor([[1], [-2]]), 3, "the label -2"),
        (torch.zeros(5, 2), 3, r"y has shape \(5, 2\), and .* on 3 covariates"),
        (torch.zeros(5), 3, r"y has shape \(5,\)"),
    ],
)
def test_what_is_no_label_and_no_covariate_is_refused(
    y: Tensor | None, size: int, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        features(y, size)


def test_a_graph_of_labels_is_true_for_all_labels() -> None:
    graph = trace(lambda y: features(y, 3), [torch.zeros(4, dtype=torch.int64)])
    for y in (torch.tensor([2, -1, 0, 1]), torch.tensor([0, 0, 2, 2])):
        assert torch.equal(graph(y), features(y, 3))
    assert graph(torch.tensor([3, -2, 0, 1]))[:2].tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.slow
def test_a_conditional_bound_is_captured_as_it_is() -> None:
    torch.manual_seed(0)
    model = ConditionalVAE(StandardNormal(2), Bernoulli((2, 3)), classes=3)
    guide = MeanField(2, (2, 3), classes=3)
    x, y = torch.rand(5, 2, 3).round(), torch.tensor([0, 2, -1, 1, 1])
    assert_captured(model, guide, x, y=y)


@pytest.mark.parametrize(
    ("values", "more", "lead"),
    [((4,), (4,), (4,)), ((3, 4), (4,), (3, 4)), ((4,), (5, 1), (5, 4)),
     ((3, 4), (5, 1, 1), (5, 3, 4)), ((), (4,), (4,))],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3)])
def test_each_datum_has_its_features_beside_it(
    values: Shape, more: Shape, lead: Shape, shape: Shape
) -> None:
    x = torch.randn(*values, *shape, dtype=torch.float64)
    beside_it = torch.randn(*more, 2)
    got = beside(x, len(shape), beside_it)
    assert got.dtype == torch.float64
    assert beside(x.float(), len(shape), beside_it.double()).dtype == torch.float32
    assert tuple(got.shape) == (*lead, *joined_shape(shape, 2))
    wide = x.expand(*lead, *shape), beside_it.expand(*lead, 2)
    for place in np.ndindex(*lead):
        want = torch.cat([wide[0][place].reshape(-1), wide[1][place].double()])
        assert torch.equal(got[place], want)


def test_without_features_a_datum_keeps_its_shape() -> None:
    assert joined_shape((1, 4, 4), 0) == (1, 4, 4)
    assert joined_shape((1, 4, 4), 3) == (19,)
