"""Each prior x likelihood x program x bound is fitted, or refused with the reason."""

import math

import pytest

from ppvae.components.kinds import KINDS
from ppvae.errors import InputError
from tests.support.grid import (
    MARKED,
    PAGE,
    PROGRAMS,
    Cell,
    axes,
    climb,
    covering,
    grid,
    tables,
    verdict,
)
from tests.support.slow import few

WAYS_OUT = ("take", "let the guide draw", "neither can be made first", "has no effect here")


def _fits_or_says_why(cell: Cell) -> None:
    refusal, seen = "", [math.nan]
    try:
        seen = climb(cell)
    except InputError as why:
        refusal = str(why)
    says_why = any(way in refusal for way in WAYS_OUT) and "\n" not in refusal
    assert says_why or all(math.isfinite(value) for value in seen), refusal


@pytest.mark.parametrize("cell", few(covering(2), 14, slow=3), ids=str)
def test_any_two_parts_meet_in_a_fit_or_in_a_sentence(cell: Cell) -> None:
    _fits_or_says_why(cell)


# One test for each program, not for each cell: every worker of pytest lists all tests.
EACH_PROGRAM = pytest.mark.parametrize("program", PROGRAMS, ids="-".join)


@pytest.mark.slow
@EACH_PROGRAM
def test_any_three_parts_meet_in_a_fit_or_in_a_sentence(program: tuple[str, str]) -> None:
    _all_fit_or_say_why([cell for cell in covering(3) if cell.program == program])


@pytest.mark.exhaustive
@EACH_PROGRAM
def test_the_whole_grid(program: tuple[str, str]) -> None:
    _all_fit_or_say_why([cell for cell in grid() if cell.program == program])


def _all_fit_or_say_why(cells: list[Cell]) -> None:
    wrong = {}
    for cell in cells:
        try:
            _fits_or_says_why(cell)
        except Exception as error:  # the other cells are tried after any error
            wrong[str(cell)] = f"{type(error).__name__}: {error}"
    assert cells
    assert not wrong


def test_every_part_that_can_be_chosen_is_in_the_grid() -> None:
    models, guides = {model for model, _ in PROGRAMS}, {guide for _, guide in PROGRAMS}
    assert models == set(KINDS["model"].names())
    assert guides == set(KINDS["guide"].names())
    priors, likelihoods, programs, _ = axes()
    assert {"VampPrior", "FlowPrior"} <= set(priors)
    assert {"Gaussian", "DiscretizedLogistic"} <= set(likelihoods)
    assert len(programs) == len(PROGRAMS)


@pytest.mark.parametrize(
    ("program", "elbo", "sentence"),
    [
        (("VAE", "Delta"), "ImportanceWeightedELBO", "point mass, whose density is infinite"),
        (("VAE", "Delta"), "FreeBitsELBO", "point mass, whose density is infinite"),
        (("VAE", "MeanField"), "TraceEnum_ELBO", "none is .*take Trace_ELBO"),
        (("HierarchicalVAE", "BottomUp"), "TraceMeanField_ELBO", "wrong by nats for such a pair"),
        (("SemiSupervisedVAE", "SemiSupervised"), "Trace_ELBO", "take TraceEnum_ELBO"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    program: tuple[str, str], elbo: str, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        climb(Cell("StandardNormal", "Bernoulli", program, elbo))


@pytest.mark.parametrize(
    ("prior", "guide", "kl"),
    [
        ("StandardNormal", "MeanField", "exact"),
        ("StandardNormal", "FullRank", "exact"),
        ("StandardNormal", "LowRank", "exact"),
        ("LearnedNormal", "FullRank", "exact"),
        ("Laplace", "MeanField", "exact"),
        ("StandardNormal", "Flow", "Monte Carlo"),
        ("VampPrior", "MeanField", "Monte Carlo"),
        ("VampPrior", "Delta", "refused"),
        ("VampPrior", "Flow", "refused"),
    ],
)
def test_a_kl_is_exact_where_there_is_a_closed_form(prior: str, guide: str, kl: str) -> None:
    assert verdict(Cell(prior, "Bernoulli", ("VAE", guide), "TraceMeanField_ELBO")) == kl


@pytest.mark.slow
def test_the_page_of_parts_has_the_tables_of_what_works() -> None:
    found = MARKED.search(PAGE.read_text())
    assert found is not None
    written = found[0].removeprefix(found[1]).removesuffix(found[2])
    assert written == f"{tables()}\n", "run: python -m tests.support.grid"
