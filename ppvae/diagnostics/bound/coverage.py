"""Density and coverage: the overlap of two clouds of points, by nearest neighbours.

For samples and data: are samples like the data (density), and does each datum have a sample nearby
(coverage)? For codes and draws from the prior: which share of the prior has codes nearby
(coverage), and which is holes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.errors import InputError

NEIGHBOURS = 5


class Overlap(NamedTuple):
    """Overlap of two clouds: about 1 and `expected_coverage` if both have the same distribution.

    Attributes:
        density: mean number of balls of the reference that contain a point, relative to its
            expectation for equal distributions: 0 far away, and in many dimensions above 1 for
            points closer to the middle than the reference, such as blurred images. Its standard
            error is over the points, with fixed balls.
        coverage: the share of reference points whose ball contains a point, with its standard
            error.
        expected_coverage: expectation of the coverage if both clouds have the same distribution.
    """

    density: Estimate
    coverage: Estimate
    expected_coverage: float


def overlap(reference: Tensor, points: Tensor, neighbours: int = NEIGHBOURS) -> Overlap:
    """Density and coverage of ``points`` over ``reference`` (Naeem et al., 2020).

    The radius of the ball of a reference point r_i is the distance to its k-th nearest neighbour
    among the others. With N of them and M points p_j::

        density  = 1 / (k M) sum_j #{i: p_j in ball_i},
        coverage = 1 / N     #{i: some p_j in ball_i}.

    For two clouds of the same continuous distribution, density is 1 and coverage 1 - (N-1) ...
    (N-k) / ((M+N-1) ... (M+N-k)) in expectation. Distances are Euclidean; for images, over pixels.

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
            f"points are {tuple(made.shape)} and the reference {tuple(real.shape)}; give at least "
            "one point, with as many numbers as a reference point"
        )
    # The nearest one is the point itself.
    radius = _distances(real, real).kthvalue(k + 1, dim=1).values
    inside = _distances(real, made) <= radius[:, None]
    missed = 1.0
    for i in range(1, k + 1):
        missed *= (n - i) / (m + n - i)
    return Overlap(
        Estimate.of(inside.double().sum(0) / k), Estimate.of(inside.any(1).double()), 1 - missed
    )


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Pairwise distances by differences; by products, close points would lose precision."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
