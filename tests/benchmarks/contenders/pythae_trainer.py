"""The job in pythae: its VAE with the job's networks, trained by its own trainer.

The timed function is ``BaseTrainer.train_step``, one pass over its own loader with its progress
bar. That loader collates row by row, and its API takes no other. Its Bernoulli takes probabilities,
so the decoder ends with a sigmoid. The loss is the mean over the pass.
"""

from functools import cache
from importlib import import_module
from itertools import cycle, islice
from tempfile import mkdtemp
from typing import Any

import torch
from torch import Tensor

from ..job import Job, Run
from .networks import decoder, encoder, log_scale, weights
from .stepping import batches, binarized

__all__ = ["make"]


def make(job: Job) -> Run:
    """Run a pass over as many batches as steps."""
    # Imported here: only this contender's environment has them.
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
            return output(embedding=loc, log_covariance=2 * log_scale(s, job))

    class Decoder(nn.BaseDecoder):  # type: ignore[misc, name-defined]  # known only at run time
        def __init__(self) -> None:
            super().__init__()
            self.layers = decoder(job)

        def forward(self, z: Tensor) -> Any:
            return output(reconstruction=self.layers(z).sigmoid())

    config = models.VAEConfig(job.data_shape, job.latent, reconstruction_loss="bce")
    plan = trainers.BaseTrainerConfig(
        output_dir=mkdtemp(),
        per_device_train_batch_size=job.batch,
        learning_rate=job.lr,
        no_cuda=job.device == "cpu",
    )

    endless = binarized(job) if job.images else cycle(batches(job))

    def dataset(steps: int) -> Any:
        chosen = torch.cat(list(islice(endless, steps)))
        return datasets.BaseDataset(chosen, torch.zeros(len(chosen)))

    # Without a fit, the rows of rounds of equal length are collected once.
    rows = dataset if job.images else cache(dataset)
    vae = models.VAE(config, Encoder(), Decoder())
    trainer = trainers.BaseTrainer(vae, rows(1), training_config=plan)
    trainer.prepare_training()

    done = 0

    def run(steps: int) -> float:
        nonlocal done
        trainer.optimizer.param_groups[0]["lr"] = job.rate(done)
        trainer.train_loader = trainer.get_train_dataloader(rows(steps))
        done += steps
        return float(trainer.train_step(epoch=1))

    return Run(run, lambda: (weights(vae.encoder), weights(vae.decoder)))
