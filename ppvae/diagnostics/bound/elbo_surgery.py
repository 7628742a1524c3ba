"""ELBO surgery: the KL as mutual information of data and codes and KL from q(z) to p(z).

The mean of KL(q(z | x) || p(z)) is I(n; z) + KL(q(z) || p(z)), with q(z) the aggregate posterior
and n the number of a datum (Hoffman and Johnson, 2016); if all factorizes, KL(q(z) || p(z)) is TC +
sum_j KL(q(z_j) || p(z_j)), with TC = KL(q(z) || prod_j q(z_j)) the total correlation (Chen et al.,
2018). The mutual information is what reconstruction needs; the rest is what a better prior would
save.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.data import Split
from ppvae.diagnostics.bound.aggregate import aggregate_log_prob, why_undivided
from ppvae.diagnostics.bound.codes import Codes, draw_codes
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.densities import Densities
from ppvae.programs.facts import Audit
from ppvae.programs.streams import forked

NEAR = 1.0
"""Distance to the ceiling log N, in nats, within which the mutual information is capped."""

ROWS = 64
"""Number of data, and of draws, to check that the prior is the same for all data."""


@dataclass(frozen=True)
class Surgery:
    """The parts of the KL of a guide from its prior, as means over draws z ~ q(z), in nats.

    Each part is unbiased for these N data, but not for their population: among N data a code can at
    most identify its datum, so the mutual information is at most log N and underestimates that of
    more informative codes; KL(q(z) || p(z)), and the total correlation in it, are overestimated by
    the same amount. See `is_capped`.

    Parts are means over the same draws, and add up: ``kl`` is ``mutual_information`` plus
    ``marginal_kl``, which is ``total_correlation`` plus ``dimension_wise_kl``. Data are drawn
    without replacement, which standard errors ignore, so they are slightly too large.

    Attributes:
        kl: mean over data of KL(q(z | x_n) || p(z)), by Monte Carlo.
        mutual_information: index-code mutual information, E[log q(z | x_n) - log q(z)].
        marginal_kl: KL(q(z) || p(z)), E[log q(z) - log p(z)].
        total_correlation: KL(q(z) || prod_j q(z_j)), over the dimensions of all latents; ``None``
            if q(z | x) or p(z) is not a product over them.
        dimension_wise_kl: sum_j KL(q(z_j) || p(z_j)), or ``None`` likewise.
        kl_by_dimension: KL(q(z_j) || p(z_j)), ``(dimensions,)``, by site; empty likewise.
        undivided: why the last three are absent, or ``""``.
        data: N.
        draws: number of draws.
    """

    kl: Estimate
    mutual_information: Estimate
    marginal_kl: Estimate
    total_correlation: Estimate | None
    dimension_wise_kl: Estimate | None
    kl_by_dimension: dict[str, Tensor]
    undivided: str
    data: int
    draws: int

    @property
    def ceiling(self) -> float:
        """The mutual information's highest value, log N."""
        return math.log(self.data)

    @property
    def is_capped(self) -> bool:
        """Whether the mutual information is within `NEAR` nats of its ceiling.

        Then nearly every code identifies its datum, the mutual information of the population may be
        larger, and only the sum of the two terms is known.
        """
        return self.mutual_information.mean > self.ceiling - NEAR


def surgery(
    pair: Pair,
    audit: Audit,
    split: Split,
    *,
    draws: int = 1000,
    batch_size: int = 512,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
) -> Surgery:
    """Split the mean KL of data into its parts, without changing any state.

    Every draw is scored under all N data. An aggregate over a mini-batch would be biased.

    Args:
        pair: model and guide.
        audit: their audit.
        split: the N data.
        draws: draws z ~ q(z | x_n), n without replacement as far as N goes; at least 2.
        batch_size: data at a time.
        seed: seed of the draws.
        device: where the pair is.
        on_rows: called with the number of data in each batch, for a progress bar.

    Raises:
        InputError: for fewer than 2 draws, if q(z | x) has no density per datum (see `draw_codes`),
            and if the prior differs between data.
    """
    if draws < 2:
        raise InputError(f"draws is {draws}; a mean with an error needs at least 2")
    device, split = torch.device(device), split.frozen(seed)
    codes = draw_codes(
        pair, audit, split, draws=draws, batch_size=batch_size, seed=seed, device=device
    )
    some = split.take(codes.rows[:ROWS])
    some = {name: value.to(device) for name, value in some.items()}
    _check_prior(pair, audit, codes, Densities(pair, audit, some), device)
    undivided = why_undivided(pair, audit, some)
    aggregate = aggregate_log_prob(
        pair, audit, split, codes.latents, by_dimension=not undivided, batch_size=batch_size,
        seed=seed, device=device, on_rows=on_rows,
    )  # fmt: skip
    total_correlation = dimension_wise = None
    by_dimension: dict[str, Tensor] = {}
    if not undivided:
        log_ratios = {
            name: log_q - codes.prior_by_dimension[name]
            for name, log_q in aggregate.by_dimension.items()
        }
        by_dimension = {name: ratio.mean(0) for name, ratio in log_ratios.items()}
        log_product = torch.cat(list(aggregate.by_dimension.values()), 1).sum(1)
        total_correlation = Estimate.of(aggregate.log_prob - log_product)
        dimension_wise = Estimate.of(log_product - codes.log_prior)
    return Surgery(
        kl=Estimate.of(codes.log_guide - codes.log_prior),
        mutual_information=Estimate.of(codes.log_guide - aggregate.log_prob),
        marginal_kl=Estimate.of(aggregate.log_prob - codes.log_prior),
        total_correlation=total_correlation,
        dimension_wise_kl=dimension_wise,
        kl_by_dimension=by_dimension,
        undivided=undivided,
        data=aggregate.data,
        draws=draws,
    )


def _check_prior(
    pair: Pair, audit: Audit, codes: Codes, densities: Densities, device: torch.device
) -> None:
    """Refuse a prior that depends on the datum: score a few codes as those of other data."""
    rows = densities.rows
    latents = codes.latents.items()
    few = {name: audit.axes.across(value[:4], rows).to(device) for name, value in latents}
    with evaluating(pair), forked(device):
        log_prior = densities.at(few, guide=False).log_prior
    spread = log_prior.amax(1) - log_prior.amin(1)
    if bool((spread > 1e-4 * (1 + log_prior.abs().amax(1))).any()):
        raise InputError(
            "the prior of the latents differs between data (it depends on other inputs of the "
            "model), so there is no single p(z) to compare q(z) with; give data with equal inputs"
        )
