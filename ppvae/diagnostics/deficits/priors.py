"""Candidate priors: a mixture of normals fitted to the codes, or a flow."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ppvae.data import Split
from ppvae.diagnostics.bound.codes import draw_codes
from ppvae.diagnostics.deficits.candidates import Candidate, put_in
from ppvae.diagnostics.deficits.fitted import Fitted, place_of
from ppvae.errors import InputError
from ppvae.models.priors import FlowPrior, MixtureOfNormals, Prior, StandardNormal

CODES = 10_000
"""Maximum number of codes to start a mixture; of fewer data, up to ten codes each."""

COMPONENTS = 50


def priors(fitted: Fitted, train: Split, seed: int) -> list[Candidate]:
    """A mixture of normals, started by EM on the codes of the data; a flow, started at N(0, I).

    Raises:
        InputError: if the model has no prior that is a `Prior`, or its guide no density per datum.
    """
    place = place_of(fitted.pair, "prior")
    old = place.module
    if not isinstance(old, Prior):
        raise InputError(
            f"the prior {type(old).__name__} is not derived from ppvae.models.priors.Prior, so it "
            "cannot be replaced"
        )
    pair, size = fitted.pair, old.latent_dim
    codes = draw_codes(
        pair, fitted.facts, train, draws=min(CODES, 10 * len(train)), seed=seed, device=pair.device
    )
    site = next((name for name, z in codes.columns.items() if z.shape[1] == size), None)
    if site is None:
        raise InputError(f"no latent of the model has the prior's {size} dimensions")
    news: dict[str, Prior] = {"MixtureOfNormals": _started(codes.columns[site], seed)}
    if isinstance(old, StandardNormal) and size > 1:
        news["FlowPrior"] = FlowPrior(size)
    return [
        Candidate(
            name, f"a learned prior: `prior='{name}'`",
            partial(
                put_in, fitted, (place, new.to(pair.device, pair.dtype)),
                fresh=tuple(new.parameters()),
            ),
            isinstance(new, FlowPrior),
        )
        for name, new in news.items()
    ]  # fmt: skip


def _started(z: Tensor, seed: int) -> MixtureOfNormals:
    """A mixture fitted to codes, ``(codes, dimensions)``."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    count = min(COMPONENTS, max(1, len(z) // 50))
    em: Any = GaussianMixture(
        count, covariance_type="diag", max_iter=30, random_state=seed % 2**32, reg_covar=1e-4
    )
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # training continues by gradient
        em.fit(z.double().numpy())
    prior = MixtureOfNormals(z.shape[1], count)
    weights, loc, variance = map(torch.from_numpy, (em.weights_, em.means_, em.covariances_))
    with torch.no_grad():
        prior.logits.copy_(weights.clamp(min=1e-6).log())
        prior.loc.copy_(loc)
        # The scale is exp(10 tanh(s / 10)).
        prior.log_scale.copy_(10 * (variance.log() / 20).clamp(-0.99, 0.99).atanh())
    return prior
