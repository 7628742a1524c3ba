"""Hidden labels: the requested number of each class is kept."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ppvae.data import Data, from_arrays
from ppvae.data.labels import hide
from ppvae.errors import InputError
from tests.support.semi_supervised import labels_of


def labelled() -> Data:
    y = torch.arange(200) % 4
    return from_arrays(torch.randn(200, 2, generator=torch.Generator().manual_seed(0)), y)


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
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()
