"""Aggregate prior: a density fitted to the codes of the data, to draw from instead of the prior.

After training, the prior p(z) and the aggregate posterior q(z) = E_data[q(z | x)] differ (Hoffman
and Johnson, 2016). Where p(z) has mass but no datum has its code, the decoder is untrained, and
decoded draws are unlike the data. A mixture fitted to draws of q(z) avoids such places, without
changing model and guide (Ghosh et al., 2020; in two stages: Dai and Wipf, 2019). It is the only way
to draw from an autoencoder, whose codes no KL brings near p(z).
"""

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.data import Split
from ppvae.diagnostics.bound.site_terms import Traced
from ppvae.diagnostics.bound.top_latents import TopLatent, top_latents
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.distributions.batch_mixture import BatchMixture
from ppvae.distributions.fitting import fit_normals
from ppvae.errors import InputError, check_at_least
from ppvae.models.priors import Prior
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.sites import Node
from ppvae.programs.streams import Stream, generator, seeded

FITTED = 50_000
"""Maximum number of codes to fit a density to; of fewer data, several codes each."""

PER_DATUM = 10
"""Maximum number of codes per datum."""


class AggregatePrior(Prior):
    """r(z) = sum_k w_k N(z; loc_k, L_k L_k'), fitted to the codes of data by `aggregate_prior`.

    It is a prior without learnable parameters: as the ``prior`` of a `VAE` it raises the bound by
    its gain (`held_out_gain`). If the model has several top latents, z is their concatenation.

    Args:
        logits: log w, ``(components,)``.
        loc: ``(components, latent_dim)``.
        scale_tril: L, lower triangular, ``(components, latent_dim, latent_dim)``.
        tops: the latents in z.
    """

    logits: Tensor
    loc: Tensor
    scale_tril: Tensor

    def __init__(
        self, logits: Tensor, loc: Tensor, scale_tril: Tensor, tops: Sequence[TopLatent]
    ) -> None:
        super().__init__(loc.shape[1])
        self.register_buffer("logits", logits)
        self.register_buffer("loc", loc)
        self.register_buffer("scale_tril", scale_tril)
        self.tops = tuple(tops)

    def forward(self) -> dist.TorchDistribution:
        """The distribution r(z): batch shape ``()``, event shape ``(latent_dim,)``."""
        components = dist.MultivariateNormal(self.loc, scale_tril=self.scale_tril)
        return BatchMixture(components, self.logits)

    def latents(self, count: int) -> dict[str, Tensor]:
        """Draw ``count`` z ~ r(z): values by site, as input of `generation.decode`."""
        shares = self().sample(torch.Size([count])).split([t.rest.numel() for t in self.tops], 1)
        return {top.name: top.value(share) for top, share in zip(self.tops, shares, strict=True)}


