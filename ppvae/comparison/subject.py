"""The program that two bounds are compared on: a new one by its parts, or a run's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ppvae.bounds.audit import audit
from ppvae.comparison.lending import weights_restored
from ppvae.comparison.result import ANALYTIC, SAMPLED
from ppvae.components.building import DEFAULTS
from ppvae.components.kinds import KINDS
from ppvae.components.support import check_support, values_of
from ppvae.data import Batch, Data, suited
from ppvae.errors import InputError
from ppvae.networks import is_positive
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from ppvae.programs.streams import seed_process
from ppvae.run import Run
from ppvae.training.preparation import assembled, part_of, read_data, recorded

_FRESH = {"latent_dim": 20, "particles": 1, "beta": 1.0, "batch_size": 64, "lr": 2e-3}


@dataclass(frozen=True)
class Subject:
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


def new_subject(
    fresh: Mapping[str, Any],
    changes: Mapping[str, Any],
    data_dir: str | Path | None,
    seed: int,
    trust: Sequence[str],
) -> Subject:
    """A program by its parts, as `ppvae.fit.fit` makes it."""
    given = {key: value for key, value in {**fresh, **changes}.items() if value is not None}
    settings = _FRESH | given | {"clip": None, "precision": "32", "optimizer": "Adam"}
    name, binarize = given.get("data", "digits"), fresh["binarize"]
    found = read_data(name, data_dir, fresh["label"], binarize or "none")
    _check(settings)
    chosen = {part: part_of(part, fresh[part]) for part in DEFAULTS}

    def build(number: int) -> Pair:
        seed_process(number)
        assembly = assembled(chosen, found, settings["latent_dim"], trust)
        record.update(assembly.parts)
        return Pair(assembly.model, assembly.guide, first_batch(found, settings))

    record: dict[str, Any] = {}
    with weights_restored(build(seed)) as pair:
        facts = _audits(pair, first_batch(found, settings))
    may_binarize = binarize is None and not isinstance(name, Data)
    found = suited(found, values_of(facts[SAMPLED]), may_binarize=may_binarize)
    check_support(found, facts[SAMPLED])
    record |= {key: settings[key] for key in _FRESH}
    record |= {"data": recorded(name), "label": fresh["label"], "binarize": found.binarize}
    return Subject(build, found, facts, settings, record, trust)


def subject_of(
    run: Run,
    fresh: Mapping[str, Any],
    changes: Mapping[str, Any],
    data_dir: str | Path | None,
    seed: int,
    trust: Sequence[str],
) -> Subject:
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
        seed_process(number)
        return run.build()

    with weights_restored(build(seed)) as pair:
        facts = _audits(pair, first_batch(found, settings))
    check_support(found, facts[SAMPLED])
    record = settings | {"run": str(run.path)}
    where = f"the best checkpoint of {run.path}"
    return Subject(build, found, facts, settings, record, trust, weights, where)


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
    for name in ("latent_dim", "particles", "batch_size"):
        if settings[name] < 1:
            raise InputError(f"{name} is {settings[name]}; it must be at least 1")
    if not is_positive(settings["lr"]):
        raise InputError(f"lr is {settings['lr']}; a learning rate is above 0 and finite")


def first_batch(data: Data, settings: Mapping[str, Any]) -> Batch:
    """The batch that values and gradients are taken on: the first rows of the training data."""
    return data.train.take(torch.arange(min(settings["batch_size"], len(data.train))))
