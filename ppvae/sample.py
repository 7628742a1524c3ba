"""Draw from a fitted run, reconstruct data with it, and walk between data.

python -m ppvae.sample runs/digits-20260101-120000                 # draws, reconstructions, walks
python -m ppvae.sample RUN --count 256 --seed 1 --out pictures
python -m ppvae.sample RUN --data new.npy                          # reconstruct other data
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ppvae.cli import answer, given_arguments
from ppvae.data import Batch, Split
from ppvae.encode import rows_of
from ppvae.errors import InputError
from ppvae.run import Run, load
from ppvae.store import replacing

__all__ = ["sample"]


def sample(
    run: str | Path | Run,
    count: int = 64,
    data: str | Path | Split | None = None,
    split: Literal["train", "valid", "test"] = "test",
    data_dir: str | Path | None = None,
    label: str | None = None,
    pairs: int = 6,
    steps: int = 9,
    seed: int = 0,
    checkpoint: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    trust: Sequence[str] = (),
) -> dict[str, Any]:
    """Draw, reconstruct and interpolate; pictures as PNG, numbers as samples.npz.

    The result, and the file, have ``samples_mean`` and ``samples`` (the mean of p(x | z) and a draw
    from it, at z ~ p(z)), ``x`` with ``reconstructions_mean`` and ``reconstructions`` (at the mean
    of q(z | x)), and ``interpolations`` ``(pairs, steps, *data_shape)``: the mean of p(x | z) along
    the straight line between the codes of two data.

    Args:
        run: the run directory.
        count: how many to draw.
        data: other data to reconstruct, by name or path; default: the run's own.
        split: which part of the run's own data.
        data_dir: where published data lie; default: as in the fit.
        label: the column of a new .csv that holds the labels.
        pairs: walks between two data.
        steps: points on a walk, its ends included.
        seed: of the draws.
        checkpoint: best, last or step-N; default: the best there is.
        out: the folder to write to; default RUN/samples.
        overwrite: replace files that are there already.
        trust: a module that the run's own parts may be imported from; can be repeated.

    Raises:
        InputError: for a run or data that cannot be read, or files that are there already.
    """
    from ppvae import plots
    from ppvae.generation import decode, generate, posterior_means, reconstruct

    for name, value, least in (("count", count, 1), ("pairs", pairs, 1), ("steps", steps, 2)):
        if value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}")
    opened = run if isinstance(run, Run) else load(run, trust=trust, checkpoint=checkpoint)
    folder = Path(out) if out is not None else opened.path / "samples"
    if (folder / "samples.npz").exists() and not overwrite:
        raise InputError(
            f"{folder / 'samples.npz'} is there already; give another --out, or --overwrite"
        )
    rows = rows_of(opened, data, split, data_dir, label)
    pair, facts = opened.pair, opened.audit

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        like = _like(rows, count)
        drawn_mean, drawn = generate(pair, facts, like)
        shown = rows.take(torch.arange(min(count, len(rows))))
        rebuilt_mean, rebuilt = reconstruct(pair, facts, shown)
        walks = _Walks(rows, pairs, steps)
        codes = posterior_means(pair, facts, walks.ends)
        along = {site: walks.between(code) for site, code in codes.items()}
        between, _ = decode(pair, facts, walks.like, along)
    found = {
        "samples_mean": drawn_mean,
        "samples": drawn,
        "x": shown["x"],
        "reconstructions_mean": rebuilt_mean,
        "reconstructions": rebuilt,
        "interpolations": between.unflatten(0, (-1, steps)),
    }
    arrays = {name: value.cpu().numpy() for name, value in found.items()}
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "samples.npz") as fresh, fresh.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    plots.save(plots.samples(arrays["samples_mean"]), folder / "samples.png")
    plots.save(
        plots.reconstructions(arrays["x"], arrays["reconstructions_mean"]),
        folder / "reconstructions.png",
    )
    plots.save(plots.interpolation(arrays["interpolations"]), folder / "interpolations.png")
    return arrays


class _Walks:
    """Pairs of data, and the straight lines between their codes."""

    def __init__(self, rows: Split, pairs: int, steps: int) -> None:
        pairs = min(pairs, len(rows) // 2)
        if pairs < 1:
            raise InputError("a walk needs two data, and there is one; give more")
        self.steps = steps
        self.ends: Batch = rows.take(torch.arange(2 * pairs))
        starts = {name: value[:pairs] for name, value in self.ends.items()}
        self.like: Batch = {n: value.repeat_interleave(steps, 0) for n, value in starts.items()}

    def between(self, code: torch.Tensor) -> torch.Tensor:
        """``(pairs * steps, ...)`` points between the first half of ``code`` and the second."""
        if len(code) != len(self.ends["x"]):
            return code  # a latent that all data share
        start, end = code.chunk(2)
        weight = torch.linspace(0, 1, self.steps, dtype=code.dtype)
        weight = weight.reshape(1, -1, *(1,) * (code.dim() - 1))
        return (start[:, None] + weight * (end - start)[:, None]).flatten(0, 1)


def _like(rows: Split, count: int) -> Batch:
    """``count`` rows for the shapes, and for what a conditional model is conditional on."""
    return rows.take(torch.arange(count) % len(rows))


def main(argv: Sequence[str]) -> None:
    """The command: draw, and say where it is."""
    from ppvae.terminal import say

    given = given_arguments(sample, argv)
    arrays = sample(**given)
    folder = Path(given.get("out") or Path(given["run"]) / "samples")
    say(
        f"{len(arrays['samples']):,} draws, {len(arrays['x']):,} reconstructions and "
        f"{len(arrays['interpolations'])} walks are in {folder}: samples.png, "
        "reconstructions.png, interpolations.png, samples.npz"
    )


if __name__ == "__main__":
    answer(main, sys.argv[1:])
