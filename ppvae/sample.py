"""Draw from a fitted run, reconstruct data with it, and interpolate between data.

python -m ppvae.sample runs/digits-20260101-120000                 # draws, interpolations, ...
python -m ppvae.sample RUN --count 256 --seed 1 --out pictures
python -m ppvae.sample RUN --data new.npy                          # reconstruct other data
python -m ppvae.sample RUN --given 3                               # draws of one class
python -m ppvae.sample RUN --aggregate                             # draw where the codes lie
python -m ppvae.sample RUN --impute --data holed.npz               # fill in missing entries
"""

if __name__ == "__main__":  # before the imports that take seconds
    from ppvae.cli.interruption import leave_on_interrupt

    leave_on_interrupt()
    from ppvae.cli.answering import start

    start("sample")

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ppvae.cli.answering import answer
from ppvae.cli.given import given_settings
from ppvae.components.memory import check_memory
from ppvae.data import Batch, Data, Split
from ppvae.encode import check_free, opened_run, rows_of
from ppvae.errors import InputError
from ppvae.programs.isolation import alone
from ppvae.programs.streams import Stream, seeded
from ppvae.programs.walks import Walks
from ppvae.run import Run, figures
from ppvae.run.conditions import conditioned
from ppvae.run.pictured import columns_of, in_units, observed, table_of
from ppvae.run.store import discard, is_there, write_arrays, write_text, writing
from ppvae.settings import Sample, takes
from ppvae.settings.values import Figures

if TYPE_CHECKING:  # slow to import
    from matplotlib.figure import Figure
    from pandas import DataFrame

_FILES = (".csv", ".npz", ".npy", ".png", ".parquet", ".h5ad")


@alone
@takes(Sample)
def sample(asked: Sample) -> dict[str, Any]:
    """Draw, reconstruct and interpolate; pictures as PNG, numbers as samples.npz.

    The result, and the file, have ``samples_mean`` and ``samples`` (the mean of p(x | z) and a draw
    from it, at z ~ p(z)), ``x`` with ``reconstructions_mean`` and ``reconstructions`` (at the mean
    of q(z | x)), and ``interpolations`` ``(pairs, steps, *data_shape)``: the mean of p(x | z) along
    the straight line between the codes of two data.

    With ``aggregate`` z is drawn where the codes of the training data lie, not from p(z), and there
    are only draws, in samples-aggregate.npz: ``samples_mean`` and ``samples``, and ``gain`` with
    its standard error ``gain_error``, the nats by which the density fitted to those codes exceeds
    p(z) at the codes of the test data; see `ppvae.diagnostics.bound.aggregate_prior`.

    With ``impute`` only missing entries are filled in: imputed.npz, with ``x`` (the observed
    entries, and E[x_missing | x_observed]), ``scale`` (the standard deviation of each missing entry
    given the observed ones), ``error`` (of ``x``, from the importance samples), ``draws`` (five
    completed data sets), ``ess`` and ``mask``; see `Imputation`.

    Everything is in the unit of x as the model sees it, scaled as ``scaling`` in config.yaml says.
    For a table there are also .csv files, in the units of its file and with its names: the draws
    (samples.csv, or samples-aggregate.csv), the reconstructions and the imputed rows, by the
    numbers or names of the rows. A category is a level there; its mean is the most probable one.

    Raises:
        InputError: for a run or data that cannot be read, existing files, a condition that the
            model does not have, or nothing to impute.
    """
    if asked.out is not None and Path(asked.out).suffix in _FILES:
        raise InputError(
            f"`out={str(asked.out)!r}` is the name of a file, but a folder is written: name one"
        )
    impute, given, aggregate = asked.impute, asked.given, asked.aggregate
    count, seed, data_dir, components = asked.count, asked.seed, asked.data_dir, asked.components
    if impute and given is not None:
        raise InputError(
            f"`given={given!r}` is for draws of new data; imputation is conditional on the labels "
            "or covariates of the data: leave it out"
        )
    if impute and aggregate:
        raise InputError(
            "`aggregate=True` is for draws of new data; imputation is given the observed entries "
            "of the data: leave it out"
        )
    opened = opened_run(asked)
    folder = Path(asked.out) if asked.out is not None else opened.path / "samples"
    name = "imputed" if impute else "samples-aggregate" if aggregate else "samples"
    target = folder / f"{name}.npz"
    fixed, latents = _given(opened, given)  # refuse `given` before existing files
    check_free(target, overwrite=asked.overwrite)
    with writing(folder):
        trained = _own_data(opened, data_dir) if aggregate else None
        rows = rows_of(
            opened, asked.data, asked.split, data_dir, asked.label, needs_observed=not impute
        )
        walked = min(asked.pairs, len(rows)) * asked.steps
        demanded = {"count": count, "pairs x steps": walked}
        for number, value in demanded.items():
            check_memory(3 * 4 * value * math.prod(opened.data_shape), f"{number} = {value}")
        check_memory(8 * components * len(rows), f"components = {components}")
        if impute:
            return _imputed(opened, rows, asked.samples, seed, target, asked.figures)
        # Rows for the shapes, and for the condition of a conditional model.
        some = Stream.SHOWN_ROWS.rows(len(rows), count, seed, 0)
        like = rows.take(some[torch.arange(count) % len(some)]) | _repeated(fixed, count)
        held = _repeated(latents, count)
        if trained is not None:
            return _at_codes(opened, trained, like, held, components, seed, target, asked.figures)
        walks = Walks(rows, asked.pairs, asked.steps, seed)
        return _drawn(opened, rows, like, held, walks, seed, target, asked.figures)


