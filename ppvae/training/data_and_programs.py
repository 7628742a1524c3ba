"""Data and programs of a fit, before the first step."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ppvae.bounds.audit import audit
from ppvae.components.building import Programs, build_programs
from ppvae.components.contracts import is_foreign
from ppvae.components.data_support import check_density, check_labels, check_support, values_of
from ppvae.components.kinds import KINDS
from ppvae.components.memory import TRAINING
from ppvae.components.resolving import resolve
from ppvae.components.spec import Spec
from ppvae.data import Batch, Data, load, scaled_as, suited
from ppvae.data.labels import hide
from ppvae.data.options import UNKNOWN_SCHEMA, Schema
from ppvae.data.rescaling import totalled
from ppvae.data.scaling import COUNTS
from ppvae.errors import InputError
from ppvae.programs import Pair, Program
from ppvae.programs.classification import has_classes
from ppvae.programs.facts import Audit
from ppvae.programs.failures import explained
from ppvae.programs.streams import Stream, restored, seed_process
from ppvae.run import Run
from ppvae.settings import READING, Settings
from ppvae.training.chosen_parts import Chosen, is_per_column, suited_programs
from ppvae.training.starting import opened_start, scaled_as_start, take_weights
from ppvae.training.trial import check_numbers, unmoved

EXAMPLES = 2_000
"""Number of training data for the initialization of parts, such as pseudo-inputs."""

KEPT = 2**20
"""Maximum size of the rows that a run keeps to trace the programs: 4 MiB."""


@dataclass(frozen=True)
class Meeting:
    """Data, and the two programs built for it.

    Attributes:
        everything: the data, with all of its labels.
        data: the data as the programs see it, without hidden labels.
        batch: the first batch of the training data.
        made: the programs, and their parts.
        pair: the two as one.
        facts: their audit.
        start: the run whose weights they start from, or None.
    """

    everything: Data
    data: Data
    batch: Batch
    made: Programs
    pair: Pair
    facts: Audit
    start: Run | None = None


def meet(settings: Settings, chosen: Chosen, everything: Data) -> Meeting:
    """Build the programs for these data, with initial weights by the seed, and audit them."""
    data = labels_hidden(everything, settings)
    seed_process(settings.seed)
    batch = first_batch(data, settings)
    made = assembled(suited_programs(chosen.programs, data, settings.trust), data, settings)
    with explained(f"on the first {len(batch['x'])} rows"):
        pair = Pair(made.model, made.guide, batch)
        facts = audit(pair, chosen.elbo.target, batch)
    return Meeting(everything, data, batch, made, pair, facts)


def meet_suited(settings: Settings, chosen: Chosen) -> Meeting:
    """Read the data, scaled and binarized for the likelihood, and build the programs.

    Raises:
        InputError: for data outside the support of the programs.
    """
    start = opened_start(settings)
    everything = read_data(settings, UNKNOWN_SCHEMA if start is None else start.schema)
    if is_per_column(suited_programs(chosen.programs, everything, settings.trust)):
        everything = suited(everything, "columns", settings.scale)
    meeting = meet(settings, chosen, everything)
    is_open = settings.binarize is None and not isinstance(settings.data, Data)
    fit_for = values_of(meeting.facts)
    everything = suited(everything, fit_for, settings.scale, may_binarize=is_open)
    everything = scaled_as_start(everything, start, settings)
    if everything is not meeting.everything:
        meeting = meet(settings, chosen, everything)
    data, pair, facts = meeting.data, meeting.pair, meeting.facts
    check_support(data, facts)
    meeting = replace(meeting, batch=first_batch(data, settings), start=start)
    if start is not None:
        take_weights(pair, start)
    check_numbers(pair, meeting.batch)
    check_density(pair, facts, meeting.batch)
    if settings.labels is not None and not has_classes(facts):
        raise InputError(
            f"`labels={settings.labels}` hides labels, so the model must infer them; take "
            "`model='SemiSupervisedVAE', guide='SemiSupervised', elbo='TraceEnum_ELBO'`, or leave "
            "it out"
        )
    check_labels(data, pair, facts)
    return meeting


def first_batch(data: Data, settings: Settings) -> Batch:
    """The first rows of the training data, to trace the programs.

    Only shapes, sites and supports are read from them, which are the same for all rows.
    """
    return data.train.take(torch.arange(min(settings.batch_size, len(data.train))))


def read_data(settings: Settings, schema: Schema = UNKNOWN_SCHEMA) -> Data:
    """The data by name or path; a data object stays itself.

    Args:
        settings: how they are read.
        schema: the schema of the run that the fit starts from.
    """
    data, where = settings.data, settings.data_dir
    asked = {name: getattr(settings, name) for name in READING}
    said = {name: value for name, value in asked.items() if value is not None}
    if isinstance(data, Data):
        for name, value in said.items():
            raise InputError(
                f"`{name}={value!r}` says how to read data, but {data.name} is read already: give "
                "it to ppvae.data.load"
            )
        return data
    return load(
        Path(data) if isinstance(data, os.PathLike) else data,
        data_dir=Path(where) if isinstance(where, str) else where,
        binarize=settings.binarize or "none",
        scale=settings.scale,
        schema=schema,
        **said,
    )


def labels_hidden(data: Data, settings: Settings) -> Data:
    """The data with the number of labels in the settings, by default all."""
    return data if settings.labels is None else hide(data, settings.labels, settings.seed)


def true_labels(data: Data) -> torch.Tensor | None:
    """Labels of the test data, one number per datum, if there are any."""
    if data.labels is None:
        return None
    label = data.test.annotations.label
    return data.test.beside["y"] if label is None else label


def recorded(data: object) -> Any:
    """The data as recorded in ``config.yaml``, so that it is found from any folder."""
    if not isinstance(data, (str, os.PathLike)):
        return {"python_object": data.name if isinstance(data, Data) else type(data).__name__}
    path = Path(data).expanduser()
    return str(path.resolve()) if path.exists() else str(data)


def recorded_part(path: str | Path | None) -> str | None:
    """A file of further rows as recorded in ``config.yaml``; ``none`` is kept."""
    return None if path is None else "none" if path == "none" else str(Path(path).resolve())


def assembled(
    parts: Mapping[str, Spec | Program | None], data: Data, settings: Settings
) -> Programs:
    """Model and guide for these data: see `build_programs`."""
    some = data.train.take(Stream.EXAMPLES.rows(len(data.train), EXAMPLES, settings.seed))
    return build_programs(
        parts,
        latent_dim=settings.latent_dim,
        data_shape=data.shape,
        classes=data.classes,
        covariates=data.covariates,
        columns=data.columns,
        examples=some["x"],
        mask=some.get("mask"),
        size_factor=some.get("size_factor"),
        encode_covariates=settings.encode_covariates == "on",
        log_counts=data.scaling == COUNTS,
        trust=settings.trust,
        copies=TRAINING,
    )


def data_again(run: Run, data: object, data_dir: str | Path | None) -> Data:
    """The data of a resumed fit: read again, or given."""
    where = None if data_dir is None else Path(data_dir)
    if data is None:
        moved = "resume in Python with their new path: resume(run, data=PATH)"
        return run.data(where, hidden=False, way_out=f"put them back, or {moved}")
    if not isinstance(data, Data):
        data = run.read_alike(data, where)
    if run.config.get("size_factor") == "total":
        data = totalled(data)
    run.check_fitted_to(data)
    return data if data.source is None else scaled_as(data, run.scaling)


def programs_again(
    run: Run, settings: Settings, chosen: Chosen, everything: Data
) -> tuple[Data, Pair, Audit]:
    """Data, programs and audit of a resumed fit."""
    data = labels_hidden(everything, settings)
    seed_process(settings.seed)
    pair = run.build().to(torch.float32)
    batch = first_batch(data, settings)
    with explained(f"on the first {len(batch['x'])} rows"):
        facts = audit(pair, chosen.elbo.target, batch)
    check_support(data, facts)  # the file may have changed
    return data, pair, facts


def check_made_again(meeting: Meeting, example: Batch, settings: Settings) -> None:
    """Check that programs given by name can be built again when the run is opened.

    Programs of the package, which its tests check, and objects made in Python are skipped.

    Raises:
        InputError: if the fitted weights would not fit the programs.
    """
    data, pair, trust = meeting.data, meeting.pair, settings.trust
    parts = {name: value for name, value in meeting.made.parts.items() if value is not None}
    if any("python_object" in value for value in parts.values()):
        return
    choices = {name: Spec.parse(value, name) for name, value in parts.items()}
    if not any(is_foreign(resolve(KINDS[name], c, trust)) for name, c in choices.items()):
        return
    with explained("when they are made a second time"), restored(), unmoved(pair):
        again = build_programs(
            choices, latent_dim=settings.latent_dim, data_shape=data.shape,
            classes=data.classes, covariates=data.covariates, columns=data.columns,
            examples=example["x"], mask=example.get("mask"),
            size_factor=example.get("size_factor"),
            encode_covariates=settings.encode_covariates == "on",
            log_counts=data.scaling == COUNTS, trust=trust,
        )  # fmt: skip
        fresh = Pair(again.model, again.guide, example).state_dict()
    weights = pair.state_dict()
    for name in weights | fresh:
        one, other = (tuple(d[name].shape) if name in d else None for d in (weights, fresh))
        if one != other:
            raise InputError(
                f"'{name}' has shape {other} in the programs built a second time, but {one} in "
                "those to be fitted, so the run could not be opened: sizes must depend only on "
                "the constructor arguments and the shape of x"
            )


def few(batch: Batch) -> Batch:
    """The rows of a batch that a run keeps: all, unless they are large."""
    numbers = sum(value[0].numel() for value in batch.values())
    rows = max(2, KEPT // numbers)
    return {name: value[:rows] for name, value in batch.items()}
