"""What ``config.yaml`` keeps beside the settings: facts of the data, the programs, the machine."""

from typing import Any

import torch

from ppvae.data import Data
from ppvae.programs import Pair
from ppvae.run.config import FORMAT, versions

__all__ = ["facts_of"]


def facts_of(data: Data, pair: Pair, device: torch.device) -> dict[str, Any]:
    """The facts of a fit that is about to begin."""
    return {
        "format": FORMAT,
        "versions": versions(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in pair.parameters() if p.requires_grad),
        "data": {
            "name": data.name,
            "shape": list(data.shape),
            "rows": {name: len(split) for name, split in data.splits.items()},
            "scaling": data.scaling.to_dict(),
            "fingerprint": data.fingerprint(),
            "labels": None if data.labels is None else list(data.labels),
            "covariates": data.covariates,
        },
    }
