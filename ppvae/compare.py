"""Two estimators of one bound, side by side: Pyro's ``Trace_ELBO`` and ``TraceMeanField_ELBO``.

python -m ppvae.compare                                            # offline, under a minute
python -m ppvae.compare --seeds 10 --epochs 50 --draws 1000        # tighter errors
python -m ppvae.compare --run runs/digits-20260101-120000          # a program that was fitted
python -m ppvae.compare --data mnist --binarize dynamic --particles 8
python -m ppvae.compare --likelihood Gaussian --decoder MLP --decoder.hidden 200,200
python -m ppvae.compare --model mine.model --guide mine.guide      # your own Pyro programs
"""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from ppvae.assembly import DEFAULTS, assemble
from ppvae.audit import Audit, audit
from ppvae.choices import KINDS, Choice, made
from ppvae.cli import answer, given_arguments
from ppvae.data import Batch, Binarize, Data
from ppvae.errors import InputError
from ppvae.preparation import (
    Part,
    free_folder,
    make_loop,
    maker_of,
    part_of,
    read_data,
    recorded,
)
from ppvae.programs import Pair
from ppvae.run import Run, versions
from ppvae.store import write_text
from ppvae.support import demand_support, is_binary

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from ppvae.objectives import Bound
    from ppvae.svi import SVI, Plan

__all__ = ["ANALYTIC", "SAMPLED", "Comparison", "Side", "compare", "conclusion"]

SAMPLED, ANALYTIC = "Trace_ELBO", "TraceMeanField_ELBO"

_FRESH = {"latent_dim": 20, "particles": 1, "beta": 1.0, "batch_size": 64, "lr": 2e-3}


@dataclass(frozen=True)
class Side:
    """One bound's figures; bounds in nats per datum, the held-out ones by one common estimator.

    Attributes:
        values: repeated estimates of the bound on one batch, at the same weights as the other's.
        mean: their mean.
        standard_error: its standard error.
        gradient_variance: for each group of parameters the variance of a gradient estimate, summed
            over coordinates.
        gradient_variance_error: its standard error.
        snr: ||E g|| / sqrt(gradient variance), of one estimate g; see `GroupNoise.snr`.
        ms_per_step: median milliseconds of a training step, over all seeds.
        curves: for each seed the steps and the held-out bound after each epoch.
        held_out: for each seed the held-out bound after the last step.
        blocks: blocks of repetitions behind each ``gradient_variance_error``.
    """

    values: tuple[float, ...]
    mean: float
    standard_error: float
    gradient_variance: dict[str, float]
    gradient_variance_error: dict[str, float]
    snr: dict[str, float]
    ms_per_step: float
    curves: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]
    held_out: tuple[float, ...]
    blocks: int


@dataclass(frozen=True)
class Comparison:
    """What the two bounds are, measured on one program.

    Attributes:
        sides: the figures of each bound, by its name.
        time_ratio: milliseconds of a step of ``TraceMeanField_ELBO`` over those of ``Trace_ELBO``,
            with its standard error over alternating epochs (``None`` where there is one epoch).
        held_out_difference: ``TraceMeanField_ELBO`` less ``Trace_ELBO``, after equal steps, mean
            over seeds, with its standard error (``None`` for one seed).
        steps: steps of each climb.
        draws: repetitions behind the values and the gradients' variance.
        seeds: climbs of each bound.
        exact: latent sites whose KL has a closed form.
        estimator: how held-out bounds were estimated, for both alike.
        weights: the weights at which values and gradients were taken.
        notes: what the audit wants a user to read.
        sentence: the conclusion.
        path: the folder with ``comparison.json`` and ``figures/compare.png``.
    """

    sides: dict[str, Side]
    time_ratio: tuple[float, float | None]
    held_out_difference: tuple[float, float | None]
    steps: int
    draws: int
    seeds: int
    exact: tuple[str, ...]
    estimator: str
    weights: str
    notes: tuple[str, ...]
    sentence: str
    path: Path


