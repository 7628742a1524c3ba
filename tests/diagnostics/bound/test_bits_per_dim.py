"""Bits per observed element, with the error of a ratio."""

import math

import pytest
import torch
from pyro.infer import Trace_ELBO

from ppvae.diagnostics import decompose, subject
from ppvae.diagnostics.bound.terms import bits_per_dim
from ppvae.guides import (
    ExactPosterior,
)
from ppvae.models import (
    LinearGaussian,
)
from tests.support.missing import COLUMNS


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
    # A column that is never observed does not count.
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
