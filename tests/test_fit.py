"""Fits: what they leave, what decides them, and that each setting does what it says."""

import importlib
import json
import math
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import yaml
from fits import (
    SMALL,
    checkpoint,
    differences,
    figures,
    leaves,
    quick,
    small,
    small_flags,
    table,
    weights,
)
from PIL import Image
from pyro.infer import Trace_ELBO

import ppvae
from ppvae.errors import InputError
from ppvae.evaluation import Figures
from ppvae.fit import main
from ppvae.run import COLUMNS, Run
from ppvae.terminal import in_words

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
    """A user's module on the path, under a name that no other test has imported."""
    name = f"mine_{abs(hash(request.node.name))}"
    home = tmp_path / "home"
    home.mkdir()
    (home / f"{name}.py").write_text(USER_MODULE)
    monkeypatch.syspath_prepend(home)
    return name


# What a fit leaves


def test_a_fit_of_the_digits_leaves_the_run_directory_of_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # pictures too
    out = tmp_path / "run"
    main(["--decoder.hidden", "16", "--encoder.hidden", "16", "--epochs", "2", "--out", str(out)])
    config = yaml.safe_load((out / "config.yaml").read_text())
    asked = {
        "data", "data_dir", "label", "binarize", "model", "prior", "likelihood", "guide", "encoder",
        "decoder", "elbo", "particles", "latent_dim", "beta", "warm_up", "epochs", "patience",
        "batch_size", "optimizer", "lr", "clip", "seed", "device", "devices", "precision",
        "tensorboard", "run",
    }  # fmt: skip
    assert asked <= config.keys()
    assert config["binarize"] == "dynamic"
    assert config["likelihood"]["class_path"] == "Bernoulli"
    assert config["decoder"]["init_args"]["hidden"] == [16]
    assert config["run"]["format"] == 1
    assert {"torch", "pyro-ppl", "ppvae", "python"} <= config["run"]["versions"].keys()
    assert config["run"]["device"]

    header, *lines = (out / "metrics.csv").read_text().splitlines()
    assert header == ",".join(COLUMNS)
    assert len(lines) == 4
    rows = Run(out).metrics()
    assert [(r["epoch"], r["split"]) for r in rows] == [
        (1, "train"), (1, "valid"), (2, "train"), (2, "valid")
    ]  # fmt: skip
    for row in rows:
        assert row["elbo"] == pytest.approx(row["reconstruction"] - row["kl"], rel=1e-6)
    assert rows[3]["elbo"] > rows[1]["elbo"]

    summary = json.loads((out / "summary.json").read_text())
    assert summary["split"] == "test"
    assert summary["elbo"] == pytest.approx(summary["reconstruction"] - summary["kl"])
    assert summary["log_p"]["mean"] >= summary["elbo"]
    for name in ("last", "best"):
        step = (out / "checkpoints" / name).read_text().strip()
        held = {file.name for file in (out / "checkpoints" / step).iterdir()}
        assert held == {"tensors.safetensors", "tree.json"}
    drawn = {file.stem for file in (out / "figures").glob("*.png")}
    assert {"elbo", "reconstructions", "samples", "latent"} <= drawn
    assert not list(out.rglob(".*"))


def test_load_gives_programs_that_generate(tmp_path: Path) -> None:
    small(tmp_path)
    run = ppvae.load(tmp_path / "run")
    assert run.config["latent_dim"] == 2
    with torch.no_grad():
        x = pyro.poutine.uncondition(run.model)(torch.empty(500, 3))
        z = run.guide(run.data().test.take(torch.arange(4))["x"])
    assert x.shape == (500, 3)
    assert x.std(0).min() > 0.5  # draws, and not means
    assert z.shape == (4, 2)
    fitted = weights(tmp_path / "run", "best")
    assert not differences(dict(run.pair.state_dict()), fitted)


