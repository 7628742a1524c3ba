"""Rows scored independently: exact if log p(x) is known, and unaffected by other rows."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from ppvae.data import Split, as_split
from ppvae.diagnostics import embed, log_evidence, subject
from ppvae.diagnostics.evidence.rows_apart import loc_apart, log_p_apart
from ppvae.errors import InputError
from ppvae.guides import Delta, Flow, FullRank, LowRank, MeanField, Mixture, SemiAmortized
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.networks import MLP
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from ppvae.programs.streams import restored, seed_process
from tests.support.pca import pca
from tests.support.slow import few

SMALL = partial(MLP, hidden=(8,))
X = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
GUIDES: dict[str, Callable[[VAE], Any]] = {
    "MeanField": lambda _: MeanField(2, (3,), SMALL),
    "FullRank": lambda _: FullRank(2, (3,), SMALL),
    "LowRank": lambda _: LowRank(2, (3,), SMALL),
    "Flow": lambda _: Flow(2, (3,), SMALL, hidden=(8,)),
    "Mixture": lambda _: Mixture(2, (3,), SMALL),  # its draws depend on the row: no vmap
    "SemiAmortized": lambda model: SemiAmortized(2, (3,), model, SMALL),
}


def fitted(guide: Callable[[VAE], Any]) -> tuple[Pair, Audit, Split]:
    """A pair at some weights, in double precision."""
    with restored():
        seed_process(1)
        model = VAE(StandardNormal(2), Gaussian((3,)), SMALL)
        of = guide(model)
        return subject(model.double(), of.double(), X)


@pytest.mark.parametrize("name", few(GUIDES, 3))
def test_a_row_has_the_score_and_the_code_that_it_has_alone(name: str) -> None:
    pair, facts, rows = fitted(GUIDES[name])
    scores, codes = log_p_apart(pair, facts, rows, samples=20), loc_apart(pair, facts, rows)
    assert scores.shape == (7,)
    assert codes.shape == (7, 2)
    for row in range(7):
        one = as_split(X[row : row + 1])
        torch.testing.assert_close(log_p_apart(pair, facts, one, samples=20), scores[[row]])
        torch.testing.assert_close(loc_apart(pair, facts, one), codes[[row]])
    turned = as_split(X.flip(0))
    torch.testing.assert_close(log_p_apart(pair, facts, turned, samples=20), scores.flip(0))


@pytest.mark.parametrize("name", ["MeanField", "Flow"])
def test_rows_at_once_have_the_draws_of_rows_one_by_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, facts, rows = fitted(GUIDES[name])
    at_once = log_p_apart(pair, facts, rows, samples=20, seed=3)

    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no map")

    monkeypatch.setattr(torch, "vmap", refuse)
    torch.testing.assert_close(log_p_apart(pair, facts, rows, samples=20, seed=3), at_once)


def test_a_map_that_computes_something_else_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair, facts, rows = fitted(GUIDES["MeanField"])
    right = log_p_apart(pair, facts, rows, samples=20)
    monkeypatch.setattr(torch, "vmap", lambda *_, **__: lambda batch: 0 * batch["x"][:, 0].double())
    torch.testing.assert_close(log_p_apart(pair, facts, rows, samples=20), right)


def test_under_the_posterior_itself_each_number_of_draws_gives_log_p_exactly() -> None:
    known = pca()
    for samples in (1, 7):
        found = log_p_apart(known.pair, known.facts, known.rows, samples=samples)
        torch.testing.assert_close(found, known.log_p)
    found = loc_apart(known.pair, known.facts, known.rows)
    torch.testing.assert_close(found, known.posterior_loc)


def test_under_a_wider_guide_it_comes_as_near_as_independent_draws() -> None:
    known = pca(widen=1.3)
    found = log_p_apart(known.pair, known.facts, known.rows, samples=4000)
    apart = log_evidence(known.pair, known.facts, known.rows, samples=4000)
    assert ((found - known.log_p).abs() < 5 * apart.error + 1e-9).all()


def test_chunks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pair, facts, rows = fitted(GUIDES["MeanField"])
    whole = log_p_apart(pair, facts, rows, samples=20)
    monkeypatch.setattr("ppvae.diagnostics.evidence.rows_apart.CHUNK", 120)  # two rows at a time
    torch.testing.assert_close(log_p_apart(pair, facts, rows, samples=20), whole)


def test_codes_are_those_of_the_embedding() -> None:
    pair, facts, rows = fitted(GUIDES["FullRank"])
    torch.testing.assert_close(loc_apart(pair, facts, rows), embed(pair, facts, rows).joined())


def test_generators_stay_as_they_were() -> None:
    pair, facts, rows = fitted(GUIDES["Flow"])
    before = torch.get_rng_state()
    log_p_apart(pair, facts, rows, samples=3)
    loc_apart(pair, facts, rows)
    assert torch.equal(before, torch.get_rng_state())


def test_a_point_mass_has_no_scores() -> None:
    pair, facts, rows = fitted(lambda _: Delta(2, (3,), SMALL))
    with pytest.raises(InputError, match="point mass"):
        log_p_apart(pair, facts, rows, samples=3)
