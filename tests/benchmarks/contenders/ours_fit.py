"""A fit with this package: the trainer of `ppvae.fit`, without its held-out evaluation."""

import math
from typing import Any, cast
from unittest.mock import patch

from ppvae.settings import Device, Settings
from ppvae.training.chosen_parts import chosen_parts
from ppvae.training.data_and_programs import meet_suited
from ppvae.training.evaluation import Figures
from ppvae.training.processes import one_process
from ppvae.training.setup import decide_compile, make_trainer

from ..data import folder
from ..job import Job, Run
from .networks import weights

__all__ = ["make"]


def make(job: Job) -> Run:
    """Run the steps of `Trainer.epochs`, with the smaller batch at the end of each epoch."""

    def mlp(widths: tuple[int, ...]) -> dict[str, object]:
        return {"class_path": "MLP", "init_args": {"hidden": widths, "activation": job.activation}}

    settings = Settings(
        data=job.data, data_dir=folder(), binarize="dynamic", latent_dim=job.latent,
        encoder=mlp(job.encoder), decoder=mlp(job.decoder), batch_size=job.batch, lr=job.lr,
        epochs=job.epochs, device=cast("Device", job.device),
    )  # fmt: skip
    chosen = chosen_parts(settings)
    fabric = one_process(settings.device, settings.precision)
    meeting = meet_suited(settings, chosen)
    pair, data = meeting.pair, meeting.data
    trainer = make_trainer(
        settings, chosen, pair, meeting.facts, data, fabric,
        compile=decide_compile(settings, data, pair, fabric),
    )  # fmt: skip
    guide, model = (cast("Any", pair.program(role)) for role in ("guide", "model"))

    def run(steps: int) -> float:
        last = trainer.progress.step + steps
        # The benchmark evaluates all contenders itself, and does not time it.
        with patch("ppvae.training.trainer.evaluate", lambda *_, **__: Figures(0.0, 0.0, 0.0, 0.0)):
            for _ in trainer.epochs(stop=lambda: trainer.progress.step >= last):
                pass
        return math.nan  # the trainer discards the sums at the end of an epoch

    return Run(run, lambda: (weights(guide.encoder), weights(model.decoder)))
