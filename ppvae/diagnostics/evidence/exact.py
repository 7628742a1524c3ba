"""Exact log p(x) of linear Gaussian programs, for which Laplace's method is exact.

There log p(x, z) is a quadratic function of z, the concatenated latents of a datum, so its gradient
and Hessian at any point determine it: the posterior is N(z*, H^-1), with H minus the Hessian and z*
one Newton step away, and log p(x) = log p(x, z*) + (k log 2 pi - log |H|) / 2 (Tipping and Bishop,
1999, for probabilistic PCA). Whether it is quadratic is tested numerically, near and far.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyro
import torch
from torch import Tensor

from ppvae.data import Batch, Split
from ppvae.programs import Pair, evaluating
from ppvae.programs.densities import Densities
from ppvae.programs.facts import Audit
from ppvae.programs.streams import Stream

NORMAL = frozenset({"Normal", "MultivariateNormal", "LowRankMultivariateNormal"})
"""Families whose log-density is a quadratic function of the value and of the mean."""

NEAR = (0.3, 1.0, 3.0)
"""Distances from the mode, in posterior standard deviations, at which the quadratic is tested."""

FAR = (1.0, 10.0, 100.0)
"""Multiples of draws from the prior at which it is tested: a function with little curvature there
is quadratic near the posterior.
"""


@dataclass(frozen=True)
class GaussianPosterior:
    """log p(x) and p(z | x) = N(loc, covariance) of each datum, in closed form; all in float64.

    They are exact up to the precision of the pair; the closed form is evaluated in float64.

    Attributes:
        log_p: log p(x), in nats: ``(data,)``.
        loc: posterior means of the concatenated latents: ``(data, k)``.
        covariance: posterior covariances, ``(data, k, k)``.
        sites: the columns of each latent site, in the order of the model.
    """

    log_p: Tensor
    loc: Tensor
    covariance: Tensor
    sites: Mapping[str, slice]

    @property
    def mean(self) -> float:
        """Mean of ``log_p`` over data, in nats per datum."""
        return float(self.log_p.mean())


def exact_posterior(
    pair: Pair,
    audit: Audit,
    split: Split,
    *,
    batch_size: int = 128,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
) -> GaussianPosterior | None:
    """The posterior and the evidence of a linear-Gaussian program; ``None`` for any other.

    A program is linear Gaussian if every site is normal and log p(x, z) of every datum agrees with
    one quadratic function of z at random points from near the posterior to a hundred times the
    scale of the prior. The tolerance is the square root of the rounding unit, relative to the terms
    compared (1.5e-8 in float64, 3.5e-4 in float32). Networks are evaluated in the precision of the
    pair: a copy in double precision would miss modules that a program refers to but does not own.
    For more digits, give a pair with float64 parameters.

    A batch of n data with k latent dimensions takes k second derivatives of n values, and the
    result holds k^2 numbers per datum.

    Args:
        pair: model and guide; the guide is not run.
        audit: their audit.
        split: the data.
        batch_size: data at a time.
        seed: of the points at which the quadratic is tried; the answer does not depend on it.
        device: where the pair is.
        on_rows: called with the number of data in each batch, for a progress bar.

    Raises:
        InputError: if there is no log p(x) of a datum, as `Densities` finds.
    """
    if not _may_be(audit):
        return None
    device = torch.device(device)
    parts: list[GaussianPosterior] = []
    # Far out a nonlinear program may leave the domain of its distributions: this is not an error,
    # but means that it is not linear.
    stream = Stream.EXACT_POSTERIOR.drawn(seed, device)
    with evaluating(pair), stream as noise, pyro.validation_enabled(False):
        for number, batch in enumerate(split.chunks(batch_size, device)):
            noise.at(number)
            laplace = _laplace(_Joint(pair, audit, batch))
            if laplace is None:
                return None
            parts.append(laplace)
            on_rows(len(laplace.log_p))
    return GaussianPosterior(
        torch.cat([each.log_p for each in parts]),
        torch.cat([each.loc for each in parts]),
        torch.cat([each.covariance for each in parts]),
        parts[0].sites,
    )


def _may_be(audit: Audit) -> bool:
    """Whether the families of the sites, and factors of their densities, allow a closed form."""
    scales = [site.scale for site in audit.sites]
    # A subsampled plate multiplies all sites alike, and `Densities` undoes it; with any other
    # factor the integral is not p(x).
    is_density = all(math.isclose(s, scales[0], rel_tol=1e-6) for s in scales) and (
        audit.data_size is not None or math.isclose(scales[0], 1.0, rel_tol=1e-6)
    )
    return is_density and all(site.model in NORMAL for site in audit.sites)


class _Joint:
    """log p(x, z) of a batch as a function of z as ``(points, data, k)``."""

    def __init__(self, pair: Pair, audit: Audit, batch: Batch) -> None:
        self._densities = Densities(pair, audit, batch)
        self._like = self._densities.draw_prior(1).latents
        self.sites: dict[str, slice] = {}
        start = 0
        for name in audit.latents:
            size = self._densities.columns(name, self._like[name]).shape[-1]
            self.sites[name] = slice(start, start + size)
            start += size

    def prior(self, points: int) -> Tensor:
        """Draws from p(z), as columns: ``(points, data, k)``."""
        z = self._densities.draw_prior(points).latents
        return torch.cat([self._densities.columns(n, z[n]) for n in self.sites], dim=-1)

    def __call__(self, z: Tensor) -> Tensor:
        """Log p(x, z), ``(points, data)``."""
        latents = {
            name: self._densities.uncolumns(name, z[..., columns], self._like[name])
            for name, columns in self.sites.items()
        }
        return self._densities.at(latents, guide=False).log_joint


def _laplace(joint: _Joint) -> GaussianPosterior | None:
    """Laplace's method on one batch; ``None`` if it would be an approximation."""
    prior = joint.prior(len(FAR))
    if not _has_no_third_difference(joint, prior[-1]):
        return None
    gradient, hessian = _derivatives(joint, torch.zeros_like(prior[:1]))
    precision = -_wide(hessian)
    root, failed = torch.linalg.cholesky_ex((precision + precision.mT) / 2)
    if bool(failed.any()) or not bool(root.isfinite().all()):
        return None
    loc = _solve(root, gradient).to(prior)
    # A gradient far from the mode is a difference of large numbers: a second Newton step, near the
    # mode, corrects the rounding errors of the first.
    gradient, _ = _derivatives(joint, loc[None], second=False)
    peak = _wide(joint(loc[None]))[0]
    exact_loc = _wide(loc) + _solve(root, gradient)
    if not _is_quadratic(joint, prior, exact_loc, root, peak):
        return None
    log_det = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_p = peak + 0.5 * (loc.shape[-1] * math.log(2 * math.pi) - log_det)
    return GaussianPosterior(log_p, exact_loc, torch.cholesky_inverse(root), joint.sites)


