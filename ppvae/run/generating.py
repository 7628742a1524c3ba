"""Means at given latents, and draws, as the model sees x."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ppvae.data import Batch
from ppvae.data.containers import check_same_index
from ppvae.errors import check_at_least
from ppvae.programs.generation import decode
from ppvae.programs.streams import seeded
from ppvae.run.conditions import conditioned
from ppvae.run.latents import codes_by_site, shaped
from ppvae.run.run import Run
from ppvae.settings import check_seed

CHUNK = 512
"""Rows per batch of decoding."""


def means_at(run: Run, z: Any, covariates: Any = None) -> Tensor:
    """The mean of p(x | z) at each z, with size factors of 1, if any: ``(n, *shape)``.

    Args:
        run: the run.
        z: latents; see `ppvae.run.latents.codes_by_site`.
        covariates: the condition of the model; see `ppvae.run.conditions.conditioned`.

    Raises:
        InputError: for covariates whose rows have other names than those of z.
    """
    check_same_index(z, covariates, "`covariates`", ("z", "covariates"))
    codes = codes_by_site(run, z)
    count = len(next(iter(codes.values())))
    like = _like(run, count)
    if "size_factor" in like:
        like["size_factor"] = torch.ones_like(like["size_factor"])
    like, held = conditioned(run, like, covariates, "covariates")
    means = []
    with seeded(0, run.pair.device):  # for latents that are not given
        for rows in torch.arange(count).split(CHUNK):
            some = _taken(like, rows)
            latents = shaped(run, _taken(codes, rows), some) | _taken(held, rows)
            means.append(decode(run.pair, run.audit, some, latents).mean)
    return torch.cat(means).cpu()


def draws_of(run: Run, count: int, covariates: Any = None, seed: int = 0) -> Tensor:
    """Draws z ~ p(z), x ~ p(x | z): ``(count, *shape)``.

    Raises:
        InputError: for no draws, or a model that is not conditional on such y.
    """
    check_at_least(1, n=count)
    check_seed(seed)
    like, held = conditioned(run, _like(run, count), covariates, "covariates")
    with seeded(seed, run.pair.device):
        draws = [
            decode(run.pair, run.audit, _taken(like, rows), _taken(held, rows)).draw
            for rows in torch.arange(count).split(CHUNK)
        ]
    return torch.cat(draws).cpu()


def _like(run: Run, count: int) -> Batch:
    """Rows of the training data, for shapes and other inputs."""
    example = run.example()
    return _taken(example, torch.arange(count) % len(example["x"]))


def _taken(values: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    return {name: value[rows] for name, value in values.items()}