def compare(
    run: str | Path | Run | None = None,
    data: str | Path | Data | None = None,
    data_dir: str | Path | None = None,
    label: str | None = None,
    binarize: Binarize | None = None,
    model: Part = None,
    prior: Part = None,
    likelihood: Part = None,
    decoder: Part = None,
    guide: Part = None,
    encoder: Part = None,
    latent_dim: int | None = None,
    particles: int | None = None,
    beta: float | None = None,
    epochs: int = 10,
    batch_size: int | None = None,
    lr: float | None = None,
    seeds: int = 3,
    seed: int = 0,
    draws: int = 100,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    trust: Sequence[str] = (),
) -> Comparison:
    """Put Trace_ELBO and TraceMeanField_ELBO side by side on one program.

    Each seed's climbs begin at the same weights and take the same batches, an epoch of the one and
    an epoch of the other in turns, so that what else the machine does falls on both. Values and
    gradients are taken on one batch, at the weights of the run, or at those that the first seed's
    climb by TraceMeanField_ELBO ended at. Held-out bounds are those of the valid data, by
    TraceMeanField_ELBO for both: the KL in closed form where there is one. The caller's random
    state is left as it was, and so are the weights of programs handed in as objects.

    Args:
        run: take the program, data and settings of this run directory; default: a new program.
        data: what to fit to, as in ppvae.fit; default digits.
        data_dir: where published data lie.
        label: the column of a .csv that holds the labels.
        binarize: as in ppvae.fit.
        model: the generative program; default VAE.
        prior: p(z); default StandardNormal.
        likelihood: p(x | z); default Bernoulli.
        decoder: the network from z to the likelihood's numbers; default MLP.
        guide: the variational program; default MeanField.
        encoder: the network from x to the guide's numbers; default as in ppvae.fit.
        latent_dim: number of latent dimensions; default 20.
        particles: draws of the latents per datum and step; default: the run's, or 1.
        beta: weight of the KL in what is climbed; default: the run's, or 1.
        epochs: passes over the training data in each climb.
        batch_size: data per step; default: the run's, or 64.
        lr: learning rate; default: the run's, or 0.002.
        seeds: climbs of each bound.
        seed: the first of the seeds.
        draws: repetitions of value and gradient at the same weights.
        device: where to compute.
        out: the folder to write to; default runs/compare-<data>-<time>.
        overwrite: replace a comparison that is there already.
        trust: a module that parts named in a file may be imported from; can be repeated.

    Raises:
        InputError: for what cannot be compared, such as a guide with a point mass, or a pair that
            TraceMeanField_ELBO would be wrong for.
    """
    for name, value, least in (("seeds", seeds, 1), ("draws", draws, 4), ("seed", seed, 0)):
        if value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}")
    if out is not None:
        _refuse_occupied(Path(out), overwrite=overwrite)
    fresh: dict[str, Any] = {
        "data": data, "label": label, "binarize": binarize, "model": model, "prior": prior,
        "likelihood": likelihood, "decoder": decoder, "guide": guide, "encoder": encoder,
        "latent_dim": latent_dim,
    }  # fmt: skip
    changes = {"particles": particles, "beta": beta, "batch_size": batch_size, "lr": lr}

    # One program, its data, and how each climb goes.
    with _randomness_restored():  # imports too may draw from the generators
        from ppvae import plots
        from ppvae.devices import launch
        from ppvae.terminal import bar, say

        opened = None if run is None else run if isinstance(run, Run) else Run(run, trust=trust)
        if opened is None:
            subject = _new(fresh, changes, data_dir, seed, trust)
        else:
            subject = _taken(opened, fresh, changes, data_dir, seed, trust)
        plans = [_plan(subject.settings, epochs, seed + i) for i in range(seeds)]
        fabric = launch(device, 1, subject.settings["precision"])
        say(subject.data.describe())
        for note in subject.facts[ANALYTIC].notes:
            say(f"note: {note}")

        # Climbs in turns; the noise at fixed weights once these are there.
        arms: dict[str, list[_Climb]] = {SAMPLED: [], ANALYTIC: []}
        noises: dict[str, Any] = {}
        with bar("comparing", 2 * (seeds * epochs + draws)) as count:
            if subject.weights is not None:
                noises = _noises(subject, subject.weights, fabric, draws, seed, count)
            for plan in plans:
                with _weights_restored(subject.build(plan.seed)) as pair:
                    ended = _climb(subject, pair, plan, fabric, count)
                    for name, climb in ended.items():
                        arms[name].append(climb)
                    if not noises:
                        weights = ended[ANALYTIC].weights
                        noises = _noises(subject, weights, fabric, draws, seed, count, pair)
                for climb in ended.values():
                    climb.forget()

        # The figures, and what they say.
        exact = tuple(sorted(subject.facts[ANALYTIC].exact))
        sides = {name: _side(noises[name], climbs) for name, climbs in arms.items()}
        ratio, difference = _time_ratio(arms), _paired(sides)
        folder = (
            Path(out)
            if out is not None
            else free_folder(Path("runs"), f"compare-{subject.data.name}")
        )
        result = Comparison(
            sides=sides,
            time_ratio=ratio,
            held_out_difference=difference,
            steps=arms[ANALYTIC][0].steps[-1],
            draws=draws,
            seeds=seeds,
            exact=exact,
            estimator=(
                "the KL of " + ", ".join(exact) + " in closed form, the rest by Monte Carlo"
                if exact
                else "Monte Carlo"
            ),
            weights=subject.where or f"{ANALYTIC}, seed {seed}, after {epochs} epochs",
            notes=subject.facts[ANALYTIC].notes,
            sentence=conclusion(sides, ratio, difference, arms[ANALYTIC][0].steps[-1], exact),
            path=folder,
        )
        figures = folder / "figures"
        figures.mkdir(parents=True, exist_ok=True)
        drawn = {name: asdict(side) for name, side in sides.items()}
        plots.save(plots.compare_bounds(drawn), figures / "compare.png")
        record = asdict(result) | {
            "unit": "nats per datum",
            "path": None,
            "settings": subject.record
            | {"epochs": epochs, "seed": seed, "device": str(fabric.device)},
            "versions": versions(),
        }
        del record["path"]
        write_text(folder / "comparison.json", json.dumps(_finite(record), indent=1) + "\n")
    return result


