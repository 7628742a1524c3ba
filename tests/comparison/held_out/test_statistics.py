"""Differences of runs: paired, with errors over rows and over seeds, and no claims by noise."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ppvae.comparison.held_out.result import OneRun, Row, RunComparison
from ppvae.comparison.held_out.sentence import conclusion, notes
from ppvae.comparison.held_out.statistics import CHANCE, rows_of
from ppvae.diagnostics.shared.estimate import Estimate


def run(log_p: Tensor, seed: int = 0, ess: float = 500.0) -> OneRun:
    estimate = Estimate.of(log_p)
    return OneRun(Path(f"runs/{seed}"), seed, log_p, ess, estimate, estimate, 2.0, 10, 1.0)


def compared(*groups: list[Tensor]) -> tuple[Row, ...]:
    runs = [[run(log_p, seed) for seed, log_p in enumerate(group)] for group in groups]
    names = [chr(ord("a") + i) for i in range(len(groups))]
    return rows_of(runs, names, [{} for _ in groups])


@pytest.fixture
def chance() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def normal(chance: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=chance, dtype=torch.float64)


def test_a_difference_is_of_the_same_data(chance: torch.Generator) -> None:
    """Pairing removes the variation of data: a constant difference of two runs has no error."""
    hardness, noise = 30 * normal(chance, 200), normal(chance, 200)
    best, constant, noisy = compared([hardness], [hardness - 0.5], [hardness - 1 + noise])
    assert (best.name, best.difference.mean, best.difference.error) == ("a", 0.0, 0.0)
    assert constant.difference.mean == pytest.approx(-0.5)
    assert constant.difference.error == pytest.approx(0.0, abs=1e-12)
    assert constant.is_lower
    assert noisy.difference.mean == pytest.approx(float(noise.mean()) - 1)
    assert noisy.difference.error == pytest.approx(float(noise.std()) / 200**0.5)
    assert noisy.difference.seed_error is None
    assert noisy.difference.freedom == pytest.approx(199)
    assert best.log_p.error == pytest.approx(float(hardness.std()) / 200**0.5)


def test_seeds_are_one_row_with_an_error_over_seeds(chance: torch.Generator) -> None:
    hardness = normal(chance, 100)
    shifts = [0.0, 0.3, 0.9]
    seeds, other = compared([hardness + s for s in shifts], [hardness - 5])
    spread = float(torch.tensor(shifts).std()) / 3**0.5
    assert seeds.log_p.mean == pytest.approx(float(hardness.mean()) + 0.4)
    assert seeds.log_p.standard_error == pytest.approx(float(hardness.std()) / 10)
    assert seeds.log_p.seed_error == pytest.approx(spread)
    assert other.difference.mean == pytest.approx(-5.4)
    # Rows contribute no error here, only the three seeds.
    assert other.difference.error == pytest.approx(spread)
    assert other.difference.freedom == pytest.approx(2)


@pytest.mark.slow
def test_noise_is_seldom_called_a_difference(chance: torch.Generator) -> None:
    """Among equal rows one is best by chance, which makes false claims more likely."""
    rounds = 500
    for count in (2, 4):
        wrong = sum(
            any(row.is_lower for row in compared(*([each] for each in normal(chance, count, 50))))
            for _ in range(rounds)
        )
        assert wrong / rounds < CHANCE + 3 * (CHANCE / rounds) ** 0.5
        assert wrong / rounds > CHANCE / 4


def test_the_sentence_claims_nothing_within_noise(chance: torch.Generator) -> None:
    hardness = normal(chance, 100)
    noise = normal(chance, 100)
    near = hardness - 0.05 + 5 * (noise - noise.mean())
    rows = compared([hardness], [near], [hardness - 3 + 0.1 * noise])
    told = conclusion(rows, "test", 100, "held-out log p(x)")
    assert told.startswith("On 100 test rows a has the highest held-out log p(x), ")
    assert "b is not significantly lower, at 0.05 +- 0." in told
    assert "c is 3." in told or "c is 2.9" in told
    assert told.endswith(" lower.")
    assert ". " not in told
    alone = compared([hardness, hardness + 0.1])
    assert "the 2 runs differ by their seed alone, with a standard error of 0.05" in conclusion(
        alone, "test", 100, "held-out log p(x)"
    )
    many = compared([hardness], *([hardness - i] for i in range(1, 8)))
    assert "3 others are 5.00 to 7.00 lower" in conclusion(many, "test", 100, "held-out log p(x)")


def test_what_is_to_be_known_first() -> None:
    x = torch.zeros(5, dtype=torch.float64)
    rows = rows_of([[run(x)], [run(x - 1, ess=2.0)]], ["a", "b"], [{}, {}])
    told = " ".join(notes(rows, 1000, "log p(x)", "density"))
    assert "a lower bound in expectation" in told
    assert "each setting has one seed" in told
    assert "half of the data of b have an effective sample size below 2.0 of 1,000" in told
    assert "data of a have" not in told
    assert "may be above 0" in told
    seeds = rows_of([[run(x), run(x, 1)], [run(x)]], ["a", "b"], [{}, {}])
    assert "one seed" not in " ".join(notes(seeds, 1000, "log p(x)", "probability"))


def test_a_comparison_prints_its_table_and_conclusion(chance: torch.Generator) -> None:
    x = normal(chance, 100)
    rows = compared([x], [x - 100])
    said = conclusion(rows, "test", 100, "log p(x)")
    result = RunComparison(
        rows, "held-out", "test", 100, 50, "log p(x)", "density", said, (), (), Path("c")
    )
    title, header, best, other, sentence = str(result).splitlines()
    assert title == "100 test rows, nats per datum, +- one standard error"
    assert header.split("  ")[-1] == "latents"
    assert best.split() == ["a", *str(rows[0].log_p).split(), "best", *best.split()[-3:]]
    assert f"  {rows[1].difference}  " in other
    assert len(header) == len(best) == len(other)
    assert sentence == said
    assert "tensor" not in repr(rows)
