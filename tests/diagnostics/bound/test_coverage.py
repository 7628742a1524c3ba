"""Density and coverage of two clouds: by hand, in expectation, and far apart."""

import math

import pytest
import torch

from ppvae.diagnostics import overlap
from ppvae.errors import InputError


def test_balls_are_counted_as_by_hand() -> None:
    reference = torch.tensor([[0.0], [1.0], [3.0], [7.0]])  # radii 1, 1, 2, 4 for one neighbour
    points = torch.tensor([[0.5], [1.5], [100.0]])  # in two balls, in two (of 1 and of 3), in none
    found = overlap(reference, points, neighbours=1)
    assert found.density.mean == pytest.approx(4 / 3)
    assert found.coverage.mean == pytest.approx(3 / 4)
    assert found.expected_coverage == pytest.approx(1 - 3 / 6)


def test_a_ball_reaches_to_the_kth_neighbour_that_is_not_its_centre() -> None:
    reference = torch.tensor([[0.0], [1.0], [3.0]])  # radii 3, 2, 3 for two neighbours
    found = overlap(reference, torch.tensor([[2.5], [-2.0]]), neighbours=2)
    assert found.density.mean == pytest.approx((3 + 1) / 2 / 2)
    assert found.coverage.mean == 1.0


@pytest.mark.parametrize("neighbours", [1, 5])
@pytest.mark.parametrize(("n", "m"), [(60, 60), (40, 90)])
def test_clouds_of_one_law_have_the_density_and_coverage_that_are_expected(
    neighbours: int, n: int, m: int
) -> None:
    torch.manual_seed(0)
    found = [
        overlap(torch.randn(n, 3).exp(), torch.randn(m, 3).exp(), neighbours) for _ in range(200)
    ]
    for values, expected in (
        ([f.density.mean for f in found], 1.0),
        ([f.coverage.mean for f in found], found[0].expected_coverage),
    ):
        drawn = torch.tensor(values)
        error = float(drawn.std()) / math.sqrt(len(drawn))
        assert abs(float(drawn.mean()) - expected) < 5 * error


def test_samples_of_one_mode_cover_its_share() -> None:
    torch.manual_seed(0)
    left = torch.randn(900, 2) * 0.1 - 5
    right = torch.randn(300, 2) * 0.1 + 5
    both = torch.cat([left, right])
    assert 0.7 < overlap(both, torch.randn(1200, 2) * 0.1 - 5).coverage.mean <= 0.75
    assert overlap(both, torch.randn(1200, 2) * 0.05 - 5).coverage.mean < 0.6
    assert overlap(left, right)[:2] == overlap(left, right + 7.0)[:2]
    assert overlap(left, right).density.mean == overlap(left, right).coverage.mean == 0


def test_points_too_near_the_middle_are_too_dense() -> None:
    torch.manual_seed(0)
    assert overlap(torch.randn(300, 30), torch.randn(300, 30) * 0.7).density.mean > 3


def test_it_is_the_same_for_images_and_in_any_unit() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(50, 1, 4, 4), torch.randn(60, 1, 4, 4)
    assert overlap(a, b) == overlap(a.flatten(1), b.flatten(1))
    assert overlap(8 * a, 8 * b) == overlap(a, b)


@pytest.mark.parametrize(
    ("reference", "points", "neighbours", "words"),
    [
        ((5, 2), (9, 2), 5, "neighbours is 5.*below the 5 points"),
        ((5, 2), (9, 2), 0, "neighbours is 0"),
        ((9, 2), (0, 2), 3, "give at least one point"),
        ((9, 2), (9, 3), 3, r"\(9, 3\).*\(9, 2\)"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    reference: tuple[int, ...], points: tuple[int, ...], neighbours: int, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        overlap(torch.zeros(reference), torch.zeros(points), neighbours)
