"""Results of all recipes of the package, compared with the published ones.

``PPVAE_DATA=... uv run python -m tests.benchmarks.published`` fits all recipes, or those given by
name, one seed after another. A stopped fit is resumed, and finished ones are read. A folder that
holds a fit with other settings is refused. Log p(x) is that of all test images, by importance
sampling in single precision, also if the fit used bfloat16. After each fit the table is written to
``tests/benchmarks/published.csv`` and ``published.md``. A row has the fits so far; a single fit has
no error over seeds.

A row names the commit at the start of each fit, with ``changed`` if files differed from the commit,
and the settings of ``--settings``, which overrode the recipe. The processor time of a fit that was
killed is unknown, ``nan``.
"""

import argparse
import csv
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ppvae.data import as_split
from ppvae.diagnostics import log_evidence
from ppvae.fit import fit, resume
from ppvae.programs.classification import classify
from ppvae.run import Run
from ppvae.settings.recipes import Recipe, recipe, recipes

from .kept import kept
from .machine import machine
from .provenance import code_version, today

PIECE = 2_500
"""Test data whose log p(x) is saved at once; a stop loses at most these."""

TABLE = Path(__file__).with_suffix(".csv")


@dataclass(frozen=True)
class Row:
    """A recipe and its result, in nats per image or percent.

    Attributes:
        recipe: its name.
        data: name, binarization, and numbers of training, validation and test rows.
        network: encoder and decoder, latents, prior, bound.
        training: schedule of the training, with the number of steps.
        samples: importance samples per image.
        seeds: number of fits.
        ours: mean of the measure over seeds and test data.
        data_error: its standard error over test data.
        seed_error: its standard error over seeds; ``None`` for one seed.
        published: the published figure.
        difference: ours minus the published figure.
        minutes: processor time of a fit and of its evaluation, on one core.
        made: commit, changes to its code or recipe, and date, at the start of each fit.
    """

    recipe: str
    data: str
    network: str
    training: str
    samples: int
    seeds: int
    ours: float
    data_error: float
    seed_error: float | None
    published: float
    difference: float
    minutes: str
    made: str


def measured(known: Recipe, seeds: Sequence[int], given: argparse.Namespace) -> Row:
    """The row of a recipe with these seeds; missing fits and scores are computed."""
    runs = [_fitted(known, seed, given) for seed in seeds]
    by_datum = torch.stack([_measure(run, known, given) for run in runs])
    means = by_datum.mean(1)
    spent = [_spent(run.path) for run in runs]
    fits, scores = (sum(each[what] for each in spent) / len(spent) / 60 for what in _WHAT)
    return Row(
        recipe=known.name,
        data=_data(runs[0]),
        network=_network(_asked(runs[0], known, given)),
        training=_each(_training(_asked(run, known, given), _summary(run)) for run in runs),
        samples=known.samples if given.samples is None else given.samples,
        seeds=len(runs),
        ours=float(means.mean()),
        data_error=float(by_datum.mean(0).std()) / math.sqrt(by_datum.shape[1]),
        seed_error=float(means.std()) / math.sqrt(len(runs)) if len(runs) > 1 else None,
        published=known.published,
        difference=float(means.mean()) - known.published,
        minutes=f"{fits:.1f} + {scores:.1f}",
        made=_each(each["made"] for each in spent),
    )


def _each(cells: Iterable[str]) -> str:
    """The different cells of the seeds."""
    return " and ".join(dict.fromkeys(cells))


def _fitted(known: Recipe, seed: int, given: argparse.Namespace) -> Run:
    """The fit of a recipe: read, resumed or started."""
    folder = given.out / f"{known.name}-{seed}"
    asked = {**known.settings, **given.settings, "recipe": known.name, "seed": seed}
    run = kept(folder, asked)
    if run is not None and run.summary is not None:
        return run
    before = _spent(folder) | ({"fit": 0.0, "made": _made(given)} if run is None else {})
    began = time.process_time()
    try:
        return fit(**asked, out=folder) if run is None else resume(folder)
    finally:
        if (folder / "config.yaml").is_file():  # missing if the fit was refused
            _spend(folder, **before | {"fit": before["fit"] + time.process_time() - began})


def _measure(run: Run, known: Recipe, given: argparse.Namespace) -> Tensor:
    """Log p(x) of each test datum in nats, or whether its class is predicted, in percent."""
    if known.measure == "accuracy":
        return 100.0 * _is_right(run)
    samples = known.samples if given.samples is None else given.samples
    test = run.data().test
    pieces = torch.arange(len(test)).split(PIECE)
    return torch.cat(
        [_piece(run, i, test.take(rows)["x"], samples) for i, rows in enumerate(pieces)]
    )


def _is_right(run: Run) -> Tensor:
    """Whether the most probable class is the label, for each labelled test datum."""
    device = next(run.pair.parameters()).device
    batches = run.data(hidden=False).test.chunks(PIECE, device)
    told = [(classify(run.pair, batch).argmax(-1), batch["y"]) for batch in batches]
    found, truth = map(torch.cat, zip(*told, strict=True))
    return (found == truth)[truth >= 0]


def _piece(run: Run, number: int, x: Tensor, samples: int) -> Tensor:
    kept = run.path / f"log_p-{samples}-{number}.pt"
    if not kept.is_file():
        began = time.process_time()
        evidence = log_evidence(run.pair, run.audit, as_split(x), samples=samples, seed=number)
        torch.save(evidence.log_p, kept)
        spent = _spent(run.path)["score"] + time.process_time() - began
        _spend(run.path, score=spent)
    found: Tensor = torch.load(kept, weights_only=True)
    return found


# Time spent, in a file in the folder of the fit that the package ignores.