def _drawn(
    run: Run,
    rows: Split,
    like: Batch,
    held: Batch,
    walks: Walks,
    seed: int,
    target: Path,
    kind: Figures,
) -> dict[str, Any]:
    from ppvae import plots
    from ppvae.programs.generation import decode, posterior_means, reconstruct

    pair, facts = run.pair, run.audit
    with seeded(seed, pair.device):
        drawn_mean, drawn = decode(pair, facts, like, held)
        places = Stream.SHOWN_ROWS.rows(len(rows), len(like["x"]), seed, 0)
        shown = rows.take(places)
        rebuilt_mean, rebuilt_draw = reconstruct(pair, facts, shown)
        codes = posterior_means(pair, facts, walks.ends)
        along = {site: walks.between(code) for site, code in codes.items()}
        between, _ = decode(pair, facts, walks.like, along)
    found = {
        "samples_mean": drawn_mean,
        "samples": drawn,
        "x": shown["x"],
        "reconstructions_mean": rebuilt_mean,
        "reconstructions": rebuilt_draw,
        "interpolations": between.unflatten(0, (-1, walks.steps)),
    }
    arrays = {name: value.cpu().numpy() for name, value in found.items()}
    columns = columns_of(run)
    rebuilt = arrays["reconstructions_mean"]
    data = in_units(run, observed(shown))
    pictures = {
        "samples": (
            plots.marginals(data, in_units(run, arrays["samples"]), columns)
            if columns.names
            else plots.samples(arrays["samples_mean"])
        ),
        "reconstructions": (
            plots.rebuilt_columns(data, in_units(run, rebuilt), columns)
            if columns.names
            else plots.reconstructions(data, rebuilt)
        ),
        "interpolations": plots.interpolation(
            in_units(run, arrays["interpolations"]), columns=columns
        ),
    }
    tables = {
        "samples": table_of(run, drawn),
        "reconstructions": table_of(run, rebuilt_mean, rows.annotations.select(places)),
    }
    _write(target, arrays, pictures, tables, kind)
    return arrays


def _given(run: Run, given: str | None) -> tuple[Batch, Batch]:
    """The given y as one row, and that y as a latent; see `conditioned`."""
    if given is None:
        return {}, {}
    y: Any = given
    fitted = run.example().get("y")
    if run.label_names is None and fitted is not None:
        try:
            y = [float(number) for number in given.split(",")]
        except ValueError:
            y = []
        if len(y) != fitted[0].numel() or not np.isfinite(y).all():
            raise InputError(
                f"`given={given!r}` does not match the covariates of the model: give "
                f"{fitted[0].numel()} comma-separated numbers"
            )
    like = {name: value[:1] for name, value in run.example().items()}
    like, latents = conditioned(run, like, y, "given")
    return {"y": like["y"]}, latents


def _repeated(row: Batch, count: int) -> Batch:
    """``count`` times the same row."""
    return {name: value.repeat_interleave(count, 0) for name, value in row.items()}


def _own_data(run: Run, data_dir: str | Path | None) -> Data:
    """The data of the fit."""
    if not isinstance(run.config.get("data"), str):
        raise InputError(
            "`aggregate=True` draws where the codes of the training data lie, but those of "
            f"{run.path} were passed in Python: give them there to "
            "ppvae.diagnostics.bound.aggregate_prior.aggregate_prior, and its draws to "
            "ppvae.programs.generation.decode"
        )
    return run.data(None if data_dir is None else Path(data_dir))


