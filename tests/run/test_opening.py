"""A fit returns the programs that it fitted, and a run opens with equal ones."""

import subprocess
import sys
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any, override

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoLowRankMultivariateNormal, AutoNormal
from pyro.nn import PyroModule, PyroSample
from torch import Tensor, nn

from ppvae import load
from ppvae.data import from_arrays
from ppvae.encode import encode
from ppvae.errors import InputError
from tests.support.fits import quick, small
from tests.support.slow import few
from tests.support.toys import Guide, Model, rows, toy

__all__ = ["quick"]  # a fixture, used by every test here

PARTS: dict[str, Any] = {"likelihood": ..., "decoder": ..., "encoder": ..., "latent_dim": 2}


class ByTotal(Guide):
    """Divides by the total of a row, which must not be 0."""

    @override
    def posterior(self, x: Tensor) -> Any:
        return super().posterior(x / x.norm(dim=-1, keepdim=True))


class NewTensors(Guide):
    """Multiplies its parameters by new tensors."""

    @override
    def posterior(self, x: Tensor) -> Any:
        return super().posterior(x @ torch.eye(4) + torch.zeros(4))


class Lazy(Guide):
    """Creates its network in the first call."""

    def __init__(self) -> None:
        super().__init__()
        self.net = None

    @override
    def posterior(self, x: Tensor) -> Any:
        if self.net is None:
            self.net = nn.Linear(x.shape[-1], 4)
        return super().posterior(x)


class Sized(Model):
    """Has a plate of seven parts."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(7, 1))

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(self.net(z), 0.5).to_event(1), obs=x)
            with pyro.plate("parts", 7, dim=-2):
                pyro.sample("part", dist.Normal(self.loc, 1.0), obs=torch.zeros(7, len(x)))


class Paired(Guide):
    """Reads rows in pairs."""

    @override
    def posterior(self, x: Tensor) -> Any:
        pairs = x.reshape(-1, 2, 4)
        return super().posterior(pairs.flatten(0, 1))


@pytest.mark.parametrize(
    ("model", "guide", "settings"),
    [
        (Model, ByTotal, {}),
        (Model, NewTensors, {"precision": "64"}),
        (Model, Lazy, {}),
        (Sized, Guide, {"elbo": "Trace_ELBO"}),
        (Model, Paired, {}),
    ],
    ids=["divides by the total", "new tensors in double", "made in the call", "seven", "in pairs"],
)
def test_a_run_holds_what_was_fitted_and_opens_on_rows_of_its_data(
    model: type[Model], guide: type[Guide], settings: Any, tmp_path: Path
) -> None:
    p, q = model(), guide()
    run = small(tmp_path, data=rows(100), model=p, guide=q, epochs=1, **PARTS, **settings)
    assert (run.model, run.guide) == (p, q)
    assert isfinite((run.summary or {})["elbo"])
    example = run.example()["x"]
    assert torch.equal(example, rows(100).train.take(torch.arange(32))["x"])
    again = load(run.path, model=model(), guide=guide())
    assert again.audit.sites == run.audit.sites
    for name, value in run.pair.state_dict().items():
        assert torch.equal(again.pair.state_dict()[name], value), name
    split = rows(100).test
    one, other = (encode(r, split, out=tmp_path / f"{i}.npz") for i, r in enumerate((run, again)))
    assert np.array_equal(one["loc"], other["loc"])
    assert np.array_equal(one["log_p"], other["log_p"])


def test_a_default_type_of_double_is_fitted_and_put_back(tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        run = small(tmp_path, data=rows(), model=Model(), guide=NewTensors(), epochs=1, **PARTS)
        assert isfinite((run.summary or {})["log_p"]["mean"])
        assert small(tmp_path, "own", epochs=1).summary is not None
        assert torch.get_default_dtype() == torch.float64
        assert load(run.path, model=Model(), guide=NewTensors()).pair.dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


class Bayesian(PyroModule):
    """Weights of the decoder are latents too."""

    def __init__(self) -> None:
        super().__init__()
        linear: Any = PyroModule[nn.Linear]
        self.net = linear(2, 4)
        self.net.weight = PyroSample(dist.Normal(0.0, 1.0).expand([4, 2]).to_event(2))
        self.net.bias = PyroSample(dist.Normal(0.0, 1.0).expand([4]).to_event(1))

    @override
    def forward(self, x: Tensor) -> None:
        weight, bias = self.net.weight, self.net.bias
        with pyro.plate("data", 72, subsample=torch.arange(len(x))):
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(z @ weight.mT + bias, 0.5).to_event(1), obs=x)


class Both(PyroModule):
    """An AutoGuide for the weights, and an encoder for z."""

    def __init__(self, model: Bayesian, kind: Callable[[Any], Any]) -> None:
        super().__init__()
        self.net = nn.Linear(4, 4)
        self.weights = kind(poutine.block(model, hide=["z", "x", "data"]))

    @override
    def forward(self, x: Tensor) -> None:
        self.weights(x)
        with pyro.plate("data", 72, subsample=torch.arange(len(x))):
            loc, log_scale = self.net(x).split(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


@pytest.mark.parametrize("kind", few([AutoNormal, AutoLowRankMultivariateNormal], 2))
def test_a_guide_of_pyros_for_weights_is_fitted_and_opened(kind: Any, tmp_path: Path) -> None:
    model = Bayesian()
    run = small(tmp_path, data=rows(), model=model, guide=Both(model, kind), epochs=1, **PARTS)
    assert run.audit.is_bound
    assert not any("counted once" in note for note in run.audit.notes)
    assert isfinite((run.summary or {})["elbo"])
    fresh = Bayesian()
    again = load(run.path, model=fresh, guide=Both(fresh, kind))
    assert again.pair.state_dict().keys() == run.pair.state_dict().keys()


MODULE = '''
import pyro, pyro.distributions as dist, torch
from torch import nn
from tests.support.toys import Guide, Model

class Lazy(Guide):
    def __init__(self):
        super().__init__()
        self.net = None
    def posterior(self, x):
        if self.net is None:
            self.net = nn.Linear(x.shape[-1], 4)
        return super().posterior(x / x.sum(-1, keepdim=True))

SEEN = []

class Fickle(Guide):
    """Another size whenever it is made."""
    def __init__(self):
        super().__init__()
        SEEN.append(0)
        self.more = nn.Parameter(torch.zeros(len(SEEN)))
'''


MODEL = "tests.support.toys.Model"


@pytest.fixture
def by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of programs that a fit is given by name."""
    (tmp_path / "byname.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("byname", None)
    return "byname"


@pytest.mark.slow
def test_a_run_by_names_opens_in_another_process(by_name: str, tmp_path: Path) -> None:
    run = small(
        tmp_path, data=from_arrays(np.abs(toy()) + 0.1), model=MODEL, guide="byname.Lazy",
        epochs=1, **PARTS,
    )  # fmt: skip
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(Path(__file__).parents[2])!r}]\n"
        f"import ppvae; run = ppvae.load({str(run.path)!r}, trust=['byname', 'tests'])\n"
        "print(run.guide(run.example()['x']), float(run.guide.net.weight.detach().sum()))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    guide: Any = run.guide
    assert float(done.stdout.split()[-1]) == pytest.approx(
        float(guide.net.weight.detach().sum()), rel=1e-6
    )


def test_what_could_not_be_opened_is_refused_before_the_first_step(
    by_name: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"guide\.more.* built a second time"):
        small(
            tmp_path, data=rows(), model="tests.support.toys.Model", guide="byname.Fickle", **PARTS
        )
    assert not (tmp_path / "run").exists()
