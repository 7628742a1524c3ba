"""Data outside of a likelihood's support are told the likelihoods made for them."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO

from ppvae.bounds.audit import audit
from ppvae.cli.flags_in_sentences import in_flags
from ppvae.components.data_support import check_support
from ppvae.data import from_arrays
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.models import (
    VAE,
    Likelihood,
    StandardNormal,
    likelihoods,
)
from ppvae.networks import MLP
from ppvae.programs import Pair

COUNTS = np.array([[0, 1, 2], [3, 4, 9]] * 30)


GREY = (np.arange(360).reshape(60, 6) % 256).astype(np.uint8)


WORDS: dict[str, tuple[Any, str, str]] = {
    "counts": (
        COUNTS, "Bernoulli",
        "takes only 0 and 1: choose --likelihood Binomial --likelihood.total_count 9, or "
        "--likelihood Categorical --likelihood.classes 10, or --likelihood NegativeBinomial, or "
        "--likelihood Poisson, or --likelihood ZeroInflated$",
    ),
    "large counts": (
        100 * COUNTS, "Binomial",
        "holds 100, and Binomial .site 'x'. takes only integers from 0 to 16: choose --likelihood "
        "NegativeBinomial, or --likelihood Poisson, or --likelihood ZeroInflated$",
    ),
    "negative integers": (
        -COUNTS, "Categorical",
        "integers from 0 to 16: choose --likelihood Gaussian, or --likelihood Laplace, or "
        "--likelihood StudentT$",
    ),
    "grey under counts": (
        GREY.reshape(-1, 1, 6), "Poisson",
        "integers from 0: choose --scale none .*, or --likelihood ContinuousBernoulli, or "
        "--likelihood "
        "DiscretizedLogistic, or --likelihood Gaussian, or --likelihood Laplace, or --likelihood "
        "MixtureOfDiscretizedLogistics, or --likelihood StudentT$",
    ),
    "grey under zeros and ones": (
        GREY.reshape(-1, 1, 6), "Bernoulli",
        "0 and 1: choose --binarize dynamic .*, or --likelihood",
    ),
    "reals": (
        COUNTS - 0.5, "DiscretizedLogistic",
        "multiples of 1/255 in .0, 1.: choose --likelihood Gaussian, or --likelihood Laplace, or "
        "--likelihood StudentT$",
    ),
    "between levels": (
        COUNTS / 9.5, "ContinuousBernoulli", "",
    ),
    "reals under grey": (
        COUNTS - 0.5, "ContinuousBernoulli", "values in .0, 1.: choose --likelihood Gaussian",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WORDS)
def test_data_that_do_not_fit_are_told_which_likelihoods_are_made_for_them(case: str) -> None:
    x, name, sentence = WORDS[case]
    data = from_arrays(x)
    family: Callable[..., Likelihood] = getattr(likelihoods, name)
    batch = data.train.take(torch.arange(4))
    model = VAE(StandardNormal(2), family(data.shape), partial(MLP, hidden=(4,)))
    pair = Pair(model, MeanField(2, data.shape, partial(MLP, hidden=(4,))), batch)
    facts = audit(pair, TraceMeanField_ELBO, batch)
    if not sentence:
        check_support(data, facts)
        return
    with pytest.raises(InputError) as refused:
        check_support(data, facts)
    assert re.search(sentence, in_flags(str(refused.value)))
