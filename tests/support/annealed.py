"""Shared code of the tests of annealing."""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from ppvae.data import Split
from ppvae.diagnostics import subject
from ppvae.diagnostics.evidence import annealing
from ppvae.diagnostics.evidence.annealing import Annealed
from ppvae.diagnostics.evidence.hmc import Start
from ppvae.programs import Pair
from ppvae.programs.facts import Audit

SIGMAS = 5.0
STARTS: tuple[Start, ...] = ("prior", "guide")


def unbiased(found: Annealed, truth: Tensor) -> bool:
    """Whether the mean of weight over p(x) is 1, for independent data."""
    ratio = (found.log_p.double() - truth.double()).exp()
    error = float(ratio.std()) / math.sqrt(len(ratio))
    assert error < 0.05, f"the standard error {error} is too large for this test"
    return abs(float(ratio.mean()) - 1) < SIGMAS * error


@pytest.fixture
def short_pilot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short pilot, for laws that hold with any step sizes."""
    monkeypatch.setattr(annealing, "PILOT_WARM_UP", 8)
    monkeypatch.setattr(annealing, "PILOT_TEMPERATURES", 4)


def story(
    model: Callable[..., Any], guide: Callable[..., Any], x: Tensor
) -> tuple[Pair, Audit, Split]:
    """A model and a guide as plain functions, with one parameter, and data."""

    @wraps(guide)
    def with_parameter(x: Tensor) -> None:
        pyro.param("unused", torch.tensor(0.0))
        guide(x)

    return subject(model, with_parameter, x, elbo=Trace_ELBO)


def rates(x: Tensor, program: Callable[..., Any] | None = None) -> tuple[Pair, Audit, Split]:
    """Counts whose rates are unknown: z ~ Gamma(2, 1.5), x ~ Poisson(z), negative binomial."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            rate = pyro.sample("rate", dist.Gamma(torch.tensor(2.0), 1.5))
            pyro.sample("x", dist.Poisson(rate), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("rate", dist.LogNormal(((x + 2) / 2.5).log(), 0.6))

    return story(model, program or guide, x)