# One program


@dataclass(frozen=True)
class _Subject:
    """The program that is compared on: how it is made, and on what.

    ``build`` makes the pair with a seed's initial weights. ``weights`` are those to measure at,
    where a run gave them; ``where`` says whose they are.
    """

    build: Callable[[int], Pair]
    data: Data
    facts: dict[str, Audit]
    settings: dict[str, Any]
    record: dict[str, Any]
    trust: Sequence[str]
    weights: dict[str, Any] | None = None
    where: str = ""


def _new(
    fresh: Mapping[str, Any],
    changes: Mapping[str, Any],
    data_dir: str | Path | None,
    seed: int,
    trust: Sequence[str],
) -> _Subject:
    """A program by its parts, as `ppvae.fit.fit` makes it."""
    given = {key: value for key, value in {**fresh, **changes}.items() if value is not None}
    settings = _FRESH | given | {"clip": None, "precision": "32", "optimizer": "Adam"}
    name, binarize = given.get("data", "digits"), fresh["binarize"]
    found = read_data(name, data_dir, fresh["label"], binarize or "none")
    _check(settings)
    chosen = {part: part_of(part, fresh[part]) for part in DEFAULTS}

    def build(number: int) -> Pair:
        _seed_all(number)
        assembly = assemble(
            chosen, latent_dim=settings["latent_dim"], data_shape=found.shape, trust=trust
        )
        record.update(assembly.parts)
        return Pair(assembly.model, assembly.guide, _first(found, settings))

    record: dict[str, Any] = {}
    with _weights_restored(build(seed)) as pair:
        facts = _audits(pair, _first(found, settings))
    is_named = found.name == "digits" and not isinstance(name, Data)
    if binarize is None and is_named and is_binary(facts[SAMPLED]):
        found = read_data(name, data_dir, fresh["label"], "dynamic")
    demand_support(found, facts[SAMPLED])
    record |= {key: settings[key] for key in _FRESH}
    record |= {"data": recorded(name), "label": fresh["label"], "binarize": found.binarize}
    return _Subject(build, found, facts, settings, record, trust)


