"""Do two clouds of points lie in the same places? By the neighbours of each point.

Of samples beside data: are they like the data (density), and is there one beside each datum
(coverage)? Of codes beside draws from the prior: how much of the prior has a code near (coverage),
and how much is holes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.errors import InputError

NEIGHBOURS = 5


class Overlap(NamedTuple):
    """How one cloud lies over another: about 1 and `expected_coverage` if both are of one law.

    Attributes:
        density: how many balls of the reference a point is in, over what it would be if both were
            of one law: 0 far away, and in many dimensions above 1 for what is nearer to the middle
            than the reference is, as blurred images are. Its standard error is that of the points,
            with the balls as they are.
        coverage: the share of the reference's points in whose ball there is a point, with its
            standard error.
        expected_coverage: what coverage is in expectation if both clouds are of one law.
    """

    density: Estimate
    coverage: Estimate
    expected_coverage: float


def overlap(reference: Tensor, points: Tensor, neighbours: int = NEIGHBOURS) -> Overlap:
    """Density and coverage of ``points`` over ``reference`` (Naeem et al., 2020).

    The ball of a reference point r_i has the distance to its k-th nearest neighbour among the
    others for a radius. With N of them and M points p_j::

        density  = 1 / (k M) sum_j #{i: p_j in ball_i},
        coverage = 1 / N     #{i: some p_j in ball_i}.

    Of two clouds of one continuous law, density is 1 and coverage
    1 - (N-1) ... (N-k) / ((M+N-1) ... (M+N-k)) in expectation. Distances are Euclidean: of images
    they are those of pixels.

    Args:
        reference: ``(N, ...)``, flattened: data, or draws from a prior.
        points: ``(M, ...)``: samples, or codes.
        neighbours: k.

    Raises:
        InputError: for fewer than k + 1 reference points, no points, or points of another size.
    """
    real, made = reference.detach().flatten(1).double(), points.detach().flatten(1).double()
    n, m, k = len(real), len(made), neighbours
    if not 1 <= k < n:
        raise InputError(
            f"neighbours is {k}; it must be at least 1, and below the {n} points of the reference"
        )
    if not m or real.shape[1] != made.shape[1]:
        raise InputError(
            f"points are {tuple(made.shape)} and the reference {tuple(real.shape)}; give some "
            "points, of as many numbers each"
        )
    # The nearest of all is the point itself.
    radius = _distances(real, real).kthvalue(k + 1, dim=1).values
    inside = _distances(real, made) <= radius[:, None]
    missed = 1.0
    for i in range(1, k + 1):
        missed *= (n - i) / (m + n - i)
    return Overlap(
        Estimate.of(inside.double().sum(0) / k), Estimate.of(inside.any(1).double()), 1 - missed
    )


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """By differences: by products, near points lose their digits."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
