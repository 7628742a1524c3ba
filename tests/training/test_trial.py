"""User programs are tried before the first step, without changes of their state."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, override

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoDiagonalNormal, AutoNormal
from torch import Tensor, nn

from ppvae.data import from_arrays
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.training.evaluation_schedule import EvaluationSchedule
from ppvae.training.trainer import Trainer
from ppvae.training.trial import try_evaluation, try_out, unmoved
from tests.support.fits import quick, small
from tests.support.toys import Guide, Model, rows, toy

__all__ = ["quick"]  # a fixture, used by every test here

HERE = r"test_trial\.py, line \d+"
PARTS: dict[str, Any] = {"likelihood": ..., "decoder": ..., "encoder": ..., "epochs": 1}


class NoEvent(Model):
    """Forgets .to_event at x."""

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(self.net(z), 0.5), obs=x)


class NoEventInside(Guide):
    """Forgets .to_event in the guide."""

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(x).base_dist)


class OfTheSize(Guide):
    """Keeps a parameter for each row of the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(32, 2))

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc, log_scale = self.net(x).split(2, -1)
            pyro.sample("z", dist.Normal(loc + self.shift, log_scale.exp()).to_event(1))


class Normed(Guide):
    """Has a batch normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.net: Any = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))


class OnlyInTraining(Guide):
    """Has an error in training only."""

    @override
    def posterior(self, x: Tensor) -> Any:
        return super().posterior(x @ torch.ones(3, 4) if self.training else x)


class OnlyInEvaluation(Guide):
    """Has an error that occurs neither in training nor in the first trace."""

    @override
    def posterior(self, x: Tensor) -> Any:
        return super().posterior(x if self.training or len(x) == 32 else x.reshape(3, -1))


class Buffered(Guide):
    """Keeps noise for a training batch; smaller batches use a part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(32, 2))

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc, log_scale = self.net(x).split(2, -1)
            shifted = loc + self.shift[: len(x)]
            pyro.sample("z", dist.Normal(shifted, log_scale.exp()).to_event(1))


class Overflowing(Guide):
    """A scale that is infinite on numbers like those of the data."""

    @override
    def posterior(self, x: Tensor) -> Any:
        return super().posterior(1e4 * x)


class Rooted(Guide):
    """A function without a derivative at its argument."""

    @override
    def posterior(self, x: Tensor) -> Any:
        weight = self.net.weight - self.net.weight.detach()
        return super().posterior(x + weight.square().sum().sqrt())


class Halves(Model):
    """Observes changed x at a site whose support does not contain it."""

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.net(z)).to_event(1), obs=x.sigmoid())


def autonormal() -> tuple[Any, Any]:
    """An AutoGuide for latents of each datum."""
    model = Model()
    return model, AutoNormal(model)


def autodiagonal() -> tuple[Any, Any]:
    """Another."""
    model = Model()
    return model, AutoDiagonalNormal(model)