def _taken(
    run: Run,
    fresh: Mapping[str, Any],
    changes: Mapping[str, Any],
    data_dir: str | Path | None,
    seed: int,
    trust: Sequence[str],
) -> _Subject:
    """The program of a run, with its settings."""
    for name, value in fresh.items():
        if value is not None:
            raise InputError(
                f"--{name.replace('_', '-')} cannot change beside --run, which brings its "
                "program and data; leave it out, or compare on a new program without --run"
            )
    given = {key: value for key, value in changes.items() if value is not None}
    settings = run.settings | given
    _check(settings)
    found = run.data(None if data_dir is None else Path(data_dir))
    weights = run.state()["weights"]

    def build(number: int) -> Pair:
        _seed_all(number)
        return run.build()

    with _weights_restored(build(seed)) as pair:
        facts = _audits(pair, _first(found, settings))
    record = settings | {"run": str(run.path)}
    where = f"the best checkpoint of {run.path}"
    return _Subject(build, found, facts, settings, record, trust, weights, where)


def _audits(pair: Pair, batch: Batch) -> dict[str, Audit]:
    """What each bound makes of the pair.

    Raises:
        InputError: if there is no bound, or the analytic one would be wrong.
    """
    found = {}
    for name in (SAMPLED, ANALYTIC):
        found[name] = audit(pair, KINDS["elbo"].names()[name], batch)
        if not found[name].is_bound:
            sites = ", ".join(f"'{s.name}'" for s in found[name].sites if s.kl == "point mass")
            raise InputError(
                f"the guide has a point mass at {sites}, whose density is infinite: there is no "
                "bound to compare estimates of; take a guide with a density, such as MeanField"
            )
    return found


def _check(settings: Mapping[str, Any]) -> None:
    for name in ("latent_dim", "particles"):
        if settings[name] < 1:
            raise InputError(f"{name} is {settings[name]}; it must be at least 1")
    if not 0 < settings["lr"] < math.inf:
        raise InputError(f"lr is {settings['lr']}; a learning rate is above 0 and finite")


def _plan(settings: Mapping[str, Any], epochs: int, seed: int) -> "Plan":
    """How each climb goes: at one beta, to the end; warm-up and patience would blur equal steps."""
    from ppvae.svi import Plan

    return Plan(
        epochs=epochs,
        batch_size=settings["batch_size"],
        beta=settings["beta"],
        clip=settings["clip"],
        seed=seed,
    )


def _first(data: Data, settings: Mapping[str, Any]) -> Batch:
    """The batch that values and gradients are taken on: the first rows of the training data."""
    return data.train.take(torch.arange(min(settings["batch_size"], len(data.train))))


# Climbing


