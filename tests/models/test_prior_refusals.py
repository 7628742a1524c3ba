"""Arguments that priors refuse."""

import math
import re
from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import pytest
from torch import Tensor, nn

from ppvae.errors import InputError
from ppvae.guides import Delta, Flow, MeanField
from ppvae.models import priors
from ppvae.models.priors import LearnedNormal, VampPrior
from tests.support.priors import COLUMNS


class Bare(nn.Module):
    """A guide without a posterior."""


class Joint(MeanField):
    """A guide whose posterior has no event."""

    def posterior(self, x: Tensor, y: Tensor | None = None) -> dist.TorchDistribution:
        fn: Any = super().posterior(x, y)
        base: dist.TorchDistribution = fn.base_dist
        return base


def vamp(guide: Any = None, **own: Any) -> Any:
    return VampPrior(2, (COLUMNS,), guide or MeanField(2, (COLUMNS,)), **own)


SENTENCES: dict[str, Callable[[], Any]] = {
    "`latent_dim` is 0; a latent needs at least 1 dimension": lambda: LearnedNormal(0),
    "`prior.scale` is 'wide'; give a number above 0, or 'learned'":
        lambda: priors.Laplace(2, scale="wide"),  # type: ignore[arg-type]  # to be refused
    "`prior.scale` is 0.0; give a number above 0": lambda: priors.Laplace(2, scale=0.0),
    "`prior.scale` is nan": lambda: priors.Laplace(2, scale=math.nan),
    "`prior.df` is 0.0; it must be above 0": lambda: priors.StudentT(2, df=0.0),
    "`prior.df` is inf": lambda: priors.StudentT(2, df=math.inf),
    "`prior.scale` is inf": lambda: priors.Laplace(2, scale=math.inf),
    "`prior.df` is nan": lambda: priors.StudentT(2, df=math.nan),
    "`prior.components` is 0; a mixture needs at least 1":
        lambda: priors.MixtureOfNormals(2, components=0),
    "`prior.components` is -3; a mixture": lambda: vamp(components=-3),
    "`prior.weights` is 'equall'; give 'equal' or 'learned'": lambda: vamp(weights="equall"),
    "kind is 'cubic'; a flow is 'spline' or 'affine'":
        lambda: priors.FlowPrior(2, kind="cubic"),  # type: ignore[arg-type]  # to be refused
    "transforms 0": lambda: priors.FlowPrior(2, transforms=0),
    "hidden is [8, 0]; each layer needs": lambda: priors.FlowPrior(2, hidden=(8, 0)),
    "needs the guide's posterior, and Bare has none; take another guide, such as MeanField":
        lambda: vamp(Bare()),
    "needs q(z | u), and MeanField needs y as well; take another":
        lambda: vamp(MeanField(2, (COLUMNS,), classes=4)),
    "under every component, which for Flow takes 2 passes through its networks for each of them; "
    "take another guide, such as MeanField": lambda: vamp(Flow(2, (COLUMNS,), transforms=1)),
    "needs densities, and Delta has point masses; take another":
        lambda: vamp(Delta(2, (COLUMNS,))),
    "densities of batch shape (2,) and event shape (2,) from the guide for 2 data, and MeanField "
    "gives (2,) and (5,); take another guide, such as MeanField, or another prior, such as "
    "MixtureOfNormals":
        lambda: vamp(MeanField(5, (COLUMNS,))),
    "densities of batch shape (1,) and event shape (2,) from the guide for 1 data, and Joint gives "
    "(1, 2) and ()":
        lambda: vamp(Joint(2, (COLUMNS,)), components=1),
}  # fmt: skip


@pytest.mark.parametrize("sentence", SENTENCES)
def test_what_makes_no_prior_is_refused(sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)) as refusal:
        SENTENCES[sentence]()
    assert "\n" not in str(refusal.value)