def _has_no_third_difference(joint: _Joint, direction: Tensor) -> bool:
    """Whether log p(x, z) may be quadratic on one long line through 0; a cheap first test.

    It needs no derivatives, of which a decoder may have only the first.
    """
    steps = torch.tensor([-3.0, -1.0, 1.0, 3.0]).to(direction)[:, None, None]
    values = _wide(joint(max(FAR) / 3 * steps * direction))
    third = values[3] - 3 * values[2] + 3 * values[1] - values[0]
    return bool((third.abs() <= _tolerance(direction) * (1 + values.abs().amax(0))).all())


def _derivatives(joint: _Joint, z: Tensor, *, second: bool = True) -> tuple[Tensor, Tensor]:
    """Gradient ``(data, k)`` and Hessian ``(data, k, k)`` of log p(x, z) at one point per datum.

    Data are independent, so the derivatives of the sum over data are those of each datum.
    """
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(joint(z).sum(), z, create_graph=second)
        rows = [
            torch.autograd.grad(
                gradient[..., i].sum(), z, retain_graph=True, materialize_grads=True
            )[0][0]
            for i in range(z.shape[-1] if second else 0)
        ]
    return gradient[0].detach(), torch.stack(rows, dim=-2) if second else torch.empty(0)


def _is_quadratic(joint: _Joint, prior: Tensor, loc: Tensor, root: Tensor, peak: Tensor) -> bool:
    """Whether log p(x, z) = peak - (z - loc)' H (z - loc) / 2 at all test points."""
    noise = torch.randn(len(NEAR), *loc.shape, dtype=torch.float64)
    steps = torch.linalg.solve_triangular(root.mT, noise[..., None], upper=True)[..., 0]
    near = loc + torch.tensor(NEAR, dtype=torch.float64)[:, None, None] * steps
    far = torch.tensor(FAR, dtype=torch.float64)[:, None, None] * _wide(prior)
    points = torch.cat([near, far]).to(prior)
    fall = 0.5 * ((_wide(points) - loc)[..., None, :] @ root)[..., 0, :].square().sum(-1)
    off = (_wide(joint(points)) - (peak - fall)).abs()
    return bool((off <= _tolerance(prior) * (1 + peak.abs() + fall)).all())  # false for a NaN


def _tolerance(like: Tensor) -> float:
    """Tolerance far above rounding in this precision, and far below effects of nonlinearity."""
    return math.sqrt(torch.finfo(like.dtype).eps)


def _solve(root: Tensor, gradient: Tensor) -> Tensor:
    """H^-1 gradient, ``(data, k)``, where ``root`` is the Cholesky factor of H."""
    return torch.cholesky_solve(_wide(gradient)[..., None], root)[..., 0]


def _wide(tensor: Tensor) -> Tensor:
    """In float64 on the CPU: Metal has no float64, and k x k matrices are small."""
    return tensor.detach().cpu().double()