class _Climb:
    """One climb by one bound, an epoch at a time, beside another on the same modules.

    Weights and noise are its own: it takes them out before an epoch, and puts them away after.
    """

    def __init__(self, loop: "SVI", judge: "Bound | None", weights: Mapping[str, Any]) -> None:
        self._loop: SVI | None = loop
        self._judge = judge
        self._epochs = loop.epochs(on_step=self._tick)
        self.weights = _copied(weights)
        # The constructor of the loop has just seeded its noise.
        self._random = _random_state(loop.device)
        self._ticks: list[float] = []
        self.steps: list[int] = []
        self.bounds: list[float] = []
        self.ms: list[list[float]] = []

    def epoch(self) -> None:
        """Climb for an epoch, timing each step but the first, and evaluate."""
        from ppvae.svi import DRAWS, evaluate

        loop = self._loop
        if loop is None:
            raise RuntimeError("this climb is over")
        loop.bound.pair.load_state_dict(self.weights)
        _set_random_state(loop.device, self._random)
        self._ticks = []
        epoch = next(self._epochs)
        self._random = _random_state(loop.device)
        self.weights = _copied(loop.bound.pair.state_dict())
        held_out = epoch.valid.elbo
        if self._judge is not None:
            held_out = evaluate(
                self._judge,
                loop.valid,
                batch_size=loop.plan.batch_size,
                draws=-(-DRAWS // len(loop.valid)),
                seed=loop.plan.seed,
                device=loop.device,
            ).elbo
        if held_out is None or not math.isfinite(held_out):
            raise InputError(
                f"the held-out bound is {held_out} after epoch {epoch.epoch}; take a smaller lr"
            )
        self.steps.append(epoch.step)
        self.bounds.append(held_out)
        ticks = self._ticks
        self.ms.append([1e3 * (b - a) for a, b in pairwise(ticks)])

    def _tick(self) -> None:
        if self._loop is not None and self._loop.device.type == "cuda":
            torch.cuda.synchronize(self._loop.device)
        self._ticks.append(time.perf_counter())

    def forget(self) -> None:
        """Let go of weights and optimizer; the figures stay."""
        self._loop, self._judge, self._epochs, self.weights = None, None, iter(()), {}


def _climb(
    subject: _Subject, pair: Pair, plan: "Plan", fabric: "Fabric", count: Callable[[], None]
) -> dict[str, _Climb]:
    """Both climbs of one seed, from the same weights, in turns."""
    from ppvae.svi import fold_seed

    settings = subject.settings
    optimizer = made(
        KINDS["optimizer"],
        Choice.parse(settings["optimizer"], "--optimizer", trusted=False),
        subject.trust,
    )
    loops = {
        name: make_loop(
            pair, maker_of("elbo", name, subject.trust), subject.facts[name], optimizer, None,
            settings, plan, subject.data, fabric,
        )
        for name in (ANALYTIC, SAMPLED)
    }  # fmt: skip
    initial = _copied(pair.state_dict())
    judge = loops[ANALYTIC].bound
    climbs = {}
    for name, loop in loops.items():
        # Both have the noise of this seed from the start, as a fit of its own would.
        torch.manual_seed(fold_seed(plan.seed, 0, 0))
        climbs[name] = _Climb(loop, None if name == ANALYTIC else judge, initial)
    for epoch in range(plan.epochs):
        for name in (SAMPLED, ANALYTIC) if epoch % 2 == 0 else (ANALYTIC, SAMPLED):
            climbs[name].epoch()
            count()
    return climbs


def _noises(
    subject: _Subject,
    weights: Mapping[str, Any],
    fabric: "Fabric",
    draws: int,
    seed: int,
    count: Callable[[], None],
    pair: Pair | None = None,
) -> dict[str, Any]:
    """Both bounds at the same weights and on the same batch, each with noise of its own."""
    from ppvae.diagnostics.estimators import noise
    from ppvae.objectives import Bound
    from ppvae.svi import fold_seed

    settings, found = subject.settings, {}
    batch = {name: x.to(fabric.device) for name, x in _first(subject.data, settings).items()}
    with _weights_restored(pair or subject.build(seed)) as held:
        held.load_state_dict(weights)
        held.to(fabric.device)
        for number, name in enumerate((SAMPLED, ANALYTIC)):
            elbo = KINDS["elbo"].names()[name]
            found[name] = noise(
                Bound(held, elbo, subject.facts[name], settings["particles"]),
                batch,
                draws=draws,
                seed=fold_seed(seed, 5, number),
                beta=settings["beta"],
                on_draw=count,
            )
    return found


def _seed_all(seed: int) -> None:
    import pyro

    pyro.set_rng_seed(seed)


@contextmanager
def _randomness_restored() -> Iterator[None]:
    """Leave the generators of Python, NumPy and torch, on every device, as they were."""
    from pyro.util import get_rng_state, set_rng_state

    before = get_rng_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        set_rng_state(before)


@contextmanager
def _weights_restored(pair: Pair) -> Iterator[Pair]:
    """Lend a pair, and give its modules their weights, device and gradients back."""
    before = _copied(pair.state_dict())
    device = next(pair.parameters()).device
    training = [(part, part.training) for part in pair.modules()]
    try:
        yield pair
    finally:
        pair.to(device).load_state_dict(before)
        pair.zero_grad()
        for part, mode in training:
            part.training = mode


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.detach().clone() if isinstance(v, torch.Tensor) else v for k, v in state.items()}


def _random_state(device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), on_device


def _set_random_state(
    device: torch.device, state: tuple[torch.Tensor, torch.Tensor | None]
) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)


# What the numbers say


