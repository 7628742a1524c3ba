"""Terms of the bound: the log-likelihood of each observed site, the KL of each latent site.

Their difference is the evidence lower bound. In coding terms, minus the log-likelihood is the
distortion, and the KL is the rate, the nats needed to encode z (Alemi et al., 2018).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.data import Batch, Split
from ppvae.diagnostics.bound.effective_latents import effective_latents
from ppvae.diagnostics.bound.site_terms import Traced
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.diagnostics.shared.moments import Moments
from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.streams import Stream

CHUNK = 2**23
"""Maximum of numbers of x times draws in memory: 32 MiB of float32 per tensor."""


@dataclass(frozen=True)
class Decomposition:
    """The terms of a bound; tensors are ``(data,)``, in nats, on the CPU.

    Attributes:
        log_likelihood: E_q[log p(x | z)] by observed site.
        log_likelihood_error: its Monte Carlo standard error.
        kl: E_q[log q - log p] by latent site, given the sites before it, so that the sum over sites
            is KL(q(z | x) || p(z)); empty for a point mass, whose KL is infinite. An auxiliary site
            of the guide has log q only.
        kl_error: its Monte Carlo standard error; 0 for a closed form that depends on no draw.
        elbo_error: Monte Carlo standard error of `elbo_by_datum`, ``None`` without a bound. Terms
            share draws, so it is not the sum of their errors.
        kl_by_dimension: the KL by dimension, ``(data, dimensions)``, of each site whose two
            distributions are products of univariate ones. Rows sum to ``kl``.
        undivided: why each other latent site has no KL by dimension.
        exact: the latent sites whose KL is in closed form (given the draws of the sites before).
        shared: the sites shared by all data. Their terms are totals divided by the number of data:
            the same share for each datum.
        draws: draws of the latents for the means.
        elements: D, the number of elements of x per datum, including unobserved ones.
        observed: how many of them were observed.
        monte_carlo: by quantity (``"elbo"``, ``"rate"``, ``"distortion"``), the standard error of
            its mean due to the draws only.
    """

    log_likelihood: dict[str, Tensor]
    log_likelihood_error: dict[str, Tensor]
    kl: dict[str, Tensor]
    kl_error: dict[str, Tensor]
    elbo_error: Tensor | None
    kl_by_dimension: dict[str, Tensor]
    undivided: dict[str, str]
    exact: frozenset[str]
    shared: tuple[str, ...]
    draws: int
    elements: int
    observed: Tensor
    monte_carlo: dict[str, float]

    @property
    def distortion_by_datum(self) -> Tensor:
        """D of Alemi et al. (2018), -E_q[log p(x | z)] over all observed sites: ``(data,)``."""
        return -torch.stack(list(self.log_likelihood.values())).sum(0)

    @property
    def rate_by_datum(self) -> Tensor | None:
        """R of Alemi et al. (2018), KL(q(z | x) || p(z)): ``(data,)``; none for a point mass."""
        return torch.stack(list(self.kl.values())).sum(0) if self.kl else None

    @property
    def elbo_by_datum(self) -> Tensor | None:
        """The bound on log p(x), -(D + R): ``(data,)``; none for a point mass."""
        rate = self.rate_by_datum
        return None if rate is None else -(self.distortion_by_datum + rate)

    @property
    def distortion(self) -> Estimate:
        """Mean of `distortion_by_datum`."""
        return self._estimate("distortion", self.distortion_by_datum)

    @property
    def rate(self) -> Estimate | None:
        """Mean of `rate_by_datum`."""
        rate = self.rate_by_datum
        return None if rate is None else self._estimate("rate", rate)

    @property
    def elbo(self) -> Estimate | None:
        """Mean of `elbo_by_datum`."""
        elbo = self.elbo_by_datum
        return None if elbo is None else self._estimate("elbo", elbo)

    @property
    def effective_by_site(self) -> dict[str, float]:
        """Effective number of dimensions of each site that has a KL by dimension."""
        return {
            site: effective_latents({site: kl.mean(0)}) for site, kl in self.kl_by_dimension.items()
        }

    @property
    def effective_latents(self) -> float | None:
        """Effective number of latent dimensions per datum, over all sites.

        ``None`` if one of them has no KL by dimension: guide and prior must both be products of
        univariate distributions.
        """
        if not self.kl_by_dimension or self.undivided.keys() - set(self.shared):
            return None
        return effective_latents({site: kl.mean(0) for site, kl in self.kl_by_dimension.items()})

    @property
    def bits_per_dim(self) -> Estimate | None:
        """-elbo / ln 2 per observed element of x, as the model sees it: see `bits_per_dim`."""
        elbo = self.elbo_by_datum
        if elbo is None:
            return None
        estimate = bits_per_dim(elbo, self.observed)
        if not self.shared:
            return estimate
        unit = float(self.observed.double().mean()) * math.log(2)
        return Estimate(
            estimate.mean, math.hypot(estimate.standard_error, self.monte_carlo["elbo"] / unit)
        )

    def _estimate(self, name: str, values: Tensor) -> Estimate:
        estimate = Estimate.of(values)
        if not self.shared:
            return estimate  # the spread of independent data includes the noise of draws
        both = math.hypot(estimate.standard_error, self.monte_carlo[name])
        return Estimate(estimate.mean, both)


def bits_per_dim(nats: Tensor, observed: Tensor) -> Estimate:
    """Bits per observed element of x: -sum nats / (sum observed ln 2).

    Each observed element has the same weight, whatever else of its datum is missing. The error is
    that of a ratio of two means, by the delta method; if all is observed, that of one mean.

    Args:
        nats: log p(x) of each datum, or a bound on it, ``(data,)``.
        observed: number of observed elements of x, ``(data,)``.
    """
    nats, observed = nats.double().cpu(), observed.double().cpu()
    unit = observed.mean() * math.log(2)
    mean = -nats.mean() / unit
    off = Estimate.of(nats + mean * math.log(2) * observed)
    return Estimate(float(mean), off.standard_error / float(unit) if unit > 0 else math.nan)


def observed_elements(split: Split) -> Tensor:
    """Number of observed elements of x per datum: ``(data,)``."""
    if "mask" not in split.extra_names:
        return torch.full((len(split),), math.prod(split.shape))
    return torch.cat([batch["mask"].flatten(1).sum(1).cpu() for batch in split.chunks(4096)])


def decompose(
    pair: Pair,
    audit: Audit,
    split: Split,
    *,
    draws: int = 64,
    batch_size: int = 128,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
) -> Decomposition:
    """Split the bound into terms by site and datum, without changing any state.

    As in the bound itself, a KL is in closed form if ``audit.exact`` says so, given the draws of
    the sites that it depends on, and otherwise the mean of log q - log p over draws. The KL of a
    latent shared by all data is divided by their number: the size of the plate if the programs
    subsample it, else that of ``split``.

    Args:
        pair: model and guide.
        audit: their audit.
        split: the data.
        draws: draws of the latents per datum, at least 2.
        batch_size: data at a time.
        seed: seed of the draws.
        device: where the pair is.
        on_rows: called with the number of data in each batch, for a progress bar.

    Raises:
        InputError: for fewer than 2 draws, or if no plate of the model holds the data.
    """
    if draws < 2:
        raise InputError(f"draws is {draws}; a mean with an error needs at least 2")
    if audit.axes.data is None:
        raise InputError(
            "terms per datum need a plate that holds the data, but the model has none; write "
            "'with pyro.plate(\"data\", len(x))'"
        )
    device = torch.device(device)
    split = split.frozen(seed)
    total = len(split) if audit.data_size is None else audit.data_size
    parts = []
    with evaluating(pair), Stream.TERMS.drawn(seed, device) as noise:
        for number, batch in enumerate(split.chunks(batch_size, device)):
            noise.at(number)
            part = _Part()
            at_once = max(1, CHUNK // batch["x"].numel()) if audit.vectorizes else 1
            for start in range(0, draws, at_once):
                part.add(pair, audit, batch, min(at_once, draws - start), total)
            parts.append(part)
            on_rows(len(batch["x"]))
    return _joined(parts, audit, draws, math.prod(split.shape), observed_elements(split))


class _Part:
    """Moments, over draws, of the terms of one batch."""

    def __init__(self) -> None:
        self.log_likelihood, self.kl = Moments(), Moments()
        self.elbo, self.by_dimension, self.sums = Moments(), Moments(), Moments()
        self.undivided: dict[str, str] = {}
        self.shared: list[str] = []
        self.rows = 0

    def add(self, pair: Pair, audit: Audit, batch: Batch, particles: int, total: int) -> None:
        traced = Traced(pair, audit, batch, particles)
        rows = self.rows = len(batch["x"])
        observed = [name for name, node in traced.model.items() if node["is_observed"]]
        latents = list(traced.guide) if audit.is_bound else []
        nodes = traced.guide | {name: traced.model[name] for name in observed}
        self.shared = [name for name in nodes if traced.is_shared(nodes[name])]

        def portion(name: str, term: Tensor) -> Tensor:
            return (term / total).expand(-1, rows) if name in self.shared else term

        likelihoods = {name: portion(name, traced.log_likelihood(name)) for name in observed}
        kls = {name: portion(name, traced.kl(name)) for name in latents}
        by_dimension = {name: traced.kl_by_dimension(name) for name in latents}
        self.undivided = {name: why for name, why in by_dimension.items() if isinstance(why, str)}
        distortion = -torch.stack(list(likelihoods.values())).sum(0)
        figures = {"distortion": distortion}
        if kls:
            figures["rate"] = torch.stack(list(kls.values())).sum(0)
            figures["elbo"] = -(distortion + figures["rate"])
            self.elbo.merge(_moments({"elbo": figures["elbo"]}))
        self.log_likelihood.merge(_moments(likelihoods))
        self.kl.merge(_moments(kls))
        self.by_dimension.merge(
            _moments({n: t for n, t in by_dimension.items() if isinstance(t, Tensor)})
        )
        self.sums.merge(_moments({name: term.sum(1) for name, term in figures.items()}))


def _moments(terms: Mapping[str, Tensor]) -> Moments:
    """Mean and spread over the first dimension, on the CPU in float64."""
    wide = {name: term.cpu().double() for name, term in terms.items()}
    means = {name: term.mean(0) for name, term in wide.items()}
    squares = {name: (term - means[name]).square().sum(0) for name, term in wide.items()}
    count = len(next(iter(wide.values()))) if wide else 0
    return Moments(count, means, squares)


def _joined(
    parts: list[_Part], audit: Audit, draws: int, elements: int, observed: Tensor
) -> Decomposition:
    rows = torch.tensor([part.rows for part in parts], dtype=torch.float64)
    shared = tuple(parts[0].shared)

    def means(moments: list[Moments]) -> dict[str, Tensor]:
        by_name = {name: torch.cat([m.mean[name] for m in moments]) for name in moments[0].mean}
        # A term shared by all data has one value, which every batch has estimated.
        return {
            name: value.mean().expand_as(value).clone() if name in shared else value
            for name, value in by_name.items()
        }

    def errors(moments: list[Moments]) -> dict[str, Tensor]:
        variances = [moment.variance for moment in moments]
        by_name = {}
        for name in variances[0]:
            value = (torch.cat([each[name] for each in variances]) / draws).sqrt()
            if name in shared:
                by_batch = torch.stack([each[name][0] for each in variances]) / draws
                pooled = (by_batch * rows.square()).sum().sqrt() / rows.sum()
                value = pooled.expand_as(value).clone()
            by_name[name] = value
        return by_name

    sums = [part.sums.variance for part in parts]
    monte_carlo = {
        name: float((torch.stack([each[name] for each in sums]).sum() / draws).sqrt() / rows.sum())
        for name in sums[0]
    }
    likelihoods, kls = [p.log_likelihood for p in parts], [p.kl for p in parts]
    return Decomposition(
        means(likelihoods),
        errors(likelihoods),
        means(kls),
        errors(kls),
        errors([p.elbo for p in parts]).get("elbo"),
        means([p.by_dimension for p in parts]),
        parts[0].undivided,
        audit.exact,
        shared,
        draws,
        elements,
        observed,
        monte_carlo,
    )
