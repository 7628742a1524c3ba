"""Programs of a run, built from its ``config.yaml``."""

from collections.abc import Iterable, Mapping

import torch

from ppvae.components.building import build_programs
from ppvae.components.names import DEFAULTS, PARTS
from ppvae.components.spec import Spec
from ppvae.data import Batch
from ppvae.errors import InputError
from ppvae.programs import Pair, Program
from ppvae.run.config import entry
from ppvae.run.data import RunData


def build_pair(
    run: RunData,
    handed: Mapping[str, Program | None],
    example: Batch,
    trust: Iterable[str],
) -> Pair:
    """Both programs, with initial weights.

    Args:
        run: its ``config.yaml``, which is untrusted.
        handed: ``model`` and ``guide`` objects, for a fit that was given objects.
        example: rows to trace the programs.
        trust: modules whose code may be imported.

    Raises:
        InputError: if the programs cannot be made.
    """
    path, config = run.path, run.config
    parts: dict[str, Spec | Program | None] = {}
    objects = {
        part: value["python_object"]
        for part in DEFAULTS
        if isinstance(value := config.get(part), Mapping) and "python_object" in value
    }
    if missing := [part for part in objects if handed.get(part) is None]:
        wanted = ", ".join(f"{part}=..." for part in missing)
        raise InputError(
            f"the {missing[0]} of {path} was the Python object {objects[missing[0]]}; make a "
            f"similar one and pass it: ppvae.load('{path}', {wanted})"
        )
    for part in DEFAULTS:
        value, program = config.get(part), handed.get(part)
        if program is not None:
            parts[part] = program
        elif value is not None and handed.get(PARTS[part]) is None:
            parts[part] = Spec.parse(value, part, trusted=False)
    dtype = torch.float64 if str(config.get("precision")) == "64" else torch.float32
    try:
        programs = build_programs(
            parts,
            latent_dim=entry(config, "latent_dim", int, path),
            data_shape=run.data_shape,
            classes=0 if run.covariates else len(run.label_names or ()),
            covariates=run.covariates,
            columns=run.schema.columns,
            examples=example["x"],
            mask=example.get("mask"),
            size_factor=example.get("size_factor"),
            encode_covariates=config.get("encode_covariates") != "off",
            log_counts=entry(config["run"], "log_counts", bool, path),
            trust=trust,
        )
        return Pair(programs.model, programs.guide, example).to(dtype)
    except (RuntimeError, TypeError, OverflowError) as error:
        if tuple(trust) or any(program is not None for program in handed.values()):
            raise  # code outside this package: its author needs the traceback
        reason = str(error).splitlines()[0][:200]
        raise InputError(
            f"{path / 'config.yaml'} does not describe valid programs: {reason}"
        ) from error