def _side(measured: Any, climbs: Sequence[_Climb]) -> Side:
    groups = measured.groups
    times = torch.tensor([ms for climb in climbs for epoch in climb.ms for ms in epoch])
    return Side(
        values=tuple(measured.values.tolist()),
        mean=measured.mean,
        standard_error=measured.standard_error,
        gradient_variance={name: group.variance for name, group in groups.items()},
        gradient_variance_error={name: group.variance_error for name, group in groups.items()},
        snr={name: group.snr for name, group in groups.items()},
        ms_per_step=float(times.median()) if len(times) else math.nan,
        curves=tuple((tuple(climb.steps), tuple(climb.bounds)) for climb in climbs),
        held_out=tuple(climb.bounds[-1] for climb in climbs),
        blocks=measured.blocks,
    )


def _time_ratio(arms: Mapping[str, Sequence[_Climb]]) -> tuple[float, float | None]:
    """Ratio of median times within pairs of neighbouring epochs, and its standard error.

    The first epoch of a seed warms the machine up, and is left out where there are others.
    """
    logs = []
    for analytic, sampled in zip(arms[ANALYTIC], arms[SAMPLED], strict=True):
        pairs = list(zip(analytic.ms, sampled.ms, strict=True))
        for a, b in pairs[1:] or pairs:
            if a and b:
                logs.append(float((torch.tensor(a).median() / torch.tensor(b).median()).log()))
    if not logs:
        return math.nan, None
    mean, error = _mean_and_error(logs)
    return math.exp(mean), None if error is None else math.exp(mean) * error


def _paired(sides: Mapping[str, Side]) -> tuple[float, float | None]:
    pairs = zip(sides[ANALYTIC].held_out, sides[SAMPLED].held_out, strict=True)
    return _mean_and_error([a - b for a, b in pairs])


def _mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    numbers = torch.tensor(values, dtype=torch.float64)
    error = float(numbers.std() / math.sqrt(len(numbers))) if len(numbers) > 1 else None
    return float(numbers.mean()), error


def conclusion(
    sides: Mapping[str, Side],
    time_ratio: tuple[float, float | None],
    held_out: tuple[float, float | None],
    steps: int,
    exact: Sequence[str],
) -> str:
    """One sentence of the numbers; what noise could have made is called no difference.

    A difference is one that noise alone shows once in a hundred times by Student's t, and once in
    twenty for the held-out bounds, of which there are as few as seeds.
    """
    a, b = sides[ANALYTIC], sides[SAMPLED]
    clauses = [
        _agreement(a, b),
        _gradients(a, b) + f" at {_ratio(time_ratio)} of the time per step",
        _climbed(held_out, len(a.held_out), steps),
    ]
    if not exact:
        clauses.insert(
            0, "no KL of this pair has a closed form, so that the two bounds are one estimator"
        )
    sentence = "; ".join(clauses)
    return sentence[0].upper() + sentence[1:] + "."


def _agreement(a: Side, b: Side) -> str:
    apart, error = a.mean - b.mean, math.hypot(a.standard_error, b.standard_error)
    if error < 1e-6 * max(1.0, abs(a.mean)):
        return (
            f"on the same weights the two bounds are {apart:.1g} nats apart, with next to no noise"
        )
    off = abs(apart) / error
    verb = "differ by" if _is_told(apart, error, len(a.values) - 1) else "agree within"
    return (
        f"on the same weights the two bounds {verb} {off:.1f} standard errors ({apart:+.2g} nats)"
    )


def _gradients(a: Side, b: Side) -> str:
    """Groups of parameters by what can be told of their variances' ratio."""
    told: list[str] = []
    alike: list[str] = []
    for group in a.gradient_variance:
        va, vb = a.gradient_variance[group], b.gradient_variance[group]
        if va <= 0 and vb <= 0:
            continue
        if va <= 0 or vb <= 0:
            told.append(f"{'no' if va <= 0 else 'some'} variance, unlike the other, in {group}")
            continue
        ratio = vb / va
        error = math.hypot(
            a.gradient_variance_error[group] / va, b.gradient_variance_error[group] / vb
        )
        if not _is_told(math.log(ratio), error, a.blocks + b.blocks - 2):
            alike.append(group)
            continue
        times = ratio if ratio > 1 else 1 / ratio
        word = "less" if ratio > 1 else "more"
        told.append(f"{times:.3g} +- {times * error:.1g} times {word} variance in {group}")
    said = [f"{ANALYTIC}'s gradient has " + " and ".join(told)] if told else []
    if alike:
        same = " and ".join(alike)
        said.append(
            f"the same within noise in {same},"
            if said
            else f"the gradients' variance is the same within noise in {same},"
        )
    return ", ".join(said) or "neither gradient has noise"


