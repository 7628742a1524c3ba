"""The program on which two bounds are compared: a new one from its parts, or that of a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ppvae.bounds.audit import audit
from ppvae.comparison.bounds.result import ANALYTIC, SAMPLED
from ppvae.comparison.bounds.weights import weights_restored
from ppvae.components.data_support import check_support, values_of
from ppvae.components.kinds import KINDS
from ppvae.components.names import DEFAULTS
from ppvae.data import Batch, Data, suited
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from ppvae.programs.streams import seed_process
from ppvae.run import Run
from ppvae.settings import CompareBounds, Settings
from ppvae.training.chosen_parts import part_of, suited_programs
from ppvae.training.data_and_programs import assembled, first_batch, read_data, recorded

CHANGED = ("particles", "beta", "batch_size", "lr")
"""Settings of a run's program that a comparison may change."""

FRESH = ("data", "label", "binarize", *DEFAULTS, "latent_dim")
"""Settings of a new program, which a run already has."""


@dataclass(frozen=True)
class Subject:
    """The program on which bounds are compared, and its data.

    ``build`` makes the pair with the initial weights of a seed. ``weights`` are those of a run, if
    it is a run's program; ``where`` names the run.
    """

    build: Callable[[int], Pair]
    data: Data
    audits: dict[str, Audit]
    settings: Settings
    record: dict[str, Any]
    trust: Sequence[str]
    weights: dict[str, Any] | None = None
    where: str = ""


def new_subject(asked: CompareBounds) -> Subject:
    """A program from its parts, made as in `ppvae.fit.fit`."""
    settings = Settings(
        **_given(asked, (*FRESH, *CHANGED)), data_dir=asked.data_dir, seed=asked.seed,
        schedule=None, trust=asked.trust,
    )  # fmt: skip
    data = read_data(settings)
    chosen = {part: part_of(part, getattr(settings, part)) for part in DEFAULTS}

    def build(number: int) -> Pair:
        seed_process(number)
        made = assembled(suited_programs(chosen, data, settings.trust), data, settings)
        record.update(made.parts)
        return Pair(made.model, made.guide, first_batch(data, settings))

    record: dict[str, Any] = {}
    with weights_restored(build(asked.seed)) as pair:
        audits = _audits(pair, first_batch(data, settings))
    may_binarize = settings.binarize is None and not isinstance(settings.data, Data)
    data = suited(data, values_of(audits[SAMPLED]), may_binarize=may_binarize)
    check_support(data, audits[SAMPLED])
    record |= {name: getattr(settings, name) for name in ("latent_dim", *CHANGED)}
    record |= {
        "data": recorded(settings.data), "label": settings.label, "binarize": data.binarize
    }  # fmt: skip
    return Subject(build, data, audits, settings, record, asked.trust)


def subject_of(run: Run, asked: CompareBounds) -> Subject:
    """The program of a run, with its settings."""
    for name in _given(asked, FRESH):
        raise InputError(
            f"`{name}` cannot change together with `run`, which has its own program and data; "
            "leave it out, or compare on a new program without `run`"
        )
    begun = Settings.of(run.config, run.path / "config.yaml")
    settings = replace(begun, **_given(asked, CHANGED))
    data = run.data(None if asked.data_dir is None else Path(asked.data_dir))
    weights = run.state()["weights"]

    def build(number: int) -> Pair:
        seed_process(number)
        return run.build()

    with weights_restored(build(asked.seed)) as pair:
        audits = _audits(pair, first_batch(data, settings))
    check_support(data, audits[SAMPLED])
    record = settings.recorded() | {"run": str(run.path)}
    where = f"the best checkpoint of {run.path}"
    return Subject(build, data, audits, settings, record, asked.trust, weights, where)


def _given(asked: CompareBounds, names: Sequence[str]) -> dict[str, Any]:
    """Those of the named settings that were given."""
    values = {name: getattr(asked, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _audits(pair: Pair, batch: Batch) -> dict[str, Audit]:
    """The audit of the pair under each bound.

    Raises:
        InputError: if there is no bound, or the analytic one would be wrong.
    """
    audits = {}
    for name in (SAMPLED, ANALYTIC):
        audits[name] = audit(pair, KINDS["elbo"].names()[name], batch)
        if not audits[name].is_bound:
            sites = ", ".join(f"'{s.name}'" for s in audits[name].sites if s.kl == "point mass")
            raise InputError(
                f"the guide has a point mass at {sites}, whose density is infinite: there is no "
                "bound to compare estimates of; take a guide with a density, such as MeanField"
            )
    return audits
