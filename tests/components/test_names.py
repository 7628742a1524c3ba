"""The table of names equals that of the classes, without importing them."""

import inspect
import subprocess
import sys
from types import ModuleType

import torch
from torch import nn
from torch.optim import lr_scheduler

import ppvae.guides
import ppvae.models
from ppvae import networks
from ppvae.bounds import ELBOS
from ppvae.components.kinds import KINDS
from ppvae.components.names import NAMES
from ppvae.models import Likelihood, Prior


def exported(module: ModuleType, base: type, *but: type) -> set[str]:
    """Exported concrete classes of a module that derive from ``base`` and from none of ``but``."""
    classes = {name: getattr(module, name) for name in module.__all__}
    return {
        name
        for name, value in classes.items()
        if inspect.isclass(value) and issubclass(value, base) and not issubclass(value, but)
        if not inspect.isabstract(value)
    }


# LBFGS evaluates the loss repeatedly in a step; SparseAdam needs sparse gradients.
OTHER_LOOP = {"Optimizer", "LBFGS", "SparseAdam"}
MADE_OF_OTHERS = {"SequentialLR", "ChainedScheduler", "LambdaLR", "MultiplicativeLR"}


def test_the_table_of_names_is_that_of_the_classes() -> None:
    optimizers = {
        name
        for name, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer)
    }
    schedules = {n for n in lr_scheduler.__all__ if n.endswith(("LR", "Plateau", "Restarts"))}
    classes = {
        "model": exported(ppvae.models, nn.Module, Prior, Likelihood),
        "prior": exported(ppvae.models.priors, Prior),
        "likelihood": exported(ppvae.models.likelihoods, Likelihood),
        "decoder": exported(networks, nn.Module),
        "guide": exported(ppvae.guides, nn.Module) - {"Amortized"},
        "encoder": exported(networks, nn.Module),
        "elbo": {elbo.__name__ for elbo in ELBOS},
        "optimizer": optimizers - OTHER_LOOP,
        "schedule": schedules - MADE_OF_OTHERS,
    }
    assert {kind: tuple(sorted(names)) for kind, names in classes.items()} == NAMES
    for kind, names in classes.items():
        found = KINDS[kind].names()
        assert found.keys() == names
        assert all(found[name].__name__ == name for name in names)


def test_the_table_is_read_without_torch() -> None:
    code = "import sys, ppvae.components.names; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