def _climbed(held_out: tuple[float, float | None], seeds: int, steps: int) -> str:
    mean, error = held_out
    where = f"after {steps:,} equal steps the held-out"
    if error is None:
        return f"{where} bounds differ by {mean:+.2f} nats, in one seed, which does not show noise"
    figures = f"{abs(mean):.2f} +- {error:.2f} nats ({seeds} seeds)"
    if not _is_told(mean, error, seeds - 1, tail=0.025):
        return f"{where} bounds differ by {figures}, which noise could have made"
    return f"{where} bound is higher with {ANALYTIC if mean > 0 else SAMPLED}, by {figures}"


def _ratio(time_ratio: tuple[float, float | None]) -> str:
    ratio, error = time_ratio
    return f"{ratio:.2f}" if error is None else f"{ratio:.2f} +- {error:.2f}"


def _is_told(difference: float, error: float, freedom: int, tail: float = 0.005) -> bool:
    """Whether a difference is more than noise shows by chance, ``tail`` on each side."""
    from scipy.stats import t

    return bool(abs(difference) > float(t.ppf(1 - tail, max(freedom, 1))) * error)


# Files and the terminal


def _refuse_occupied(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds anything but a comparison that may be overwritten."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise InputError(f"{path} is no folder of its own; give another --out")
    if not path.exists() or not any(path.iterdir()):
        return
    if not (path / "comparison.json").is_file():
        raise InputError(
            f"{path} holds files that are no comparison, and stays; give another --out"
        )
    if not overwrite:
        raise InputError(
            f"{path} holds a comparison already; give another --out, or lose it by --overwrite"
        )


def _finite(value: Any) -> Any:
    """The same with ``None`` for numbers that JSON lacks, and text for choices and paths."""
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)


def _show(result: Comparison) -> None:
    from ppvae.terminal import say, show_table

    a, b = result.sides[SAMPLED], result.sides[ANALYTIC]

    def row(name: str, figure: Callable[[Side], str]) -> tuple[str, str, str]:
        return name, figure(a), figure(b)

    def mean_of(side: Side) -> str:
        mean, error = _mean_and_error(side.held_out)
        return f"{mean:.2f}" if error is None else f"{mean:.2f} +- {error:.2f}"

    rows = [
        row("bound, same weights", lambda s: f"{s.mean:.3f} +- {s.standard_error:.3f}"),
        row("  sd of one estimate", lambda s: f"{s.standard_error * len(s.values) ** 0.5:.3g}"),
    ]
    for group in a.gradient_variance:
        rows.append(row(f"gradient of {group}", lambda _: ""))
        rows.append(
            row(
                "  variance, summed",
                lambda s, g=group: (  # type: ignore[misc]  # mypy infers no defaulted lambda
                    f"{s.gradient_variance[g]:.3g} +- {s.gradient_variance_error[g]:.1g}"
                ),
            )
        )
        rows.append(row("  signal to noise", lambda s, g=group: f"{s.snr[g]:.2f}"))  # type: ignore[misc]
    rows.append(row("ms per step", lambda s: f"{s.ms_per_step:.2f}"))
    rows.append(row(f"held out, {result.steps:,} steps", mean_of))
    show_table(
        f"nats per datum; {result.draws} repetitions, {result.seeds} seed(s)",
        ("", SAMPLED, ANALYTIC),
        rows,
    )
    say(f"same weights: {result.weights}; held-out bounds of both: {result.estimator}")
    say(result.sentence)
    say(f"everything is in {result.path}: comparison.json, figures/compare.png")


def main(argv: Sequence[str]) -> None:
    """The command: compare, and show."""
    _show(compare(**given_arguments(compare, argv)))


if __name__ == "__main__":
    answer(main, sys.argv[1:])
