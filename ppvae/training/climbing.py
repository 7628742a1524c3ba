"""A fit without a run: only the best weights, in memory.

`ppvae.fit.fit` also writes a run: its folder, results, figures and report.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pyro.infer import ELBO

from ppvae.bounds.audit import audit
from ppvae.data import Batch, Scaling
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from ppvae.programs.isolation import in_turn
from ppvae.settings import Settings
from ppvae.training.chosen_parts import chosen_parts
from ppvae.training.data_and_programs import few, meet_suited
from ppvae.training.processes import one_process
from ppvae.training.setup import decide_compile, make_trainer, order_of

if TYPE_CHECKING:  # the loop takes seconds to import
    from ppvae.training.trainer import Epoch


@dataclass(frozen=True)
class Climbed:
    """A pair at its best weights, on the CPU. It can be pickled.

    Attributes:
        pair: model and guide.
        audit: their audit.
        scaling: how raw values become x.
        elbo: the bound.
        example: some rows of the data, to trace the programs.
        epochs: number of trained epochs.
    """

    pair: Pair
    audit: Audit
    scaling: Scaling
    elbo: type[ELBO]
    example: Batch
    epochs: int

    def __getstate__(self) -> dict[str, Any]:
        # Supports in the audit are compared by identity, which copies lose.
        return vars(self) | {"audit": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, audit=audit(state["pair"], state["elbo"], state["example"]))


@in_turn
def climb(settings: Settings, on_epoch: Callable[["Epoch"], None] = lambda _: None) -> Climbed:
    """Train on data in memory, in one process, and keep the best weights.

    Args:
        settings: as in `ppvae.fit.fit`; those of a run have no effect.
        on_epoch: called after each epoch.

    Raises:
        InputError: for invalid input, in one sentence with the way out.
    """
    chosen = chosen_parts(settings)
    fabric = one_process(settings.device, settings.precision)
    meeting = meet_suited(settings, chosen)
    data, pair = meeting.data, meeting.pair
    steps = order_of(settings, data, fabric).whole
    settings = settings.laid_out(steps, is_anew=data.binarize == "dynamic")
    is_compiled = decide_compile(settings, data, pair, fabric)
    trainer = make_trainer(settings, chosen, pair, meeting.facts, data, fabric, compile=is_compiled)

    best: dict[str, torch.Tensor] = {}
    for epoch in trainer.epochs():
        if epoch.is_best:
            best = {name: value.clone() for name, value in pair.state_dict().items()}
        on_epoch(epoch)
    pair.load_state_dict(best)
    pair.to("cpu").eval()
    return Climbed(
        pair, meeting.facts, data.scaling, chosen.elbo.target, few(meeting.batch),
        trainer.progress.epoch,
    )  # fmt: skip