@pytest.mark.parametrize(
    ("programs", "count", "said"),
    [
        ((NoEvent, Guide), 90, rf"at site 'x'.*{HERE}\); end the .* 'x' with \.to_event\(1\)$"),
        ((Model, NoEventInside), 90, r"'z'.*to_event\(1\)"),
        (autonormal, 90, r"the last batch of an epoch, of 8 rows.*depends on that number.*encoder"),
        (
            autodiagonal,
            90,
            r"the last batch of an epoch, of 8 rows.*depends on that number.*encoder",
        ),
        ((Model, OfTheSize), 90, rf"of 8 rows.*size of tensor.*{HERE}"),
        ((Model, Normed), 81, r"of 1 row:.*for 65 rows take `batch_size=33`$"),
        ((Model, OnlyInTraining), 90, rf"on a batch of 32 rows: RuntimeError: .*{HERE}"),
        ((Model, OnlyInEvaluation), 90, r"in evaluation, on 9 rows: RuntimeError: .*line"),
        ((Model, Buffered), 400, rf"in evaluation, on 40 rows: .*size of tensor.*{HERE}"),
        (
            (Model, Overflowing),
            90,
            r"^site 'z' of the guide: the scale of its Normal holds (inf|0)",
        ),
        ((Model, Rooted), 90, r"gradient.*not a number"),
        ((Halves, Guide), 90, r"Bernoulli \(site 'x'\) takes only 0 and 1"),
    ],
    ids=lambda value: value if isinstance(value, (int, str)) else None,
)
def test_what_would_fail_in_the_fit_is_said_before_it(
    programs: Any, count: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, guide = programs() if callable(programs) else (programs[0](), programs[1]())
    with pytest.raises(InputError, match=said):
        small(tmp_path, data=rows(count), model=model, guide=guide, **PARTS)
    assert not (tmp_path / "run").exists()
    assert "writing to" not in capsys.readouterr().out


class Tutorial(nn.Module):
    """A program as in Pyro's tutorial: methods, pyro.module, and x flattened in the programs."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(64, 10), nn.Linear(5, 64)

    def model(self, x: Tensor) -> None:
        """p(x, z)."""
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            z = pyro.sample("latent", dist.Normal(x.new_zeros(5), x.new_ones(5)).to_event(1))
            made = dist.Bernoulli(logits=self.decoder(z)).to_event(1)
            pyro.sample("obs", made, obs=x.reshape(-1, 64))

    def guide(self, x: Tensor) -> None:
        """q(z | x)."""
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", x.shape[0]):
            loc, log_scale = self.encoder(x.reshape(-1, 64)).split(5, -1)
            pyro.sample("latent", dist.Normal(loc, log_scale.exp()).to_event(1))


def test_the_tutorial_takes_the_digits_binarized_and_refuses_grey(tmp_path: Path) -> None:
    own = Tutorial()
    run = small(tmp_path, data="digits", model=own.model, guide=own.guide, **PARTS)
    assert run.config["binarize"] == "dynamic"
    assert run.audit.supports.keys() == {"obs"}
    images = np.random.default_rng(0).random((100, 8, 8)).astype(np.float32)
    with pytest.raises(InputError, match=r"site 'obs'\) takes only 0 and 1: .*binarize='dynamic'"):
        small(tmp_path, "grey", data=from_arrays(images), model=own.model, guide=own.guide, **PARTS)
    binary = from_arrays((images > 0.5).astype(np.float32))
    small(tmp_path, "binary", data=binary, model=own.model, guide=own.guide, **PARTS)


class Recording(Guide):
    """Records its mean at a deterministic site, whose name the model may have too."""

    name = "code"

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            q = self.posterior(x)
            pyro.deterministic(self.name, q.mean, event_dim=1)
            pyro.sample("z", q)


@pytest.mark.parametrize("elbo", ["TraceMeanField_ELBO", "Trace_ELBO", "ImportanceWeightedELBO"])
def test_a_deterministic_site_of_a_guide_changes_nothing(elbo: str, tmp_path: Path) -> None:
    found = []
    for number, kind in enumerate((Guide, Recording)):
        torch.manual_seed(0)
        run = small(
            tmp_path, f"run{number}", data=rows(), model=Model(), guide=kind(), elbo=elbo, **PARTS
        )
        found.append((run.summary or {})["elbo"])
    assert found[0] == found[1]


def test_an_argument_that_the_data_lack_is_refused_with_how_to_bind_it(tmp_path: Path) -> None:
    model = Model()

    def program(x: Tensor, lengths: Any) -> None:
        model(x * lengths)

    with pytest.raises(InputError, match=r"'lengths'.*functools\.partial\(model, lengths=\.\.\.\)"):
        small(tmp_path, data=rows(), model=program, guide=Guide(), **PARTS)
    with pytest.raises(InputError, match="takes no data"):
        small(tmp_path, data=rows(), model=lambda: None, guide=Guide(), **PARTS)
    bound = partial(program, lengths=torch.ones(4))
    assert small(tmp_path, data=rows(), model=bound, guide=Guide(), **PARTS).summary


@pytest.mark.parametrize(
    "elbo",
    [
        "RenyiELBO", "ReweightedWakeSleep", "EnergyDistance", "TraceTailAdaptive_ELBO", "Trace_MMD",
        "JitTrace_ELBO", "TraceTMC_ELBO", "SVGD", "JitTraceGraph_ELBO",
    ],
)  # fmt: skip
def test_what_is_no_bound_to_climb_is_refused_at_once(elbo: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"`elbo='\S*{elbo}'` "):
        small(tmp_path, elbo=f"pyro.infer.{elbo}", particles=2, epochs=1)
    assert not (tmp_path / "run").exists()


def test_a_bound_with_a_surrogate_climbs_by_it(tmp_path: Path) -> None:
    found = []
    for elbo in ("Trace_ELBO", "pyro.infer.TraceGraph_ELBO"):
        torch.manual_seed(0)
        run = small(
            tmp_path, elbo[-10:], data=rows(), model=Model(), guide=Guide(), elbo=elbo, **PARTS
        )
        found.append((run.summary or {})["elbo"])
    # If every draw has a gradient, both are equal.
    assert found[0] == pytest.approx(found[1], rel=1e-5)


class Counting(Guide):
    """Counts its calls in all places that a program may use."""

    def __init__(self, log: list[int], told: Callable[[], None]) -> None:
        super().__init__()
        self.net: Any = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.calls, self.log, self.told = 0, log, told
        self.register_buffer("seen", torch.zeros(()))

    @override
    def forward(self, x: Tensor) -> None:
        self.calls += 1
        self.seen += len(x)
        self.log.append(len(x))
        self.told()
        super().forward(x)


def test_evaluation_is_tried_on_a_batch_of_each_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """9 held-out rows with 3 draws each: 27, in batches of 10."""
    sizes: list[int] = []

    def trying(loop: Trainer) -> None:
        loop.evaluation = EvaluationSchedule(1, rows=9, draws=3, batch_size=10)
        with monkeypatch.context() as patch:
            patch.setattr(
                "ppvae.training.trial.evaluate", lambda *args, **_: sizes.append(len(args[2]))
            )
            try_evaluation(loop)

    monkeypatch.setattr("ppvae.training.setup.try_evaluation", trying)
    small(tmp_path, data=rows(), model=Model(), guide=Guide(), **PARTS)
    assert sizes == [10, 7]


class Sharing(Guide):
    """Multiplies two matrices once per batch, like the encoding of pseudo-inputs."""

    @override
    def posterior(self, x: Tensor) -> Any:
        return super().posterior(x + torch.ones(16, 16).matmul(torch.zeros(16, 16)).sum())


@pytest.mark.parametrize("count", [90, 100])
def test_work_that_a_batch_shares_is_shared_by_a_whole_one(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For any number of held-out rows."""
    found: list[int] = []

    def noting(loop: Trainer) -> int:
        found.append(try_out(loop))
        return found[-1]

    monkeypatch.setattr("ppvae.training.setup.try_out", noting)
    for kind in (Guide, Sharing):
        small(tmp_path, kind.__name__, data=rows(count), model=Model(), guide=kind(), **PARTS)
    alone = 2 * 4 * 4 + 2 * 2 * 4  # the encoder and the decoder
    assert found == [alone, alone + 2 * 16**3 // 32]


def test_nothing_moves_by_a_trial() -> None:
    told = 0

    def tell() -> None:
        nonlocal told
        told += 1

    guide = Counting([], tell)
    batch = {"x": torch.tensor(toy(32))}
    pair = Pair(Model(), guide, batch)
    buffers = {name: value.clone() for name, value in pair.named_buffers()}
    before = guide.calls, list(guide.log), told
    with unmoved(pair):
        pair.train()
        pair.call_guide(**batch)
        assert guide.calls == before[0] + 1
    assert (guide.calls, guide.log, told) == before
    assert all(torch.equal(value, buffers[name]) for name, value in pair.named_buffers())


class Unsure(Guide):
    """Draws a share that rounds to 0, so that its density is not finite."""

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            logits = self.net(x)
            pyro.sample("k", dist.RelaxedOneHotCategorical(torch.tensor(0.1), logits=logits))


class Shares(Model):
    """Its prior."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 4)

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            prior = dist.RelaxedOneHotCategorical(torch.tensor(0.1), logits=torch.zeros(4))
            k = pyro.sample("k", prior)
            pyro.sample("x", dist.Normal(self.net(k), 1.0).to_event(1), obs=x)


class BreaksLater(Guide):
    """Is NaN from its tenth call in training on."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    @override
    def posterior(self, x: Tensor) -> Any:
        self.calls += self.training
        loc, log_scale = self.net(x).split(2, -1)
        far = 1e30 if self.calls > 3 else 0.0
        return dist.Normal(loc + far, log_scale.exp()).to_event(1)


def test_a_number_that_is_none_names_its_site_and_not_the_weights(tmp_path: Path) -> None:
    torch.manual_seed(2)  # the draws determine whether density or gradient fails
    for model, guide in ((Shares(), Unsure()), (Model(), BreaksLater())):
        with pytest.raises(InputError, match=r"site '[kz]' of the (guide|model): ") as refused:
            small(
                tmp_path, type(model).__name__, data=rows(), model=model, guide=guide, lr=1e-9,
                **PARTS | {"epochs": 9},
            )  # fmt: skip
        assert "diverged" not in str(refused.value)


def test_objects_and_sessions_are_answered_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value, match in ((object(), "Python objects"), (3, "no data"), ({"z": toy()}, "give x")):
        with pytest.raises(InputError, match=match):
            small(tmp_path, data=value)
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)
    with pytest.raises(InputError, match=r"interactive session.*take `devices=1` here"):
        small(tmp_path, data=rows(), devices=2)
