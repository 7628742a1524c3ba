"""Exact posteriors of single data by the No-U-Turn sampler on p(z | x).

Markov chains do not depend on the family of the guide: if they agree with each other but not with
the guide, the guide is wrong, and they show how.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro.infer import MCMC, NUTS
from torch import Tensor

from ppvae.compilation.guard import Unfaithful
from ppvae.data import Batch
from ppvae.diagnostics.trust.posterior_target import PosteriorTarget
from ppvae.errors import check_at_least
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.streams import Stream


@dataclass(frozen=True)
class GuideDifference:
    """Difference of guide and chains; all ``(data, dimensions)``, float64.

    Attributes:
        shift: |E_q[z] - E_p[z]| in posterior standard deviations; 0 for an exact guide.
        shift_error: its Monte Carlo standard error.
        ratio: standard deviation of the guide divided by that of the posterior; 1 for an exact
            guide, usually below 1 for a mean-field guide of correlated latents.
        ratio_error: its Monte Carlo standard error.
    """

    shift: Tensor
    shift_error: Tensor
    ratio: Tensor
    ratio_error: Tensor

    def differs(self, sigmas: float = 4.0) -> Tensor:
        """Whether mean or standard deviation of the guide differs by more than the noise of chains.

        A significant difference need not be large; with enough draws any is significant.

        Args:
            sigmas: threshold in standard errors.
        """
        off: Tensor = (self.shift > sigmas * self.shift_error) | (
            (self.ratio - 1).abs() > sigmas * self.ratio_error
        )
        return off


@dataclass(frozen=True)
class Chains:
    """Draws from p(z | x) of a few data, and moments of the guide; float64.

    Latents are in their constrained space. Each number of a latent is a dimension.

    Attributes:
        sites: name of the site and index in it, for each dimension.
        draws: ``(data, chains, draws, dimensions)``.
        log_joint: log p(x, z) at each draw, in nats: ``(data, chains, draws)``.
        divergences: transitions after the warm-up whose trajectory diverged, ``(data, chains)``,
            int64: with more than a few the draws are biased.
        rhat: rank-normalized split r-hat, ``(data, dimensions)``; below 1.01 for chains that agree,
            or 1.05 for a few hundred draws (Vehtari et al., 2021).
        ess: bulk effective sample size over all chains, ``(data, dimensions)``.
        loc: posterior mean, ``(data, dimensions)``.
        loc_error: its Monte Carlo standard error.
        scale: posterior standard deviation, ``(data, dimensions)``.
        scale_error: its Monte Carlo standard error.
        guide_loc: mean of q(z | x), ``(data, dimensions)``.
        guide_loc_error: its Monte Carlo standard error; 0 for a closed form.
        guide_scale: standard deviation of q(z | x), ``(data, dimensions)``; 0 for a point mass.
        guide_scale_error: its Monte Carlo standard error; 0 for a closed form.
    """

    sites: tuple[tuple[str, int], ...]
    draws: Tensor
    log_joint: Tensor
    divergences: Tensor
    rhat: Tensor
    ess: Tensor
    loc: Tensor
    loc_error: Tensor
    scale: Tensor
    scale_error: Tensor
    guide_loc: Tensor
    guide_loc_error: Tensor
    guide_scale: Tensor
    guide_scale_error: Tensor

    def against_guide(self) -> GuideDifference:
        """Means and standard deviations of the guide against those of the chains."""
        shift = (self.guide_loc - self.loc).abs() / self.scale
        ratio = self.guide_scale / self.scale
        of_loc = self.loc_error.square() + self.guide_loc_error.square()
        noise = self.scale_error.square()
        return GuideDifference(
            shift,
            (of_loc + shift.square() * noise).sqrt() / self.scale,
            ratio,
            (self.guide_scale_error.square() + ratio.square() * noise).sqrt() / self.scale,
        )


def posterior_chains(
    pair: Pair,
    audit: Audit,
    batch: Batch,
    *,
    chains: int = 2,
    draws: int = 200,
    warmup: int = 100,
    max_tree_depth: int = 6,
    seed: int = 0,
    on_draw: Callable[[], None] = lambda: None,
) -> Chains:
    """Draw from p(z | x) of each datum by Pyro's NUTS (Hoffman and Gelman, 2014).

    Data and chains run in sequence, each chain with its own seed, step size and diagonal mass
    matrix from its warm-up. It starts at a draw of the guide moved to twice its distance from the
    guide's mean, in unconstrained space: r-hat detects chains that have not converged only if they
    start overdispersed. A mode far from all draws of the guide may still be missed. The result is a
    function of ``seed``, without changing any state.

    The time is that of ``data * chains * (warmup + draws)`` transitions, of some 10 gradients of
    log p(x, z) each: 1 to 3 seconds for 100 transitions of a 784-400-20 decoder on one core.
    Density and gradient are a graph if the programs allow it (`ppvae.compilation.gradient`); a
    datum with a wrong graph is sampled again without it, from the same seed.

    Args:
        pair: model and guide.
        audit: their audit.
        batch: a few data, ``{"x": (data, ...), ...}``, on the pair's device.
        chains: chains per datum, at least 2.
        draws: draws per chain, after its warm-up; at least 4.
        warmup: warm-up transitions, which are not kept; at least 1.
        max_tree_depth: a trajectory has fewer than 2 to this power steps. A limit before the U-turn
            costs efficiency, not correctness.
        seed: seed of the chains.
        on_draw: called after each transition, including warm-up, for a progress bar.

    Raises:
        InputError: if the programs have no posterior per datum (latents outside the data's plate,
            or no such plate); if a latent is discrete, or its support depends on another latent; if
            p(x, z) is 0 or not finite at all draws of the guide; if a number is too small.
    """
    device, data = batch["x"].device, len(batch["x"])
    check_at_least(1, **{"the number of data": data})
    check_at_least(2, chains=chains)
    check_at_least(4, draws=draws)
    check_at_least(1, warmup=warmup, max_tree_depth=max_tree_depth)

    def sample(
        target: PosteriorTarget, row: int, chain: int, ticks: Iterator[Callable[[], None]]
    ) -> tuple[Tensor, int]:
        noise.at(row, chain + 1)
        start = target.start(row)
        kernel = NUTS(
            potential_fn=lambda values: target.potential(values["z"]),
            max_tree_depth=max_tree_depth,
        )
        return _sample(kernel, start, draws, warmup, lambda: next(ticks, _nothing)())

    parts = []
    with (
        evaluating(pair),
        pyro.validation_enabled(
            False
        ),  # trajectories may reach points where densities are not finite
        Stream.CHAINS.drawn(seed, device) as noise,
        _one_thread(),
    ):
        for row in range(data):
            noise.at(row)
            target = PosteriorTarget(
                pair, audit, {name: t[row : row + 1] for name, t in batch.items()}
            )
            of_guide = target.guide_moments()
            ticks = iter([on_draw] * (chains * (warmup + draws)))
            try:
                sampled = [sample(target, row, chain, ticks) for chain in range(chains)]
            except Unfaithful:  # the graph was wrong; the target no longer has one
                sampled = [sample(target, row, chain, ticks) for chain in range(chains)]
            vectors = torch.stack([drawn for drawn, _ in sampled])
            divergences = torch.tensor([count for _, count in sampled])
            parts.append((*target.columns(vectors), divergences, *of_guide))
        sites = target.sites
    values, log_joint, divergences, *moments = (torch.stack(p) for p in zip(*parts, strict=True))
    return Chains(sites, values, log_joint, divergences, *_statistics(values), *moments)


def _nothing() -> None:
    """No progress for repeated transitions, which were counted before."""


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, since the gradient of one datum is too small to share."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _sample(
    kernel: NUTS, start: Tensor, draws: int, warmup: int, on_draw: Callable[[], None]
) -> tuple[Tensor, int]:
    """A chain of vectors, ``(draws, numbers)``, and its number of divergences."""
    diverged: list[int] = []

    def hook(kernel: NUTS, _values: Any, stage: str, _number: int) -> None:
        if stage == "Sample":
            diverged[:] = kernel.diagnostics()["divergences"]
        on_draw()

    chain = MCMC(
        kernel,
        num_samples=draws,
        warmup_steps=warmup,
        initial_params={"z": start},
        hook_fn=hook,
        disable_progbar=True,
    )
    with torch.enable_grad():
        chain.run()
    return chain.get_samples()["z"].detach(), len(diverged)


def _statistics(values: Tensor) -> tuple[Tensor, ...]:
    """r-hat, effective sample size, and mean and standard deviation, each with its error."""
    import numpy as np
    from arviz_stats.base.array import array_stats

    arviz: Any = array_stats  # which states no types
    draws = values.numpy()
    axes = {"chain_axis": 1, "draw_axis": 2}
    with np.errstate(all="ignore"):  # chains that never moved
        statistics = (
            arviz.rhat(draws, **axes),
            arviz.ess(draws, **axes),
            draws.mean(axis=(1, 2)),
            arviz.mcse(draws, method="mean", **axes),
            draws.reshape(len(draws), -1, draws.shape[-1]).std(axis=1, ddof=1),
            arviz.mcse(draws, method="sd", **axes),
        )
    return tuple(torch.from_numpy(np.asarray(each, dtype=np.float64)) for each in statistics)
