"""Do richer priors, guides and bounds win as they did in the papers? Equal networks and budget.

``PPVAE_DATA=... uv run python -m tests.benchmarks.orderings --epochs 100`` fits each program on
fixed-binarization MNIST and estimates log p(x) of the same test images with the same number of
importance samples. A fit that is there already is read, so that the command goes on where it was
stopped. The table is written to ``tests/benchmarks/orderings-100.md``, whatever was fitted so far:
the mean of log p(x), its standard error over images, and the difference to the plain VAE, whose
standard error is over the same images, pair by pair, and so much smaller. Each figure is of one
seed: what another seed would change is not in the errors.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ppvae.data import as_split
from ppvae.diagnostics import log_evidence
from ppvae.fit import fit
from ppvae.run import Run

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "vae": ("standard normal prior, mean field, ELBO", {}),
    "mixture": (
        "mixture of 100 normals",
        {"prior": {"class_path": "MixtureOfNormals", "init_args": {"components": 100}}},
    ),
    "vamp": (
        "VampPrior, 100 pseudo-inputs",
        {"prior": {"class_path": "VampPrior", "init_args": {"components": 100}}},
    ),
    "bottom-up": (
        "two layers, bottom-up guide",
        {"model": "HierarchicalVAE", "guide": "BottomUp", "elbo": "Trace_ELBO", "prior": None},
    ),
    "ladder": (
        "two layers, ladder",
        {"model": "HierarchicalVAE", "guide": "Ladder", "prior": None},
    ),
    "iw-5": ("importance weighted, K = 5", {"elbo": "ImportanceWeightedELBO", "particles": 5}),
    "flow-guide": ("inverse autoregressive spline guide", {"guide": "Flow", "elbo": "Trace_ELBO"}),
    "flow-prior": ("spline flow prior", {"prior": "FlowPrior"}),
    "iw-50": ("importance weighted, K = 50", {"elbo": "ImportanceWeightedELBO", "particles": 50}),
}
"""What is changed of the plain VAE."""


def _run(name: str, given: argparse.Namespace) -> Run:
    """The fit of a case, made anew or read."""
    folder = given.out / f"{name}-{given.epochs}-{given.warm_up}"
    if (folder / "summary.json").is_file():
        return Run(folder)
    decoder = {"class_path": "MLP", "init_args": {"hidden": given.hidden}}
    # What a ladder's encoder gives is a hidden layer itself, of 200 numbers.
    hidden = given.hidden[:-1] if name == "ladder" else given.hidden
    encoder = {"class_path": "MLP", "init_args": {"hidden": hidden}}
    return fit(
        given.data, encoder=encoder, decoder=decoder, latent_dim=given.latent_dim,
        epochs=given.epochs, warm_up=given.warm_up, batch_size=128, seed=0, device="cpu",
        out=folder, overwrite=True,
        **CASES[name][1],
    )  # fmt: skip


def _log_p(name: str, given: argparse.Namespace) -> torch.Tensor:
    """Log p(x) of each test image, kept beside the fit."""
    run = _run(name, given)
    kept = run.path / f"log_p-{given.images}-{given.samples}.pt"
    if kept.is_file():
        found: torch.Tensor = torch.load(kept, weights_only=True)
        return found
    rows = as_split(run.data().test.take(torch.arange(given.images))["x"])
    evidence = log_evidence(run.pair, run.audit, rows, samples=given.samples, seed=1, batch_size=32)
    torch.save(evidence.log_p, kept)
    return evidence.log_p


def _table(found: dict[str, torch.Tensor], given: argparse.Namespace) -> str:
    lines = [
        f"{given.data}, {given.epochs} epochs, the first {given.warm_up} of "
        f"them warm-up, seed 0, MLP {given.hidden}, "
        f"{given.latent_dim} latent dimensions a layer; log p(x) in nats with {given.samples:,} "
        f"importance samples, of the first {given.images:,} test images; standard errors over "
        "images.",
        "",
        "| | log p(x) | more than the plain VAE |",
        "|---|---|---|",
    ]
    for name, log_p in found.items():
        gain = "" if name == "vae" else _mean(log_p - found["vae"])
        lines.append(f"| {CASES[name][0]} | {_mean(log_p)} | {gain} |")
    return "\n".join(lines) + "\n"


def _mean(values: torch.Tensor) -> str:
    return f"{float(values.mean()):.2f} +- {float(values.std()) / math.sqrt(len(values)):.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, estimate, and write the table after each case."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.orderings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--warm-up", type=int, default=20)
    parser.add_argument("--hidden", type=int, nargs="+", default=[200, 200])
    parser.add_argument("--latent-dim", type=int, default=40)
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--samples", type=int, default=1_000)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--out", type=Path, default=Path("runs/orderings"))
    parser.add_argument("--data", default="binarized-mnist")
    parser.add_argument("--tables", type=Path, default=Path(__file__).parent)
    given = parser.parse_args(arguments)
    found: dict[str, torch.Tensor] = {}
    for name in dict.fromkeys(["vae", *given.only]):
        found[name] = _log_p(name, given)
        table = _table(found, given)
        (given.tables / f"orderings-{given.epochs}.md").write_text(table)
        print(table)


if __name__ == "__main__":
    main()
