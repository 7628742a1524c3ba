"""The job in pythae: its VAE with the job's networks, moved by its own trainer.

What is timed is ``BaseTrainer.train_step``, one pass over its own loader, progress bar included:
that loader collates row by row, and no other is to be had through its API. Its Bernoulli takes
probabilities, so that a sigmoid ends the decoder. The loss is the mean over the pass.
"""

from functools import cache
from importlib import import_module
from tempfile import mkdtemp
from typing import Any

import torch
from torch import Tensor

from ..data import resident
from ..job import Job, Run
from .networks import decoder, encoder

__all__ = ["make"]


def make(job: Job) -> Run:
    """Run passes over as many batches as there are steps to take."""
    # Not at the top: only this contender's own environment has them.
    models, trainers = import_module("pythae.models"), import_module("pythae.trainers")
    nn, base = import_module("pythae.models.nn"), import_module("pythae.models.base.base_utils")
    datasets = import_module("pythae.data.datasets")
    output = base.ModelOutput

    class Encoder(nn.BaseEncoder):  # type: ignore[misc, name-defined]  # known only at run time
        def __init__(self) -> None:
            super().__init__()
            self.layers = encoder(job)

        def forward(self, x: Tensor) -> Any:
            loc, s = self.layers(x).chunk(2, dim=-1)
            bent = 10 * torch.tanh(torch.where(s > 0, torch.asinh(s), s) / 10)
            return output(embedding=loc, log_covariance=2 * bent)

    class Decoder(nn.BaseDecoder):  # type: ignore[misc, name-defined]  # known only at run time
        def __init__(self) -> None:
            super().__init__()
            self.layers = decoder(job)

        def forward(self, z: Tensor) -> Any:
            return output(reconstruction=self.layers(z).sigmoid())

    config = models.VAEConfig(job.data_shape, job.latent, reconstruction_loss="bce")
    rows = torch.from_numpy(resident(job)).flatten(0, 1)
    plan = trainers.BaseTrainerConfig(
        output_dir=mkdtemp(),
        per_device_train_batch_size=job.batch,
        learning_rate=job.lr,
        no_cuda=job.device == "cpu",
    )

    @cache
    def dataset(steps: int) -> Any:
        chosen = rows[torch.arange(steps * job.batch) % len(rows)]
        return datasets.BaseDataset(chosen, torch.zeros(len(chosen)))

    vae = models.VAE(config, Encoder(), Decoder())
    trainer = trainers.BaseTrainer(vae, dataset(1), training_config=plan)
    trainer.prepare_training()

    def run(steps: int) -> float:
        trainer.train_loader = trainer.get_train_dataloader(dataset(steps))
        return float(trainer.train_step(epoch=1))

    return run
