"""Missing entries: whatever stands there, bounds, gradients and evidence are the same."""

from typing import Any

import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch import Tensor, nn

from ppvae.bounds import ELBOS
from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.diagnostics import log_evidence
from ppvae.guides import (
    ExactPosterior,
)
from ppvae.programs import Pair, named_arguments
from tests.support.missing import (
    COLUMNS,
    PROGRAMS,
    ROWS,
    SIGMAS,
    Batch,
    asked,
    every_program,
    holes,
    on_a_grid,
    programs,
)
from tests.support.slow import few

BOUNDS = [
    (name, elbo)
    for name in PROGRAMS
    for elbo in ELBOS
    if (elbo is TraceEnum_ELBO) == (name == "SemiSupervisedVAE")
]
every_bound = pytest.mark.parametrize(
    ("name", "elbo"), few(BOUNDS, 2), ids=[f"{name}-{elbo.__name__}" for name, elbo in BOUNDS]
)


class ShownZeros(nn.Module):
    """A guide that gets zeros at unobserved entries, as from a split."""

    def __init__(self, guide: nn.Module) -> None:
        super().__init__()
        self.guide = guide

    def forward(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Any:
        extras = {"y": y, "mask": mask}
        named = {name: extras[name] for name in named_arguments(self.guide) & extras.keys()}
        return self.guide(x if mask is None else x.where(mask, 0), **named)


def climbed(bound: Bound, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
    """All terms of a bound, and the gradient of its objective, with the same draws each time."""
    weights = list(bound.pair.parameters())
    torch.manual_seed(0)
    terms = bound(batch, 0.7)
    slopes = torch.autograd.grad(
        terms.objective, weights, allow_unused=True, materialize_grads=True
    )
    return torch.stack(tuple(terms)).detach(), slopes


@every_bound
def test_what_stands_at_missing_entries_changes_nothing(name: str, elbo: Any) -> None:
    model, guide, batch = programs(name)
    mask = holes()
    # The exact posterior ignores missing entries by itself.
    shown = guide if isinstance(guide, ExactPosterior) else ShownZeros(guide)
    pair = Pair(model, shown, batch | {"mask": mask})
    bound = Bound(pair, elbo, audit(pair, elbo, batch | {"mask": mask}), particles=2)
    found = [
        climbed(bound, batch | {"x": torch.where(mask, batch["x"], filler), "mask": mask})
        for filler in (0.0, 123.4, torch.nan)
    ]
    terms, slopes = found[0]
    assert bool(terms.isfinite().all())
    assert any(bool((slope != 0).any()) for slope in slopes)
    for other_terms, other_slopes in found[1:]:
        torch.testing.assert_close(other_terms, terms, rtol=0, atol=0)
        torch.testing.assert_close(other_slopes, slopes, rtol=0, atol=0)
    whole, _ = climbed(bound, batch | {"mask": torch.ones_like(mask)})
    assert bool((whole[:3] != terms[:3]).all())  # so that the mask has an effect


@every_bound
def test_a_mask_that_hides_nothing_changes_nothing(name: str, elbo: Any) -> None:
    model, guide, batch = programs(name)
    whole = batch | {"mask": torch.ones(ROWS, COLUMNS, dtype=torch.bool)}
    pair = Pair(model, guide, whole)
    bound = Bound(pair, elbo, audit(pair, elbo, whole), particles=2)
    torch.testing.assert_close(climbed(bound, whole), climbed(bound, batch))


@every_program
def test_a_column_that_is_never_observed_teaches_nothing(name: str) -> None:
    model, guide, batch = programs(name)
    mask = holes()
    mask[:, -1] = False
    elbo = TraceEnum_ELBO if name == "SemiSupervisedVAE" else Trace_ELBO
    pair = Pair(model, guide, batch | {"mask": mask})
    bound = Bound(pair, elbo, audit(pair, elbo, batch | {"mask": mask}))
    bound(batch | {"mask": mask}).objective.backward()
    if name.startswith("LinearGaussian"):
        said = model.loc.grad
    else:
        *_, last = model.decoder.parameters()
        said = last.grad
    assert bool((said[:-1] != 0).all())
    assert float(said[-1]) == 0


@every_program
def test_the_evidence_is_that_of_what_was_observed(name: str) -> None:
    found, want = log_evidence(*asked(name), samples=4000), on_a_grid(name)["log_p"]
    off = (found.log_p - want).abs()
    assert bool((off <= SIGMAS * found.error + 1e-4).all())
    assert float(found.error.max()) < 0.15
    if name != "SemiSupervisedVAE":
        assert float(want[0]) == pytest.approx(0, abs=1e-6)  # nothing has the probability 1