def test_tensorboard_events(tmp_path: Path) -> None:
    reader = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    run = small(tmp_path, tensorboard=True)
    events: Any = reader.EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    told = [(e.step, e.value) for e in events.Scalars("elbo/valid")]
    rows = [row for row in run.metrics() if row["split"] == "valid"]
    assert told == [(row["step"], pytest.approx(row["elbo"], rel=1e-5)) for row in rows]


# What decides a fit


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    for out, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.rand(5)  # the state of the world before does not matter
        small(tmp_path, out, seed=seed)
    assert not differences(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert figures(tmp_path / "a") == figures(tmp_path / "b")
    assert differences(weights(tmp_path / "a"), weights(tmp_path / "c"))
    assert figures(tmp_path / "a") != figures(tmp_path / "c")


def test_the_config_of_a_run_gives_the_run_again(tmp_path: Path) -> None:
    flags = small_flags(tmp_path, "a")
    main([*flags, "--beta", "0.5", "--lr", "0.01", "--optimizer", "RMSprop", "--clip", "5"])
    config = tmp_path / "a" / "config.yaml"
    main(["--config", str(config), "--out", str(tmp_path / "b")])
    assert not differences(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert figures(tmp_path / "a") == figures(tmp_path / "b")
    written = [yaml.safe_load((tmp_path / n / "config.yaml").read_text()) for n in "ab"]
    assert written[0] == written[1]
    main(["--config", str(config), "--out", str(tmp_path / "c"), "--seed", "1"])
    assert figures(tmp_path / "a") != figures(tmp_path / "c")


def test_a_command_is_the_call(tmp_path: Path) -> None:
    main(small_flags(tmp_path, "a"))
    small(tmp_path, "b")
    assert not differences(weights(tmp_path / "a"), weights(tmp_path / "b"))


# The loop


def test_every_datum_counts_once_in_an_epoch(tmp_path: Path) -> None:
    """At a learning rate of nearly 0, the figures of ragged batches are those of the whole."""
    quiet = {"lr": 1e-30, "epochs": 1, "optimizer": "SGD", "guide": "Delta", "beta": 0.0}
    for out, size in (("ragged", 32), ("whole", 72), ("ones", 71)):
        small(tmp_path, out, batch_size=size, **quiet)
    ragged, whole, ones = (figures(tmp_path / out)[0] for out in ("ragged", "whole", "ones"))
    assert (ragged["step"], whole["step"], ones["step"]) == (3, 1, 2)
    assert ragged["reconstruction"] == pytest.approx(whole["reconstruction"], rel=1e-6)
    assert ones["reconstruction"] == pytest.approx(whole["reconstruction"], rel=1e-6)


def test_evaluation_moves_no_weights(tmp_path: Path) -> None:
    """The last checkpoint is from before the conclusion; what the run gives afterwards is equal."""
    run = small(tmp_path, optimizer={"class_path": "SGD", "init_args": {"momentum": 0.9}}, epochs=1)
    held = checkpoint(run.path)
    assert held["progress"]["step"] == 3
    assert not differences(dict(run.pair.state_dict()), held["weights"])
    # The weights did move by training, so that equality says something.
    longer = small(tmp_path, "longer", epochs=2)
    assert differences(weights(longer.path), held["weights"])


def test_best_and_patience_begin_after_the_warm_up(tmp_path: Path) -> None:
    """With a learning rate that only harms, the first epoch at full beta is best, and ends it."""
    run = small(tmp_path, warm_up=3, epochs=9, patience=1, lr=0.5, optimizer="SGD")
    rows = [row for row in run.metrics() if row["split"] == "valid"]
    assert rows[-1]["epoch"] >= 5  # 3 of warm-up, one that is best, one that is not
    late = [row for row in rows if row["epoch"] > 3]
    best = max(late, key=lambda row: row["objective"])
    assert run.summary is not None
    assert run.summary["best_epoch"] == best["epoch"] > 3
    assert (run.path / "checkpoints" / "best").read_text().strip() == f"step-{best['step']}"
    for row in late[1:-1]:
        assert row["objective"] > max(r["objective"] for r in late if r["epoch"] < row["epoch"])
    betas = [row["beta"] for row in rows]
    assert betas[:3] == sorted(betas[:3])
    assert betas[0] < betas[2] < 1.0
    assert betas[3:] == [1.0] * (len(rows) - 3)


def test_patience_stops(tmp_path: Path) -> None:
    run = small(tmp_path, epochs=30, patience=2, lr=1e-30, optimizer="SGD")
    assert run.metrics()[-1]["epoch"] == 3  # the first is best, and two are not better
    assert run.summary is not None
    assert run.summary["best_epoch"] == 1


def test_beta_weighs_the_kl_and_elbo_is_reported_at_one(tmp_path: Path) -> None:
    run = small(tmp_path, beta=0.25)
    for row in run.metrics():
        assert row["objective"] == pytest.approx(row["reconstruction"] - 0.25 * row["kl"])
        assert row["elbo"] == pytest.approx(row["reconstruction"] - row["kl"])


NOTES = {
    "one draw": (
        "ImportanceWeightedELBO", {}, 1,
        "note: of one draw ImportanceWeightedELBO is the evidence lower bound; give --particles 5",
    ),
    "one draw of a negative order": (
        "RenyiELBO", {"alpha": -1.0}, 1,
        "note: of one draw RenyiELBO is the evidence lower bound; give --particles 5",
    ),
    "several": ("DoublyReparameterizedELBO", {}, 2, ""),
    "several of an order above 0": ("RenyiELBO", {"alpha": 2.0}, 2, ""),
    "several of a negative order": (
        "RenyiELBO", {"alpha": -1.0}, 2,
        "note: with such arguments RenyiELBO is no lower bound on log p(x); the elbo that is "
        "reported is the importance-weighted bound of the same draws",
    ),
    "no weights": ("TraceMeanField_ELBO", {}, 1, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", NOTES)
def test_a_bound_that_is_not_what_its_name_says_is_told_before_the_first_step(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, own, particles, note = NOTES[case]
    elbo = {"class_path": name, "init_args": own}
    small(tmp_path, elbo=elbo, particles=particles, epochs=1)
    before, _ = " ".join(capsys.readouterr().out.split()).split("; writing to")
    assert note in before
    assert ("note:" in before) is bool(note)


def test_a_point_mass_has_no_bound(tmp_path: Path) -> None:
    run = small(tmp_path, guide="Delta", beta=0.0)
    with (run.path / "metrics.csv").open() as file:
        header, *rows = (line.strip().split(",") for line in file)
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        assert cells["elbo"] == cells["kl"] == ""
        assert cells["objective"] == cells["reconstruction"] != ""
    assert run.summary is not None
    assert run.summary["elbo"] is None
    assert run.summary["kl"] is None
    assert run.summary["log_p"] is None
    assert math.isfinite(run.summary["reconstruction"])


def rates(run: Run) -> list[float]:
    return [row["lr"] for row in run.metrics() if row["split"] == "valid"]


def test_a_cosine_falls_over_the_epochs_of_the_fit(tmp_path: Path) -> None:
    run = small(tmp_path, schedule="CosineAnnealingLR", epochs=4, lr=0.01)
    expected = [0.005 * (1 + math.cos(math.pi * t / 4)) for t in range(4)]
    assert rates(run) == pytest.approx(expected)


def test_a_plateau_lowers_the_rate_where_the_objective_no_longer_rises(tmp_path: Path) -> None:
    plateau: dict[str, Any] = {
        "class_path": "ReduceLROnPlateau",
        "init_args": {"patience": 0, "factor": 0.5},
    }
    # Weights that cannot move: the second epoch is no better, and the rate falls after each.
    plateau["init_args"] |= {"eps": 0.0}
    still = small(tmp_path, schedule=plateau, epochs=4, lr=1e-30, optimizer="SGD")
    assert rates(still) == pytest.approx([1e-30, 1e-30, 5e-31, 2.5e-31], rel=1e-9, abs=0)
    rising = small(tmp_path, "rising", schedule=plateau, epochs=4, lr=1e-3)
    assert rates(rising) == [1e-3] * 4


def test_clip_bounds_the_step(tmp_path: Path) -> None:
    """Plain gradient descent moves by at most lr times the clip, per step."""
    one = {"optimizer": "SGD", "lr": 1.0, "batch_size": 72, "epochs": 1}
    before = small(tmp_path, "before", **(one | {"lr": 1e-30}))
    free = small(tmp_path, "free", **one)
    clipped = small(tmp_path, "clipped", **one, clip=0.01)

    def moved(run: Run) -> float:
        start, end = weights(before.path), weights(run.path)
        return math.sqrt(sum(float((end[k] - start[k]).square().sum()) for k in start))

    assert moved(clipped) == pytest.approx(0.01, rel=1e-3)
    assert moved(free) > 0.02


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("SGD", {"momentum": 0.9, "nesterov": True}),
        ("AdamW", {"weight_decay": 0.1, "betas": [0.8, 0.9]}),
        ("Adagrad", {}),
    ],
)
def test_optimizers_by_name(name: str, args: dict[str, Any], tmp_path: Path) -> None:
    run = small(tmp_path, optimizer={"class_path": name, "init_args": args}, epochs=1)
    assert run.config["optimizer"]["class_path"] == name
    assert run.config["optimizer"]["init_args"].items() >= args.items()
    (group,) = checkpoint(run.path)["optimizer"]["param_groups"]
    for key, value in args.items():
        assert group[key] == value


def test_double_precision(tmp_path: Path) -> None:
    run = small(tmp_path, precision="64", epochs=1)
    held = {v.dtype for _, v in leaves(weights(run.path)) if v.is_floating_point()}
    assert held == {torch.float64}
    x = run.data().test.take(torch.arange(2))["x"].double()
    assert run.guide(x).dtype == torch.float64


def test_mixed_precision_keeps_the_weights_and_figures(tmp_path: Path) -> None:
    mixed = small(tmp_path, "mixed", precision="bf16-mixed")
    plain = small(tmp_path, "plain")
    assert {v.dtype for v in weights(mixed.path).values()} == {torch.float32}
    assert differences(weights(mixed.path), weights(plain.path))
    for a, b in zip(figures(mixed), figures(plain), strict=True):
        assert a["elbo"] == pytest.approx(b["elbo"], abs=0.1)
        assert a["elbo"] != b["elbo"]


def test_particles_lower_the_noise_and_not_the_mean(tmp_path: Path) -> None:
    run = small(tmp_path, particles=3)
    one = small(tmp_path, "one")
    assert run.config["particles"] == 3
    assert figures(run) != figures(one)
    assert run.summary is not None
    assert one.summary is not None
    assert run.summary["elbo"] == pytest.approx(one.summary["elbo"], abs=0.2)


# Data


def test_an_npz_with_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=table(), y=np.arange(90) % 3)
    run = small(tmp_path, data=tmp_path / "d.npz", epochs=1)
    assert run.config["run"]["data"]["rest"]["y"]["shape"] == []
    assert run.label_names == ("0", "1", "2")


def test_a_csv_with_a_label_column(tmp_path: Path) -> None:
    lines = [f"{a},{b},{'cat' if a > 0 else 'dog'}" for a, b, _ in table()]
    (tmp_path / "d.csv").write_text("a,b,kind\n" + "\n".join(lines) + "\n")
    flags = small_flags(tmp_path)
    main([*flags, "--data", str(tmp_path / "d.csv"), "--label", "kind", "--epochs", "1"])
    run = Run(tmp_path / "run")
    assert run.data_shape == (2,)
    assert run.label_names is not None
    assert set(run.label_names) == {"cat", "dog"}


def test_a_folder_of_images(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for label in ("left", "right"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(20):
            pixels = generator.integers(0, 256, (6, 6), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{i}.png")
    run = small(
        tmp_path, data=tmp_path / "images", likelihood="Bernoulli", binarize="threshold", epochs=1
    )
    assert run.data_shape == (1, 6, 6)
    assert run.label_names == ("left", "right")


# Programs and parts of one's own


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
    with pytest.raises(InputError, match="hand it in"):
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
    with pytest.raises(InputError, match=f"--trust {mine}"):
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
    assert run.model.__self__ is run.guide.__self__  # type: ignore[attr-defined]  # of a bound method
    opened = ppvae.load(tmp_path / "run", trust=[mine])
    assert not differences(dict(opened.pair.state_dict()), weights(tmp_path / "run", "best"))


def test_a_prior_of_ones_own(tmp_path: Path, mine: str) -> None:
    flags = small_flags(tmp_path)
    main([*flags, "--prior", f"{mine}.Wide", "--prior.width", "3"])
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["prior"] == {"class_path": f"{mine}.Wide", "init_args": {"width": 3.0}}
    run = ppvae.load(tmp_path / "run", trust=[mine])
    assert sys.modules[mine].Wide is type(run.model.prior)  # type: ignore[attr-defined]  # a module made at run time


def test_networks_of_the_call_are_those_of_the_config(tmp_path: Path) -> None:
    run = small(tmp_path, decoder=SMALL, encoder={"class_path": "MLP", "init_args": {"hidden": []}})
    assert run.config["encoder"]["init_args"]["hidden"] == []
    assert run.config["decoder"]["init_args"]["hidden"] == [16]


# Help


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    told = capsys.readouterr().out
    flags = """--data --data-dir --label --binarize --model --prior --likelihood --guide --encoder
        --decoder --elbo --particles --latent-dim --beta --warm-up --epochs --patience --batch-size
        --optimizer --lr --clip --seed --device --devices --precision --tensorboard --out
        --overwrite --resume --trust --config"""
    words = {word.strip("[],") for word in told.split()}
    assert not set(flags.split()) - words
    assert "SUPPRESS" not in told
    for name in ("VAE", "StandardNormal", "Bernoulli", "MeanField", "TraceMeanField_ELBO", "Adam"):
        assert name in told


class MyELBO(Trace_ELBO):
    """A bound of one's own."""


class OptionsELBO(Trace_ELBO):
    """A bound of one's own that hands the rest on to Pyro's."""

    def __init__(self, own: float = 1.0, **options: Any) -> None:
        self.own = own
        cast("Any", super()).__init__(**options)


def test_a_bound_hands_on_to_pyro_s_what_it_does_not_take(tmp_path: Path) -> None:
    run = small(
        tmp_path,
        elbo={"class_path": "test_fit.OptionsELBO", "init_args": {"own": 2.0}},
        particles=2,
    )
    assert run.summary is not None
    config = yaml.safe_load((run.path / "config.yaml").read_text("utf-8"))
    assert config["elbo"] == {"class_path": "test_fit.OptionsELBO", "init_args": {"own": 2.0}}


@pytest.mark.parametrize(
    ("elbo", "said"),
    [
        (-3.0, "elbo -3.00 = -1.00 - 2.00 kl"),
        (-2.5, "elbo -2.50 (reconstruction -1.00, kl 2.00)"),
        (None, "reconstruction -1.00 (no bound)"),
    ],
)
def test_a_bound_is_told_as_a_difference_where_it_is_one(elbo: float | None, said: str) -> None:
    assert in_words(Figures(elbo, -1.0, 2.0, -3.0)) == said


def test_a_bound_by_its_import_path_is_trusted_to_the_end_of_its_fit(tmp_path: Path) -> None:
    run = small(tmp_path, elbo="test_fit.MyELBO", particles=2)
    assert run.summary is not None
    with pytest.raises(InputError, match="trust"):
        _ = Run(run.path).audit