def aggregate_prior(
    pair: Pair,
    audit: Audit,
    train: Split,
    *,
    components: int = 10,
    batch_size: int = 512,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> AggregatePrior:
    """Fit a mixture of normals with full covariances to draws z ~ q(z), by maximum likelihood.

    It is a joint density of the top latents: the real-valued latents that depend on no other. The
    model draws the latents below them, and classes. So in a hierarchy r(z_L) replaces p(z_L) only,
    and in p(y) p(z) p(x | y, z) r(z) replaces p(z); a model that is conditional on y has the same
    r(z) for every y, as it has one p(z).

    Codes are draws of q(z | x), not its means, which lie closer together than the latents that the
    decoder was trained on. Each datum has up to 10; under a point mass it has one, unless data are
    binarized again in every batch. EM starts from k-means.

    Args:
        pair: model and guide.
        audit: their audit.
        train: the data, preferably the training data of the pair.
        components: number of normals.
        batch_size: codes drawn at once.
        seed: seed of the draws and the fit.
        device: where the pair is; the density is fitted on the CPU, and stays there.

    Raises:
        InputError: for fewer data than components; if some latents are shared by all data, or there
            is no plate of the data; if no top latent is real-valued, or one has another support, is
            masked, or has a prior that differs between data; for codes that are not finite.

    Example::

        pair, audit, rows = subject(model, guide, x)
        r = aggregate_prior(pair, audit, rows)
        mean, drawn = decode(pair, audit, rows.take(torch.arange(64)), r.latents(64))
    """
    _check(audit, train, components)
    device = torch.device(device)
    tops = top_latents(pair, audit, train, device)
    rows = _rows(audit, train, seed)
    z, _ = _codes(
        pair, audit, train, rows, tops, batch_size=batch_size,
        seed=Stream.AGGREGATE_PRIOR.seed(seed, 0), device=device,
    )  # fmt: skip
    fitted = fit_normals(z, components, seed)
    normals: Any = fitted.components
    return AggregatePrior(fitted.logits, normals.loc, normals.scale_tril, tops).to(pair.dtype)


def held_out_gain(
    prior: AggregatePrior,
    pair: Pair,
    audit: Audit,
    split: Split,
    *,
    draws: int = 4,
    batch_size: int = 512,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Estimate:
    """E_q[log r(z) - log p(z)] on data that r was not fitted to, in nats per datum, with its error.

    The bound would rise by this much with r as the prior. Below 0, r overfits its codes, and fewer
    components are better. (`prior_gain` measures whether another prior is worth training, and
    selects the number of components for that.)

    Args:
        prior: r.
        pair: model and guide.
        audit: their audit.
        split: the data.
        draws: draws z ~ q(z | x) for each datum.
        batch_size: data at a time.
        seed: seed of the draws.
        device: where the pair is.

    Raises:
        InputError: for fewer than one draw.
    """
    check_at_least(1, draws=draws)
    z, log_p = _codes(
        pair, audit, split, torch.arange(len(split)).repeat(draws), prior.tops,
        batch_size=batch_size, seed=Stream.AGGREGATE_PRIOR.seed(seed, 1),
        device=torch.device(device),
    )  # fmt: skip
    log_r = prior().log_prob(z.to(prior.loc)).to(log_p)
    return Estimate.of((log_r - log_p).view(draws, -1).mean(0))


def _check(audit: Audit, train: Split, components: int) -> None:
    if components < 1:
        raise InputError(f"components is {components}; a mixture needs at least 1")
    if len(train) < max(components, 2):
        raise InputError(
            f"components is {components}, and there are {len(train)} data: a mixture needs at "
            "least 2 data, and as many as components; take fewer components, or give more data"
        )
    if not audit.is_local:
        raise InputError(
            "the aggregate posterior needs every latent inside the plate of the data; here some "
            "are shared by all data, or there is no such plate"
        )


def _rows(audit: Audit, train: Split, seed: int) -> Tensor:
    """Rows whose codes are drawn: each equally often, as far as possible."""
    varies = audit.is_bound or train.frozen(seed) is not train
    rows = generator(Stream.AGGREGATE_PRIOR.seed(seed, 2))
    passes = range(PER_DATUM if varies else 1)
    order = [torch.randperm(len(train), generator=rows) for _ in passes]
    return torch.cat(order)[:FITTED]


def _check_prior(top: TopLatent, node: Node) -> None:
    """Refuse a prior that depends on the datum: score the code of one datum as that of others."""
    fn, value = node["fn"], node["value"]
    one = value.narrow(top.data_dim, 0, 1).expand_as(value)
    log_prob = fn.log_prob(one).movedim(top.data_dim + len(fn.event_shape), 0)
    if bool(((log_prob - log_prob[0]).abs() > 1e-4 * (1 + log_prob.abs())).any()):
        raise InputError(
            f"the prior of latent site '{top.name}' differs between data (it depends on other "
            "inputs of the model), so there is no single p(z) to replace"
        )


def _codes(
    pair: Pair,
    audit: Audit,
    split: Split,
    rows: Tensor,
    tops: Sequence[TopLatent],
    *,
    batch_size: int,
    seed: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """A draw z ~ q(z | x) for each row, ``(rows, latent_dim)``, and log p(z), ``(rows,)``."""
    chunks, codes, log_priors = rows.split(batch_size), [], []
    # Also of the binarization, if it is drawn again in each batch.
    with evaluating(pair), seeded(seed, device):
        for chunk, batch in zip(chunks, split.batches(chunks, device=device), strict=True):
            traced = Traced(pair, audit, batch, 1)
            parts, log_p = [], torch.zeros(len(chunk), dtype=torch.float64)
            for top in tops:
                q, p = traced.guide[top.name], traced.model[top.name]
                _check_prior(top, p)
                values = traced.columns(q, q["value"], len(q["fn"].event_shape))
                terms = traced.columns(p, p["fn"].log_prob(q["value"]), 0)
                parts.append(values[0].cpu().double())
                log_p += terms[0].sum(-1).cpu().double()
            codes.append(torch.cat(parts, 1))
            log_priors.append(log_p)
    z = torch.cat(codes)
    strange = int((~z.isfinite().all(1)).sum())
    if strange:
        raise InputError(
            f"{strange} of {len(z)} codes are not finite: the guide has diverged; take another "
            "checkpoint, or fit again at a lower `lr`"
        )
    return z, torch.cat(log_priors)
