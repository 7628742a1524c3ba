"""Priors, guides and bounds with equal networks and budget: are richer ones better, as published?

``PPVAE_DATA=... uv run python -m tests.benchmarks.orderings`` fits each program on MNIST in its
fixed binarization, once per seed, and estimates log p(x) of all test images with the same number
of importance samples. Finished fits and scores are read, so the command resumes where it was
stopped. A folder that holds a fit with other settings is refused. After each fit, the table so far
is written to ``tests/benchmarks/orderings.md``: the mean of log p(x) over seeds and images, and the
difference to the plain VAE, paired by image and seed, with standard errors over images and seeds.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ppvae.data import as_split
from ppvae.diagnostics import log_evidence
from ppvae.fit import fit, resume
from ppvae.run import Run

from .kept import kept
from .provenance import provenance

PLAIN = "vae"

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    PLAIN: ("standard normal prior, mean field, ELBO", {}),
    "mixture": (
        "mixture of 100 normals",
        {"prior": {"class_path": "MixtureOfNormals", "init_args": {"components": 100}}},
    ),
    "vamp": (
        "VampPrior, 100 pseudo-inputs",
        {"prior": {"class_path": "VampPrior", "init_args": {"components": 100}}},
    ),
    "iw-5": ("importance weighted, K = 5", {"elbo": "ImportanceWeightedELBO", "particles": 5}),
    "bottom-up": (
        "two layers, bottom-up guide",
        {"model": "HierarchicalVAE", "guide": "BottomUp", "elbo": "Trace_ELBO"},
    ),
    "ladder": ("two layers, ladder", {"model": "HierarchicalVAE", "guide": "Ladder"}),
    "flow-prior": ("spline flow prior", {"prior": "FlowPrior"}),
    "flow-guide": ("inverse autoregressive spline guide", {"guide": "Flow", "elbo": "Trace_ELBO"}),
    "iw-50": ("importance weighted, K = 50", {"elbo": "ImportanceWeightedELBO", "particles": 50}),
}
"""Changes to the plain VAE, cheapest first."""


def _run(name: str, seed: int, given: argparse.Namespace) -> Run:
    """The fit of a case: read, resumed or started."""
    folder = given.out / f"{name}-{seed}"
    decoder = {"class_path": "MLP", "init_args": {"hidden": given.hidden}}
    # The output of a ladder's encoder is itself a hidden layer, of 200 numbers.
    hidden = given.hidden[:-1] if name == "ladder" else given.hidden
    encoder = {"class_path": "MLP", "init_args": {"hidden": hidden}}
    asked = {
        "data": given.data, "encoder": encoder, "decoder": decoder, "latent_dim": given.latent_dim,
        "epochs": given.epochs, "warm_up": given.warm_up, "batch_size": given.batch_size,
        "lr": given.lr, "precision": given.precision, "seed": seed, "device": "cpu",
    } | CASES[name][1]  # fmt: skip
    run = kept(folder, asked)
    if run is None:
        return fit(**asked, out=folder)
    return run if run.summary is not None else resume(folder)


def _log_p(name: str, seed: int, given: argparse.Namespace) -> Tensor:
    """Log p(x) of each test image, saved in the folder of the fit."""
    run = _run(name, seed, given)
    kept = run.path / f"log_p-{given.samples}.pt"
    if not kept.is_file():
        test = run.data().test
        rows = as_split(test.take(torch.arange(len(test)))["x"])
        evidence = log_evidence(run.pair, run.audit, rows, samples=given.samples, seed=1)
        torch.save(evidence.log_p, kept)
    found: Tensor = torch.load(kept, weights_only=True)
    return found


def _table(
    found: Mapping[str, Mapping[int, Tensor]], given: argparse.Namespace, source: str
) -> str:
    images = len(next(iter(found[PLAIN].values())))
    lines = [
        "# Orderings of priors, guides and bounds",
        "",
        f"{source}. {given.data}, {given.epochs} epochs of batches of {given.batch_size}, the "
        f"first {given.warm_up} of them warm-up, Adam {given.lr:g} falling to 0 along a cosine, "
        f"MLP {given.hidden}, {given.latent_dim} latent dimensions per layer, precision "
        f"{given.precision}. Log p(x) in nats with {given.samples:,} importance samples, of all "
        f"{images:,} test images; standard errors over images, then over seeds.",
        "",
        "| | log p(x) | difference to the plain VAE | seeds |",
        "|---|---|---|---|",
    ]
    for name, by_seed in found.items():
        seeds = [seed for seed in by_seed if seed in found[PLAIN]]
        log_p = torch.stack([by_seed[seed] for seed in seeds])
        plain = torch.stack([found[PLAIN][seed] for seed in seeds])
        gain = "" if name == PLAIN else _mean(log_p - plain)
        lines.append(f"| {CASES[name][0]} | {_mean(log_p)} | {gain} | {len(seeds)} |")
    return "\n".join(lines) + "\n"


def _mean(values: Tensor) -> str:
    """Mean of ``(seeds, images)`` with its errors over images and, if there are several, seeds."""
    seeds, images = values.shape
    errors = [float(values.mean(0).std()) / math.sqrt(images)]
    if seeds > 1:
        errors.append(float(values.mean(1).std()) / math.sqrt(seeds))
    return f"{float(values.mean()):.2f} +- {', '.join(f'{error:.2f}' for error in errors)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit and score each case, and write the table after each fit."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.orderings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--hidden", type=int, nargs="+", default=[200, 200])
    parser.add_argument("--latent-dim", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--precision", default="32")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--out", type=Path, default=Path("runs/orderings"))
    parser.add_argument("--data", default="binarized-mnist")
    parser.add_argument("--table", type=Path, default=Path(__file__).with_suffix(".md"))
    given = parser.parse_args(arguments)
    source = provenance(parser.prog, arguments)
    found: dict[str, dict[int, Tensor]] = {}
    for seed in given.seeds:
        for name in dict.fromkeys([PLAIN, *given.only]):
            found.setdefault(name, {})[seed] = _log_p(name, seed, given)
            given.table.write_text(_table(found, given, source))
    print(given.table.read_text())


if __name__ == "__main__":
    main()
