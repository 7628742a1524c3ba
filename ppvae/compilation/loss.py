"""The loss of two Pyro programs as one compiled module: Pyro's ``elbo(model, guide)``, compiled.

`capture` returns an ``nn.Module`` with the parameters of the programs, whose call is the loss; the
rest of a training loop stays the same::

    loss = capture(model, guide, Trace_ELBO(), x)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)
    for x in batches:
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()

A whole training step with its optimizer is `ppvae.compilation.step.CapturedStep`.
"""

from typing import Any, cast

import torch
from pyro.infer import ELBO
from torch import Tensor, nn

from ppvae.compilation.captured import Captured
from ppvae.compilation.guard import CHECK
from ppvae.compilation.python_state.snapshot import preserved
from ppvae.errors import InputError
from ppvae.programs import Pair, Program, evaluating
from ppvae.programs.streams import forked


def capture(
    model: Program,
    guide: Program,
    elbo: ELBO,
    x: Tensor,
    *,
    compile: bool = True,
    check: int = CHECK,
    **extras: Tensor,
) -> Captured:
    """The loss of a model and a guide under one of Pyro's bounds, as one compiled module.

    Called as ``loss(x, **extras)`` it returns Pyro's ``elbo.differentiable_loss``: minus the bound,
    in nats, summed over the batch, with new draws at each call.

    Args:
        model: a Pyro program, called as ``model(x, **extras)``.
        guide: a Pyro program, called in the same way.
        elbo: a bound with a ``differentiable_loss``.
        x: a batch, on which the programs run once to find their parameters.
        compile: false: the graph is run as traced, operation by operation.
        check: compare graph and programs every so many calls, in addition to the first ones; see
            `Captured`.
        extras: further arguments of the programs, such as ``y``.

    Raises:
        InputError: if the bound has no differentiable loss, or the programs have no parameters.
    """
    if not callable(getattr(elbo, "differentiable_loss", None)):
        raise InputError(
            f"{type(elbo).__name__} has no differentiable_loss, which a graph needs; take "
            "Trace_ELBO, TraceMeanField_ELBO, or ppvae.bounds.ImportanceWeightedELBO"
        )
    # Counters in the programs are restored, as no call was asked for yet.
    with preserved({"model": model, "guide": guide}, counts=True):
        loss = _Loss(Pair(model, guide, {"x": x, **extras}), elbo)
        # Run once without a graph, as a bound counts the plates at its first call.
        with forked(loss.pair.device), evaluating(loss), torch.enable_grad():
            loss(x, **extras)
    return Captured(loss, compile=compile, check=check)


class _Loss(nn.Module):
    """Pyro's loss of a pair of programs."""

    def __init__(self, pair: Pair, elbo: ELBO) -> None:
        super().__init__()
        self.pair, self.elbo = pair, elbo

    def forward(self, x: Tensor, **extras: Tensor) -> Tensor:
        loss: Tensor = cast("Any", self.elbo).differentiable_loss(
            self.pair.call_model, self.pair.call_guide, x, **extras
        )
        return loss
