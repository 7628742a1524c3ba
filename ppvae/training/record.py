"""What ``config.yaml`` holds: the settings as they resolved, and the facts of the fit."""

from pathlib import Path
from typing import Any

import torch

from ppvae.run.facts import facts_of
from ppvae.settings import Settings
from ppvae.training.chosen_parts import Chosen
from ppvae.training.data_and_programs import Meeting, recorded

__all__ = ["config_of"]


def config_of(
    settings: Settings,
    chosen: Chosen,
    meeting: Meeting,
    device: torch.device,
    *,
    is_compiled: bool,
) -> dict[str, Any]:
    """The ``config.yaml`` of a fit that is about to begin."""
    where, made = settings.data_dir, meeting.made
    resolved = {
        "data": recorded(settings.data),
        "data_dir": None if where is None else str(Path(where).resolve()),
        "binarize": meeting.data.binarize,
    }
    facts = facts_of(meeting.data, meeting.pair, device)
    facts |= {"compiled": is_compiled, "log_counts": made.log_counts}
    settled = resolved | chosen.recorded() | made.parts
    return settings.recorded() | settled | {"run": facts}
