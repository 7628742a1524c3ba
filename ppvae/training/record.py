"""Content of ``config.yaml``: the resolved settings and facts of the fit."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ppvae.data import Data
from ppvae.run.config import FORMAT, versions
from ppvae.settings import Settings
from ppvae.training.chosen_parts import Chosen
from ppvae.training.data_and_programs import Meeting, recorded, recorded_part

if TYPE_CHECKING:  # the loop takes seconds to import
    from ppvae.training.trainer import Trainer


def config_of(
    settings: Settings,
    chosen: Chosen,
    meeting: Meeting,
    trainer: "Trainer",
    *,
    is_compiled: bool,
    asked: str | None,
) -> dict[str, Any]:
    """The ``config.yaml`` of a fit that is about to start.

    Args:
        settings: the resolved settings.
        chosen: the parts.
        meeting: data and programs.
        trainer: the trainer.
        is_compiled: whether it compiles.
        asked: digest of the given settings, if a launcher may restart the fit.
    """
    where, made, start = settings.data_dir, meeting.made, meeting.start
    resolved = {
        "data": recorded(settings.data),
        "data_dir": None if where is None else str(Path(where).resolve()),
        "binarize": meeting.data.binarize,
        "start": None if start is None else str(start.path),
        "size_factor": _size_factor(settings, meeting.data),
        **{part: recorded_part(getattr(settings, part)) for part in ("valid", "test")},
    }
    data, pair = meeting.data, meeting.pair
    facts = {
        "format": FORMAT,
        "versions": versions(),
        "began": datetime.now(UTC).isoformat(sep="T", timespec="seconds"),
        "device": str(trainer.device),
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in pair.parameters() if p.requires_grad),
        "data": {
            "name": data.name,
            "shape": list(data.shape),
            "rows": {name: len(split) for name, split in data.splits.items()},
            "scaling": data.scaling.to_dict(),
            "fingerprint": data.fingerprint(),
            "covariates": data.covariates,
            "names": None if data.names is None else list(data.names),
            **data.schema.to_dict(),
        },
        "compiled": is_compiled,
        "precision": trainer.fabric.strategy.precision.precision.removesuffix("-true"),
        "evaluation": asdict(trainer.evaluation),
        "log_counts": made.log_counts,
        "start": None if start is None else start.checkpoint,
    }
    if asked is not None:
        facts["asked"] = asked
    settled = resolved | chosen.recorded() | made.parts
    return settings.recorded() | settled | {"run": facts}


def _size_factor(settings: Settings, data: Data) -> str | None:
    """The resolved size factor; without one, the setting as given."""
    return settings.size_factor if data.size_factor in ("auto", "none") else data.size_factor