def _at_codes(
    run: Run,
    data: Data,
    like: Batch,
    held: Batch,
    components: int,
    seed: int,
    target: Path,
    kind: Figures,
) -> dict[str, Any]:
    """Draw where the codes of the training data lie; codes of the test data measure the gain."""
    from ppvae import plots
    from ppvae.diagnostics.bound.aggregate_prior import aggregate_prior, held_out_gain
    from ppvae.programs.generation import decode

    pair, facts = run.pair, run.audit
    prior = aggregate_prior(pair, facts, data.train, components=components, seed=seed)
    gain = held_out_gain(prior, pair, facts, data.test, seed=seed)
    with seeded(seed, pair.device):
        latents = prior.latents(len(like["x"])) | held
        mean, drawn = decode(pair, facts, like, latents)
    arrays = {
        "samples_mean": mean.numpy(),
        "samples": drawn.numpy(),
        "gain": np.array(gain.mean),
        "gain_error": np.array(gain.standard_error),
    }
    title = "Draws, with z where the codes of the data lie"
    picture = (
        plots.marginals(in_units(run, observed(like)), in_units(run, drawn), columns, title=title)
        if (columns := columns_of(run)).names
        else plots.samples(mean.numpy(), title=title)
    )
    name = "samples-aggregate"
    _write(target, arrays, {name: picture}, {name: table_of(run, drawn)}, kind)
    return arrays


def _imputed(
    run: Run, rows: Split, samples: int, seed: int, target: Path, kind: Figures
) -> dict[str, Any]:
    """Fill in missing entries; the picture shows data with missing entries."""
    from ppvae import plots
    from ppvae.cli.terminal import bar
    from ppvae.programs.imputation import impute

    with bar("imputation", len(rows)) as count:
        found = impute(run.pair, run.audit, rows, samples=samples, seed=seed, on_rows=count)
    names = ("x", "scale", "error", "draws", "mask", "ess")
    arrays = {name: getattr(found, name).numpy() for name in names}
    holed = ~arrays["mask"].reshape(len(rows), -1).all(1)
    x, mask, scale = (arrays[name][holed] for name in ("x", "mask", "scale"))
    picture = plots.imputations(x, mask, scale=scale, columns=columns_of(run))
    _write(
        target,
        arrays,
        {"imputed": picture},
        {"imputed": table_of(run, found.x, rows.annotations)},
        kind,
    )
    return arrays


def _write(
    target: Path,
    arrays: dict[str, Any],
    pictures: Mapping[str, "Figure"],
    tables: Mapping[str, "DataFrame | None"],
    kind: Figures,
) -> None:
    """Write the numbers last: if they exist, the pictures and tables belong to them."""
    discard(target)
    for name, figure in pictures.items():
        figures.leave(figure, target.parent, name, kind)
    for name, table in tables.items():
        if table is not None:
            is_of_rows = table.index.name is not None
            write_text(target.with_name(f"{name}.csv"), table.to_csv(index=is_of_rows))
    write_arrays(target, arrays)


def main(argv: Sequence[str]) -> None:
    """The command: draw, and print the files."""
    from ppvae.cli.terminal import number, say

    given = given_settings("sample", argv)
    arrays = sample(**given)
    folder = Path(given.get("out") or Path(given["run"]) / "samples")
    if given.get("impute"):
        missing, ess = int((~arrays["mask"]).sum()), arrays["ess"]
        say(
            f"{missing:,} missing entries are imputed, in {folder}: "
            f"{_files(folder, 'imputed.png', 'imputed.csv', 'imputed.npz')}; "
            f"{given.get('samples', 1000):,} samples per datum have an effective sample size of "
            f"{np.nanmedian(ess):,.0f} (median over data; minimum {np.nanmin(ess):,.1f})"
        )
        return
    if given.get("aggregate"):
        gain, error = float(arrays["gain"]), float(arrays["gain_error"])
        side = "above" if gain > 0 else "below"
        advice = "" if gain > 0 else ", which is better: use the prior, or fewer `components`"
        say(
            f"{len(arrays['samples']):,} draws are in {folder}: "
            f"{_files(folder, *(f'samples-aggregate.{k}' for k in ('png', 'svg', 'csv', 'npz')))}; "
            "at the codes of the test data the density that z is drawn from is "
            f"{number(abs(gain))} nats {side} the model's prior (standard error "
            f"{number(error)}){advice}"
        )
        return
    say(
        f"{len(arrays['samples']):,} draws, {len(arrays['x']):,} reconstructions and "
        f"{len(arrays['interpolations'])} walks are in {folder}: "
        + _files(
            folder,
            *(
                f"{name}{suffix}"
                for suffix in (".png", ".svg")
                for name in ("samples", "reconstructions", "interpolations")
            ),
            "samples.csv", "reconstructions.csv", "samples.npz",
        )
    )  # fmt: skip


def _files(folder: Path, *names: str) -> str:
    """The files that were written: only tables have .csv files."""
    return ", ".join(name for name in names if is_there(folder / name))


if __name__ == "__main__":
    answer(main, sys.argv[1:])
