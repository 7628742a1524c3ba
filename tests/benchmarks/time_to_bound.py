"""Table of the seconds of a fit until it reaches a given bound on held-out images.

All contenders train on the training rows of ``ppvae.fit --data mnist``, binarized anew in each
epoch. After each epoch `held_out_bound` evaluates them on its test rows, binarized once; this is
not timed. All start from torch's distribution of initial weights.

Each contender has up to two fits. *Ours*: network, batch, Adam and its rate, which falls along a
cosine, as in ``ppvae.fit --data mnist --binarize dynamic --epochs 25``. *Its own*: network, latent
size, batch and rate of its published example or its defaults, with Adam in all:

* Pyro: ``examples/vae/vae.py`` and ``examples/vae/utils/mnist_cached.py`` of pyro-ppl/pyro
* NumPyro: ``examples/vae.py`` of pyro-ppl/numpyro, with the KL in closed form
* pythae: ``VAEConfig`` with ``Encoder_VAE_MLP`` and ``Decoder_AE_MLP``, ``BaseTrainerConfig``; its
  configuration requires a latent size, 10 as in ``BaseAEConfig``; a Bernoulli likelihood
* PyTorch: ``vae/main.py`` of pytorch/examples
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .bars import Bar
from .contenders import CONTENDERS
from .data import folder as data_folder
from .job import Job
from .plan import Plan
from .race import Result, took_part
from .table import figure, publish, show, under_way
from .worker import WARM_UP
from .worker_process import WorkerProcess

__all__ = ["TARGET", "time_to_bound"]

TARGET = -97.0
"""Nats per image: the mean of log p(x | z) - KL(q(z | x) || p(z)) over the held-out images."""

MOST = 1.0
"""Bar: seconds of this package over those of the fastest peer, both with our settings."""

OURS = Job(
    "mlp", batch=64, latent=20, lr=2e-3, encoder=(400, 400), decoder=(400,), activation="silu",
    epochs=25,
)  # fmt: skip
_PYTORCH = Job("mlp", batch=128, latent=20, lr=1e-3, spread="log_variance")
_THEIRS = {
    "pyro-trace": Job(
        "mlp", batch=256, latent=50, lr=1e-3, activation="softplus", spread="log_scale"
    ),
    "numpyro-loop": Job(
        "mlp", batch=128, latent=50, lr=1e-3, activation="softplus", spread="log_scale"
    ),
    "pythae": Job(
        "mlp", batch=64, latent=10, lr=1e-4, encoder=(512,), decoder=(512,), spread="log_variance"
    ),
    "torch": _PYTORCH,
    "torch-compiled": _PYTORCH,
}
_ALIKE = ("ours-compiled", "pyro-meanfield", "numpyro-loop", "pythae", "torch", "torch-compiled")
"""Contenders that fit with our settings."""


@dataclass
class _Fit:
    """A fit, up to the epoch that reached the bound or was the last.

    Attributes:
        name: of the contender.
        settings: ``"ours"`` or ``"its own"``.
        result: its set-up, versions, and failure.
        seconds: training time; the warm-up belongs to the set-up.
        steps: steps taken, the warm-up included.
        epochs: epochs taken.
        bound: the last bound, nats per image.
    """

    name: str
    settings: str
    result: Result
    seconds: float = 0.0
    steps: int = 0
    epochs: int = 0
    bound: float | None = None

    @property
    def all_seconds(self) -> float | None:
        """Seconds of set-up and training until the bound; None if it was not reached."""
        if self.bound is None or self.bound < TARGET or self.result.seconds is None:
            return None
        return self.result.seconds + self.seconds


def time_to_bound(plan: Plan, data: str = "mnist", ours: Job = OURS) -> None:
    """Fit by each contender until it reaches the bound or the limit of time."""
    fits = []
    asked = [(name, "ours", ours) for name in _ALIKE]
    asked += [(name, "its own", job) for name, job in _THEIRS.items()]
    with TemporaryDirectory(prefix="benchmarks-", ignore_cleanup_errors=True) as folder:
        images = Path(folder) / "images.npz"
        rows = _write_images(data, images)
        with under_way() as report:
            for name, settings, job in asked:
                if name not in plan.only:
                    continue
                report(f"{CONTENDERS[name].title}, settings: {settings}")
                job = replace(
                    job, device=plan.device, data=data, images=str(images), epoch=rows // job.batch
                )
                fit = _Fit(name, settings, Result())
                fits.append(fit)
                with fit.result.noting():
                    _run(fit, job, plan.limit, folder)
    _show(fits, plan.limit)
    publish(plan, map(_row, fits), [_bar(fits)], **took_part(fit.result for fit in fits))


def _write_images(data: str, path: Path) -> int:
    """Write training and test rows of `ppvae.fit`, for peers in environments without the package.

    Returns:
        The number of training rows.
    """
    import torch

    from ppvae.data import load

    grey = load(data, data_dir=data_folder()).train
    test = load(data, data_dir=data_folder(), binarize="dynamic").test
    train, held_out = (split.take(torch.arange(len(split)))["x"] for split in (grey, test))
    np.savez(
        path,
        train=(train.flatten(1) * 255).round().to(torch.uint8).numpy(),
        held_out=held_out.flatten(1).to(torch.uint8).numpy(),
    )
    return len(train)


def _run(fit: _Fit, job: Job, limit: float, folder: str) -> None:
    """Train epoch after epoch, and evaluate the bound after each."""
    result = fit.result
    with WorkerProcess(fit.name, job, folder) as worker:
        ready = worker.set_up()
        result.seconds, result.threads = ready["seconds"], ready["threads"]
        result.versions = ready["versions"]
        fit.steps = WARM_UP
        for fit.epochs in count(1):
            # The warm-up took the first steps of the first epoch.
            steps = fit.epochs * job.epoch - fit.steps
            fit.seconds += worker.take(steps)["seconds"]
            fit.steps += steps
            fit.bound = worker.bound()
            if fit.bound >= TARGET or fit.seconds >= limit or fit.epochs == job.epochs:
                break
        result.peak_mib = worker.finish()


def _verdict(fit: _Fit, limit: float) -> str:
    if fit.result.note or fit.all_seconds is not None:
        return fit.result.note
    within = f"{limit:,.0f} s" if fit.seconds >= limit else f"its {fit.epochs} epochs"
    return f"not within {within}: at {figure(fit.bound)}"


def _bar(fits: Iterable[_Fit]) -> Bar:
    """Ours over the fastest peer with our settings; not run if either missed the bound."""
    seconds = {
        fit.name: fit.all_seconds
        for fit in fits
        if fit.settings == "ours" and fit.all_seconds is not None
    }
    ours, peers = seconds.pop("ours-compiled", None), seconds.values()
    return Bar(
        "total seconds with our settings, ours / the fastest peer",
        MOST,
        None if ours is None or not peers else ours / min(peers),
    )


def _show(fits: list[_Fit], limit: float) -> None:
    header = (
        "", "settings", "set-up s", "training s", "total s", "epochs", "steps", "ms/step", "bound",
        "peak MiB", "",
    )  # fmt: skip
    rows = [
        (
            CONTENDERS[fit.name].title,
            fit.settings,
            figure(fit.result.seconds, 1),
            figure(fit.seconds, 1),
            figure(fit.all_seconds, 1),
            str(fit.epochs),
            f"{fit.steps:,}",
            figure(fit.seconds / fit.steps * 1e3 if fit.steps else None),
            figure(fit.bound),
            figure(fit.result.peak_mib, 0),
            _verdict(fit, limit),
        )
        for fit in fits
    ]
    show(f"a fit to {TARGET:.0f} nats on held-out images, within {limit:.0f} s", header, rows)


def _row(fit: _Fit) -> dict[str, Any]:
    return {
        "contender": fit.name,
        "settings": fit.settings,
        "setup_seconds": fit.result.seconds,
        "training_seconds": fit.seconds,
        "all_seconds": fit.all_seconds,
        "epochs": fit.epochs,
        "steps": fit.steps,
        "bound": fit.bound,
        "target": TARGET,
        "peak_mib": fit.result.peak_mib,
        "note": fit.result.note,
    }
