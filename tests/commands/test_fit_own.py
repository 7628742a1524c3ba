"""Fits of user-defined programs and parts, given as objects and by import path."""

import sys
from enum import IntEnum
from functools import partial
from pathlib import Path
from types import MethodType
from typing import Any, cast

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import yaml
from pyro.infer import Trace_ELBO
from torch.optim.lr_scheduler import StepLR

import ppvae
from ppvae.components.building import build_programs
from ppvae.components.spec import Spec
from ppvae.errors import InputError
from ppvae.fit import main
from ppvae.models.likelihoods import Gaussian, PerColumn
from ppvae.models.priors import MixtureOfNormals, StudentT
from ppvae.networks import MLP
from ppvae.run import Run
from ppvae.settings import Settings
from ppvae.training.chosen_parts import chosen_parts, is_per_column, part_of
from tests.support.fits import differences, figures, quick, small, small_flags, weights

__all__ = ["quick"]  # a fixture, used by every test here


USER_MODULE = '''
import pyro
import pyro.distributions as dist
import torch
from torch import nn

from ppvae.models import Prior

enc = nn.Linear(3, 3)
dec = nn.Linear(3, 3)


def model(x):
    """Two latents, by names of their own."""
    with pyro.plate("rows", len(x)):
        u = pyro.sample("u", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        v = pyro.sample("v", dist.Normal(0.0, 1.0))
        pyro.module("dec", dec)
        loc = dec(torch.cat([u, v[..., None]], -1))
        spread = pyro.param("spread", torch.ones(3), constraint=dist.constraints.positive)
        pyro.sample("obs", dist.Normal(loc, spread).to_event(1), obs=x)


def guide(x):
    pyro.module("enc", enc)
    width = pyro.param("width", torch.tensor(0.5), constraint=dist.constraints.positive)
    with pyro.plate("rows", len(x)):
        h = enc(x)
        pyro.sample("u", dist.Normal(h[..., :2], width).to_event(1))
        pyro.sample("v", dist.Normal(h[..., 2], width))


class VAE(nn.Module):
    """As in Pyro's tutorial."""

    def __init__(self, latent_dim, data_shape, hidden: int = 8):
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = nn.Sequential(nn.Linear(data_shape[0], hidden), nn.Tanh(),
                                     nn.Linear(hidden, 2 * latent_dim))
        self.decoder = nn.Linear(latent_dim, data_shape[0])

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            z = pyro.sample("latent", dist.Normal(x.new_zeros(self.latent_dim), 1.0).to_event(1))
            pyro.sample("obs", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", x.shape[0]):
            loc, log_scale = self.encoder(x).chunk(2, -1)
            pyro.sample("latent", dist.Normal(loc, log_scale.exp()).to_event(1))


class Wide(Prior):
    """N(0, width^2 I)."""

    def __init__(self, latent_dim: int, width: float = 1.0):
        super().__init__(latent_dim)
        self.width = width

    def forward(self):
        return dist.Normal(torch.zeros(self.latent_dim), self.width).to_event(1)
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A user's module on the path, under a name that no other test imports."""
    name = f"mine_{abs(hash(request.node.name))}"
    home = tmp_path / "home"
    home.mkdir()
    (home / f"{name}.py").write_text(USER_MODULE)
    monkeypatch.syspath_prepend(home)
    return name


def model_of_mine(x: torch.Tensor) -> None:
    scale = pyro.param("scale", torch.ones(()), constraint=dist.constraints.positive)
    with pyro.plate("data", len(x)):
        z = pyro.sample("code", dist.Normal(0.0, 1.0))
        pyro.sample("seen", dist.Normal(z[..., None].expand(-1, 3), scale).to_event(1), obs=x)


class GuideOfMine(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc, log_scale = self.net(x).unbind(-1)
            pyro.sample("code", dist.Normal(loc, log_scale.exp()))


OWN: dict[str, Any] = {"likelihood": ..., "decoder": ..., "encoder": ...}


def test_objects_of_ones_own(tmp_path: Path) -> None:
    pyro.get_param_store().clear()
    run = small(tmp_path, model=model_of_mine, guide=GuideOfMine(), epochs=3, lr=0.05, **OWN)
    rows = figures(run)
    assert rows[-1]["elbo"] > rows[1]["elbo"]
    assert not list(pyro.get_param_store().keys())  # the store is as it was
    assert "python_object" in run.config["model"]
    with pytest.raises(InputError, match="pass it"):
        ppvae.load(tmp_path / "run")
    again = ppvae.load(tmp_path / "run", model=model_of_mine, guide=GuideOfMine())
    assert not differences(dict(again.pair.state_dict()), weights(tmp_path / "run", "best"))


def test_functions_by_import_path(tmp_path: Path, mine: str) -> None:
    data = ["--data", small_flags(tmp_path)[1], "--batch-size", "32", "--epochs", "3"]
    own = ["--model", f"{mine}.model", "--guide", f"{mine}.guide", "--lr", "0.05"]
    main([*data, *own, "--out", str(tmp_path / "run")])
    rows = figures(tmp_path / "run")
    assert rows[-1]["elbo"] > rows[1]["elbo"]
    names = set(weights(tmp_path / "run"))
    assert {"params.spread", "params.width"} <= names
    with pytest.raises(InputError, match=f"trust=.'{mine}'"):
        ppvae.load(tmp_path / "run")
    run = ppvae.load(tmp_path / "run", trust=[mine])
    assert run.audit.latents == ("u", "v") or set(run.audit.latents) == {"u", "v"}


def test_methods_of_a_class_as_in_the_tutorial(tmp_path: Path, mine: str) -> None:
    run = small(
        tmp_path,
        model={"class_path": f"{mine}.VAE.model", "init_args": {"hidden": 5}},
        guide={"class_path": f"{mine}.VAE.guide", "init_args": {"hidden": 5}},
        epochs=3,
        lr=0.05,
        **OWN,
    )
    rows = figures(run)
    assert rows[-1]["elbo"] > rows[1]["elbo"]
    assert isinstance(run.model, MethodType)
    assert isinstance(run.guide, MethodType)
    assert run.model.__self__ is run.guide.__self__
    opened = ppvae.load(tmp_path / "run", trust=[mine])
    assert not differences(dict(opened.pair.state_dict()), weights(tmp_path / "run", "best"))


def test_a_prior_of_ones_own(tmp_path: Path, mine: str) -> None:
    flags = small_flags(tmp_path)
    main([*flags, "--prior", f"{mine}.Wide", "--prior.width", "3"])
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["prior"] == {"class_path": f"{mine}.Wide", "init_args": {"width": 3.0}}
    model: Any = ppvae.load(tmp_path / "run", trust=[mine]).model
    assert sys.modules[mine].Wide is type(model.prior)


def test_a_partial_of_a_class_is_the_class_with_arguments() -> None:
    asked = Settings(
        prior=partial(StudentT, df=7.0), likelihood=partial(Gaussian, variance="per-element"),
        decoder=partial(MLP, hidden=[3]), optimizer=partial(torch.optim.Adam, betas=(0.8, 0.9)),
        elbo=partial(OptionsELBO, own=2.0), schedule=partial(StepLR, step_size=3),
    )  # fmt: skip
    chosen = chosen_parts(asked)
    made = build_programs(chosen.programs, latent_dim=2, data_shape=(3,))
    record = yaml.safe_load(yaml.safe_dump(made.parts | chosen.recorded()))
    assert record["prior"] == {"class_path": "StudentT", "init_args": {"df": 7.0}}
    assert record["decoder"]["init_args"]["hidden"] == [3]
    assert record["likelihood"]["init_args"]["variance"] == "per-element"
    assert record["optimizer"]["init_args"]["betas"] == [0.8, 0.9]
    assert record["elbo"]["init_args"]["own"] == 2.0
    assert record["schedule"]["init_args"]["step_size"] == 3


class Few(IntEnum):
    """Numbers that YAML does not know."""

    THREE = 3


def test_numpy_scalars_and_nested_partials_are_plain_arguments() -> None:
    kind: Any = PerColumn
    inner: Any = partial(kind, families={np.str_("mass"): "Laplace"}, own=None)
    inner.note = "an attribute, so that partial(inner) stays nested"
    spec = part_of("likelihood", partial(inner, own=[np.float64(0.5), (np.int64(3),)]))
    assert spec == Spec("PerColumn", {"families": {"mass": "Laplace"}, "own": [0.5, (3,)]})
    assert isinstance(spec, Spec)
    assert yaml.safe_load(yaml.safe_dump(spec.plain()))["init_args"]["own"] == [0.5, [3]]
    given = part_of("likelihood", {"class_path": "Gaussian", "init_args": {"variance": np.int8(1)}})
    assert isinstance(given, Spec)
    assert type(given.init_args["variance"]) is int


def test_partials_that_are_refused_or_programs_themselves(tmp_path: Path) -> None:
    families = part_of("likelihood", partial(PerColumn, families={"mass": "Laplace"}))
    assert is_per_column({"likelihood": families})
    kind: Any = MixtureOfNormals
    program = partial(model_of_mine)  # of a function: the program itself
    assert part_of("model", program) is program
    with pytest.raises(InputError, match="positional argument 3; give each argument by its name"):
        part_of("prior", partial(kind, 3))
    with pytest.raises(InputError, match=r"`prior\.loc` is tensor.* config.yaml cannot hold"):
        part_of("prior", partial(kind, loc=torch.ones(2)))
    with pytest.raises(InputError, match=r"`prior\.components` is <.*3>, which config.yaml cannot"):
        part_of("prior", partial(kind, components=Few.THREE))
    with pytest.raises(InputError, match="a partial of the class with arguments by name, or its"):
        part_of("prior", lambda: StudentT(2))
    with pytest.raises(InputError, match=r"`prior\.componets`.* \(did you mean components"):
        small(tmp_path, prior=partial(kind, componets=3))


class MyELBO(Trace_ELBO):
    """A user-defined bound."""


class OptionsELBO(Trace_ELBO):
    """A user-defined bound that leaves the rest to Pyro's."""

    def __init__(self, own: float = 1.0, **options: Any) -> None:
        self.own = own
        cast("Any", super()).__init__(**options)


def test_a_bound_hands_on_to_pyro_s_what_it_does_not_take(tmp_path: Path) -> None:
    run = small(
        tmp_path,
        elbo={"class_path": "tests.commands.test_fit_own.OptionsELBO", "init_args": {"own": 2.0}},
        particles=2,
    )
    assert run.summary is not None
    config = yaml.safe_load((run.path / "config.yaml").read_text("utf-8"))
    assert config["elbo"] == {
        "class_path": "tests.commands.test_fit_own.OptionsELBO",
        "init_args": {"own": 2.0},
    }


def test_a_bound_by_its_import_path_is_trusted_to_the_end_of_its_fit(tmp_path: Path) -> None:
    run = small(tmp_path, elbo="tests.commands.test_fit_own.MyELBO", particles=2)
    assert run.summary is not None
    with pytest.raises(InputError, match="trust"):
        _ = Run(run.path).audit
