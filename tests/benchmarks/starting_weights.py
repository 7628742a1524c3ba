"""Initial weights and biases: what do those of this package gain over torch's?

``PPVAE_DATA=... uv run python -m tests.benchmarks.starting_weights`` fits one network to MNIST in
its fixed binarization from each start, once per seed. Finished fits are read, so the command
resumes. After each seed, the table so far is written to ``tests/benchmarks/starting_weights.md``:
the bound of the validation images after the first epoch and of the test images at the end, and the
gain at the end over torch's start with the same seed: means over seeds and standard errors.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

from ppvae.fit import fit
from tests.benchmarks.kept import kept
from tests.benchmarks.over_seeds import over_seeds
from tests.benchmarks.provenance import provenance

TORCH = "torch"

CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    TORCH: (
        "torch's weights and biases",
        ("ppvae.networks.layers.initialize", "ppvae.components.building.start_at_marginal"),
    ),
    "glorot": ("Glorot's weights, biases of 0", ("ppvae.components.building.start_at_marginal",)),
    "marginal": (
        "torch's, the last bias by the marginal",
        ("ppvae.networks.layers.initialize",),
    ),
    "both": ("Glorot's, the last bias by the marginal (the default)", ()),
}
"""Each start, and the steps of building that it leaves out."""


def _elbos(name: str, seed: int, given: argparse.Namespace) -> tuple[float, float]:
    """The bound on valid after the first epoch, and on test at the end; read or fitted."""
    folder = given.out / f"{name}-{seed}"
    network = {
        "class_path": "MLP",
        "init_args": {"hidden": given.hidden, "activation": given.activation},
    }
    asked = {
        "data": given.data, "encoder": network, "decoder": network, "latent_dim": given.latent_dim,
        "epochs": given.epochs, "batch_size": 200, "lr": 2e-3, "precision": "32", "seed": seed,
        "device": "cpu",
    }  # fmt: skip
    run = kept(folder, asked)
    if run is None or run.summary is None:
        with ExitStack() as left_out:
            for step in CASES[name][1]:
                left_out.enter_context(patch(step, lambda *_: None))
            run = fit(**asked, out=folder, overwrite=True)
    first = run.metrics().query("split == 'valid'")["elbo"].iloc[0]
    return float(first), json.loads((folder / "summary.json").read_text())["elbo"]


def _table(
    found: Mapping[str, Mapping[int, tuple[float, float]]], given: argparse.Namespace, source: str
) -> str:
    lines = [
        "# Starting weights",
        "",
        f"{source}. {given.data}, encoder and decoder MLP {given.hidden} with "
        f"{given.activation}, {given.latent_dim} latent dimensions, {given.epochs} epochs of "
        "batches of 200, Adam 0.002 falling to 0 along a cosine. ELBO in nats: of the validation "
        "images after one epoch, of the test images at the end; mean over seeds "
        f"{', '.join(map(str, found[TORCH]))} and its standard error.",
        "",
        "| start | after one epoch | at the end | gain over torch's |",
        "|---|---|---|---|",
    ]
    for name, by_seed in found.items():
        first, last = zip(*by_seed.values(), strict=True)
        gain = [elbo - found[TORCH][seed][1] for seed, (_, elbo) in by_seed.items()]
        cells = [over_seeds(first), over_seeds(last), "" if name == TORCH else over_seeds(gain)]
        lines.append(f"| {CASES[name][0]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit from each start, and write the table after each seed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.starting_weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", default="binarized-mnist")
    parser.add_argument("--hidden", type=int, nargs="+", default=[200, 200])
    parser.add_argument("--activation", default="tanh")
    parser.add_argument("--latent-dim", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, default=Path("runs/starting-weights"))
    parser.add_argument("--table", type=Path, default=Path(__file__).with_suffix(".md"))
    given = parser.parse_args(arguments)
    source = provenance(parser.prog, arguments)
    found: dict[str, dict[int, tuple[float, float]]] = {name: {} for name in CASES}
    for seed in given.seeds:
        for name in CASES:
            found[name][seed] = _elbos(name, seed, given)
        given.table.write_text(_table(found, given, source))
    print(given.table.read_text())


if __name__ == "__main__":
    main()