_WHAT = ("fit", "score")


def _spent(folder: Path) -> dict[str, Any]:
    file = folder / "published.json"
    unknown = {"fit": math.nan, "score": 0.0, "made": "unknown"}
    return unknown | (json.loads(file.read_text()) if file.is_file() else {})


def _spend(folder: Path, **more: Any) -> None:
    (folder / "published.json").write_text(json.dumps(_spent(folder) | more, indent=2) + "\n")


def _made(given: argparse.Namespace) -> str:
    """Commit of the code, whether it or the settings were changed, and date."""
    other = f", with {json.dumps(given.settings)}" if given.settings else ""
    return f"{code_version()}{other}, {today()}"


# The cells of a row.


def _summary(run: Run) -> dict[str, Any]:
    if run.summary is None:
        raise ValueError(f"{run.path} has no summary: its fit has not finished")
    return run.summary


def _data(run: Run) -> str:
    facts = run.config["run"]["data"]
    rows = "/".join(f"{facts['rows'][part]:,}" for part in ("train", "valid", "test"))
    how = run.config["binarize"]
    few = f", {run.config['labels']} labels" if run.config["labels"] else ""
    return f"{facts['name']}{'' if how in (None, 'none') else f', {how}'}{few}, {rows}"


def _asked(run: Run, known: Recipe, given: argparse.Namespace) -> dict[str, Any]:
    """Settings of the run, with parts by name alone, overridden by those asked for.

    The precision is that of the fit, also where it was left to the machine.
    """
    names = {
        key: part["class_path"] if isinstance(part, dict) and "class_path" in part else part
        for key, part in run.config.items()
    }
    of_fit = {"precision": run.config["run"]["precision"]}
    return {**names, **known.settings, **given.settings, **of_fit}


def _network(asked: Mapping[str, Any]) -> str:
    parts = [_named(asked[part]) for part in ("model", "encoder", "prior", "guide", "elbo")]
    particles = f", {asked['particles']} draws" if asked["particles"] > 1 else ""
    return f"{', '.join(parts)}{particles}, z {asked['latent_dim']}"


def _named(part: Any) -> str:
    """A part as a call: ``MLP(hidden=[200, 200])``."""
    if not isinstance(part, Mapping):
        return "none" if part is None else str(part)
    arguments = ", ".join(f"{key}={value}" for key, value in part.get("init_args", {}).items())
    return f"{part['class_path']}({arguments})" if arguments else str(part["class_path"])


def _training(asked: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    schedule = "constant" if asked["schedule"] is None else _named(asked["schedule"])
    mixed = f", {asked['labelled']} of them labelled" if asked.get("labelled") else ""
    warm_up = f", warm-up {asked['warm_up']}" if asked["warm_up"] else ""
    beta = f", beta {asked['beta']:g}" if asked["beta"] != 1 else ""
    return (
        f"{summary['epochs']} epochs of batches of {asked['batch_size']}{mixed} "
        f"({summary['steps']:,} steps), {_named(asked['optimizer'])} {asked['lr']:g}, "
        f"{schedule}{warm_up}{beta}, {asked['precision']}"
    )


# The table.


def _write(rows: Mapping[str, Row], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [each.name for each in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows.values())
    header = ["recipe", "ours", "over images", "over seeds", "published", "difference", "seeds",
              "samples", "minutes", "data", "network", "training", "made"]  # fmt: skip
    lines = [
        "# Recipes",
        "",
        "Log p(x) of the test images in nats per image, or accuracy in percent, with its standard "
        "errors over images and over seeds. Minutes are processor time on one core, of the fit and "
        f"of its evaluation, with {torch.get_num_threads()} thread(s) on {machine()}. A row has "
        "the settings that were fitted. They are those of its commit, unless it says changed "
        "(files differed from the commit) or with settings (these overrode the recipe; --settings "
        "alone: they were not noted).",
        "",
        f"| {' | '.join(header)} |",
        f"|{'---|' * len(header)}",
    ]
    for row in rows.values():
        over_seeds = "-" if row.seed_error is None else f"{row.seed_error:.2f}"
        cells = [
            row.recipe, f"{row.ours:.2f}", f"{row.data_error:.2f}", over_seeds,
            f"{row.published:.2f}", f"{row.difference:+.2f}", f"{row.seeds}",
            f"{row.samples:,}" if row.samples else "-", row.minutes, row.data, row.network,
            row.training, row.made,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


def _read(path: Path) -> dict[str, Row]:
    """The rows of earlier runs."""
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {row["recipe"]: _row(row) for row in csv.DictReader(file)}


def _row(cells: Mapping[str, str]) -> Row:
    kinds = {each.name: each.type for each in fields(Row)}

    def read(name: str, cell: str) -> Any:
        kind = kinds[name]
        if kind is str:
            return cell
        number = float(cell) if cell else None
        return int(cell) if kind is int else number

    return Row(**{name: read(name, cell) for name, cell in cells.items()})


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit and score the recipes, and write the table after each fit."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.published",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: those of the recipe")
    parser.add_argument("--samples", type=int, help="importance samples; default: the recipe's")
    parser.add_argument(
        "--settings",
        type=json.loads,
        default={},
        help="settings of the fit as JSON, which override those of the recipe",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/published"))
    parser.add_argument("--table", type=Path, default=TABLE)
    given = parser.parse_args(arguments)
    rows = _read(given.table)
    for name in given.names or recipes():
        known = recipe(name)
        seeds = known.seeds if given.seeds is None else given.seeds
        for count in range(1, len(seeds) + 1):
            rows[name] = measured(known, seeds[:count], given)
            _write({key: rows[key] for key in recipes() if key in rows}, given.table)
        print(given.table.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
