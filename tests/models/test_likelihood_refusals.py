"""Arguments and names that likelihoods refuse."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest

import ppvae.models
from ppvae.errors import InputError
from ppvae.models import likelihoods

SENTENCES: dict[str, Callable[[], Any]] = {
    "is 'learnt'; give a number above 0, 'learned', 'per-element', 'optimal' or 'per-pixel'":
        lambda: likelihoods.Gaussian((3,), "learnt"),  # type: ignore[arg-type]  # to be refused
    "variance` is -1": lambda: likelihoods.Gaussian((3,), -1.0),
    "variance` is nan": lambda: likelihoods.Gaussian((3,), math.nan),
    "variance` is 0.0": lambda: likelihoods.Gaussian((3,), variance=0.0),
    "floor` is 0.0; a variance needs a floor": lambda: likelihoods.Gaussian((3,), floor=0.0),
    "floor` is 0": lambda: likelihoods.Gaussian((3,), "optimal", floor=0.0),
    "floor` is -1": lambda: likelihoods.Gaussian((3,), "per-pixel", floor=-1.0),
    "momentum` is 0": lambda: likelihoods.Gaussian((3,), "optimal", momentum=0.0),
    "each datum has its own": lambda: likelihoods.Gaussian((3,), "per-pixel").variance,
    "scale` is 0": lambda: likelihoods.Laplace((3,), scale=0.0),
    "scale` is 'big'; give a number above 0, 'learned' or 'per-element'":
        lambda: likelihoods.Laplace((3,), scale="big"),  # type: ignore[arg-type]  # to be refused
    "floor` is nan; a scale needs a floor": lambda: likelihoods.StudentT((3,), floor=math.nan),
    "df` is 1.0; Student's t has no mean": lambda: likelihoods.StudentT((3,), df=1.0),
    "total_count` is 0": lambda: likelihoods.Binomial((3,), total_count=0),
    "classes` is 1": lambda: likelihoods.Categorical((3,), classes=1),
    "limit` is 0": lambda: likelihoods.ContinuousBernoulli((3,), limit=0.0),
    "levels` is 1": lambda: likelihoods.DiscretizedLogistic((3,), levels=1),
    "levels` is 65537": lambda: likelihoods.MixtureOfDiscretizedLogistics((3,), levels=65537),
    "components` is 0": lambda: likelihoods.MixtureOfDiscretizedLogistics((3,), components=0),
    "counts` is 'Binomial'; take one of Poisson, NegativeBinomial":
        lambda: likelihoods.ZeroInflated((3,), counts="Binomial"),  # type: ignore[arg-type]  # to be refused
}  # fmt: skip


@pytest.mark.parametrize("sentence", SENTENCES)
def test_what_is_no_argument_is_refused(sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        SENTENCES[sentence]()


@pytest.mark.parametrize("name", ["Laplace", "StudentT"])
def test_a_name_that_means_two_things_is_answered_with_both(name: str) -> None:
    both = f"models.priors.{name} or ppvae.models.likelihoods.{name}"
    with pytest.raises(AttributeError, match=both):
        getattr(ppvae.models, name)
    assert not hasattr(ppvae.models, name)
    assert hasattr(ppvae.models.priors, name)
    assert hasattr(ppvae.models.likelihoods, name)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = ppvae.models.Nothing
