"""Mixed tables from a model: valid levels, in the units and names of the file."""

from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from ppvae.data.columns import Column
from ppvae.data.frame import as_frame
from ppvae.data.scaling import Scaling
from ppvae.diagnostics import subject
from ppvae.models import PerColumn, observe
from ppvae.programs.generation import reconstruct
from ppvae.programs.imputation import impute

COLUMNS = (
    Column("kind", "category", ("a", "b", "c")), Column("mass", "real"), Column("eggs", "count")
)  # fmt: skip
SHARES = torch.tensor([[0.2, 0.15, 0.65], [0.7, 0.25, 0.05]])
"""Levels under either z with equal probability; the mass determines which it was."""


def toy() -> tuple[Any, Any]:
    likelihood = PerColumn((3,), COLUMNS)

    def model(x: Tensor, mask: Tensor | None = None) -> None:
        shift = pyro.param("shift", torch.tensor(0.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            first = (z > 0).float()
            logits = first * SHARES[0].log() + (1 - first) * SHARES[1].log()
            h = torch.cat([logits, 3 * first + shift, 0 * z + 1.0], -1)
            observe(x, likelihood(h), mask)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))

    return model, guide


def test_a_missing_category_is_its_most_probable_level() -> None:
    model, guide = toy()
    x = torch.tensor([[0.0, 6.0, 1.0], [0.0, -3.0, 1.0], [0.0, 0.0, 0.0]])
    mask = torch.tensor([[False, True, True], [False, True, True], [False, False, False]])
    case = subject(model, guide, x, mask=mask, elbo=Trace_ELBO)
    found = impute(*case, samples=4000)
    # The third row is even: by half of each, 0.45, 0.2, 0.35, where the mean number 0.9 says b.
    assert found.x[:, 0].tolist() == [2.0, 0.0, 0.0]
    assert bool((found.draws[..., 0] == found.draws[..., 0].round()).all())
    mean = (SHARES[:, 1] + 2 * SHARES[:, 2])[:, None]
    square = (SHARES[:, 1] + 4 * SHARES[:, 2])[:, None]
    want = (square - mean.square()).sqrt().flatten()
    torch.testing.assert_close(found.scale[:2, 0], want, rtol=0.05, atol=0)


def test_reconstructions_have_levels_and_means() -> None:
    model, guide = toy()
    x = torch.tensor([[0.0, 6.0, 1.0], [1.0, -3.0, 4.0]])
    pair, facts, split = subject(model, guide, x, elbo=Trace_ELBO)
    mean, draw = reconstruct(pair, facts, split.take(torch.arange(2)))
    # Its mean code is 0: the second kind of z.
    torch.testing.assert_close(
        mean, torch.tensor([[0.0, 0.0, float(np.exp(20 * np.tanh(0.05)))]] * 2)
    )
    assert bool((draw[:, [0, 2]] == draw[:, [0, 2]].round()).all())


def test_a_table_has_the_names_levels_and_units_of_the_file() -> None:
    scaling = Scaling("standardized", (0.0, 4000.0, 0.0), (1.0, 800.0, 1.0))
    x = torch.tensor([[2.0, 0.5, 3.0], [0.0, -1.0, 0.0]])
    table = as_frame(x, COLUMNS, scaling)
    assert table.to_dict("list") == {
        "kind": ["c", "a"], "mass": [4400.0, 3200.0], "eggs": [3, 0]
    }  # fmt: skip
    assert str(table["eggs"].dtype) == "Int64"
    holed = as_frame(x, COLUMNS, scaling, mask=x != 0)
    assert holed.isna().to_numpy().tolist() == [[False] * 3, [True, False, True]]
    assert holed["kind"][0] == "c"
    means = as_frame(x + torch.tensor([0.0, 0.0, 0.25]), COLUMNS, scaling)
    assert means["eggs"].tolist() == [3.25, 0.25]
    torch.testing.assert_close(scaling.apply(scaling.undo(x)), x)
    raw = torch.tensor([[2.0, 4195.5, 3.0], [1.0, 3217.3, 40.0]], dtype=torch.float64)
    assert torch.equal(scaling.readable(scaling.apply(raw)), raw)
