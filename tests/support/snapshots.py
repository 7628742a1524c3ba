"""The state of a process that a fit could change, to be compared before and after."""

import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyro
import torch
from pyro.util import get_rng_state

Snapshot = dict[str, dict[Any, Any]]


def snapshot() -> Snapshot:
    """The current state, by part and name."""
    known = logging.Logger.manager.loggerDict.items()
    loggers = {"": logging.getLogger()} | {
        name: logger for name, logger in known if isinstance(logger, logging.Logger)
    }
    cudnn, generators = torch.backends.cudnn, get_rng_state()
    return {
        "environment": dict(os.environ),
        "warnings": {"filters": list(warnings.filters), "show": warnings.showwarning},
        "loggers": {
            name: (log.level, log.propagate, log.disabled, list(log.handlers))
            for name, log in loggers.items()
        },
        "cudnn": {n: getattr(cudnn, n) for n in ("benchmark", "deterministic", "enabled")},
        "torch": {
            "dtype": torch.get_default_dtype(),
            "threads": torch.get_num_threads(),
            "matmul": torch.get_float32_matmul_precision(),
            "gradients": torch.is_grad_enabled(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "checks": torch.distributions.Distribution._validate_args,
        },
        "pyro": pyro.settings.get(),
        "parameters": {name: p.tolist() for name, p in pyro.get_param_store().items()},
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "matplotlib": dict(mpl.rcParams),
        "numpy": np.geterr(),
        "system": {
            "hooks": (sys.excepthook, sys.unraisablehook, sys.displayhook),
            "path": list(sys.path),
            "folder": Path.cwd(),
            "recursion": sys.getrecursionlimit(),
        },
        "draws": {
            "torch": generators["torch"].tolist(),
            "numpy": str(generators["numpy"]),
            "python": generators["random"],
        },
    }


def changes(before: Snapshot) -> list[str]:
    """Changes since a snapshot, except loggers that libraries create on import."""
    after = snapshot()
    return [
        f"{part}, {name}: {old.get(name)} is now {after[part].get(name)}"
        for part, old in before.items()
        for name in (old if part == "loggers" else old.keys() | after[part].keys())
        if old.get(name) != after[part].get(name)
    ]
