"""The grid of prior, likelihood, program and bound: which cells can be fitted.

``uv run python -m tests.support.grid`` writes its tables into ``docs/reference/parts.md``, between
markers.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor

from ppvae.bounds import ELBOS
from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.components.building import build_programs
from ppvae.components.kinds import KINDS
from ppvae.components.spec import Spec
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from tests.support.penguins import COLUMNS, as_modelled, mixed_penguins

ROWS, CLASSES, LATENT_DIM = 24, 10, 2

ONE_LATENT = ("MeanField", "LowRank", "FullRank", "Flow", "Mixture", "SemiAmortized", "Delta")

PROGRAMS: tuple[tuple[str, str], ...] = (
    *product(("VAE", "ConditionalVAE"), ONE_LATENT),
    *(("HierarchicalVAE", guide) for guide in ("BottomUp", "TopDown", "Ladder")),
    ("SemiSupervisedVAE", "SemiSupervised"),
    *(("LinearGaussian", guide) for guide in ("ExactPosterior", "MeanField")),
)  # fmt: skip
"""Models, each with the guides for its latents."""

SMALL: dict[str, dict[str, Any]] = {
    "MixtureOfNormals": {"components": 3},
    "VampPrior": {"components": 3},
    "FlowPrior": {"transforms": 1, "hidden": [8]},
    "Flow": {"transforms": 1, "hidden": [8]},
    "MLP": {"hidden": [16]},
    "MixtureOfDiscretizedLogistics": {"components": 2},
}
"""Arguments that make a part quick."""


@dataclass(frozen=True)
class Cell:
    """A combination of parts, by class name."""

    prior: str
    likelihood: str
    program: tuple[str, str]
    elbo: str

    def __str__(self) -> str:
        return "-".join((self.prior, self.likelihood, *self.program, self.elbo))


def axes() -> tuple[list[str], list[str], list[tuple[str, str]], list[str]]:
    """The names along each axis of the grid."""
    names = {
        kind: sorted(KINDS[kind].names()) for kind in ("prior", "likelihood", "model", "guide")
    }
    listed = [p for p in PROGRAMS if p[0] in names["model"] and p[1] in names["guide"]]
    return names["prior"], names["likelihood"], listed, [elbo.__name__ for elbo in ELBOS]


def grid() -> Iterator[Cell]:
    """All cells."""
    return (Cell(*parts) for parts in product(*axes()))


def covering(strength: int) -> list[Cell]:
    """Cells that cover all combinations of ``strength`` parts of different kinds."""
    chosen: list[Cell] = []
    wanted = dict.fromkeys(group for cell in grid() for group in _groups(cell, strength))
    lists = axes()
    generator = np.random.default_rng(0)
    while wanted:
        # Of random cells that cover a missing group, take the one that covers most of them.
        first = next(iter(wanted))
        cells = []
        for _ in range(40):
            parts: list[Any] = [names[generator.integers(len(names))] for names in lists]
            for place, name in first:
                parts[place] = name
            cells.append(Cell(*parts))
        best = max(cells, key=lambda cell: sum(g in wanted for g in _groups(cell, strength)))
        for group in _groups(best, strength):
            wanted.pop(group, None)
        chosen.append(best)
    return chosen


def _groups(cell: Cell, size: int) -> Iterator[tuple[tuple[int, Any], ...]]:
    parts = (cell.prior, cell.likelihood, cell.program, cell.elbo)
    return combinations(enumerate(parts), size)


@cache
def photo() -> Tensor:
    """8x8 patches of a photograph that ships with scikit-learn, in 8-bit grey values: k / 255."""
    from sklearn.datasets import load_sample_image

    grey = torch.from_numpy(load_sample_image("china.jpg").copy())[..., 1]
    patches = grey.unfold(0, 8, 8).unfold(1, 8, 8).reshape(-1, 1, 8, 8)
    return patches[:: len(patches) // ROWS][:ROWS].float() / 255


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Counts from 0 to 16, and the digit that each image shows."""
    from sklearn.datasets import load_digits

    found = load_digits()
    x = torch.from_numpy(found.images[:ROWS]).float()[:, None]
    return x, torch.from_numpy(found.target[:ROWS]).long()


def data_for(likelihood: str) -> Tensor:
    """Real data in the support of the likelihood."""
    counts, _ = digits()
    if likelihood == "Bernoulli":
        return (counts > 8).float()
    if likelihood == "ContinuousBernoulli":
        return counts / 16
    if "Discretized" in likelihood:
        return photo()
    if likelihood == "PerColumn":
        return as_modelled(mixed_penguins(ROWS, missing=0.0))[0]
    return counts if _is_count(likelihood) else (counts - counts.mean()) / counts.std()


def _is_count(likelihood: str) -> bool:
    return likelihood in ("Binomial", "Categorical", "Poisson", "NegativeBinomial", "ZeroInflated")


def made(cell: Cell) -> tuple[Pair, Audit, dict[str, Tensor], Any]:
    """The two programs of a cell, their audit, a batch, and the class of the bound.

    Raises:
        InputError: if they do not go together.
    """
    model, guide = cell.program
    x = data_for(cell.likelihood)
    batch = {"x": x}
    if model in ("ConditionalVAE", "SemiSupervisedVAE"):
        batch["y"] = digits()[1].clone()
    if model == "SemiSupervisedVAE":
        batch["y"][ROWS // 2 :] = -1
    names = {"model": model, "guide": guide, "encoder": "MLP"}
    if model != "LinearGaussian":
        names |= {"prior": cell.prior, "likelihood": cell.likelihood, "decoder": "MLP"}
    if guide == "ExactPosterior":
        del names["encoder"]
    parts = {kind: Spec(name, SMALL.get(name, {})) for kind, name in names.items()}
    torch.manual_seed(0)
    programs = build_programs(
        parts, latent_dim=LATENT_DIM, data_shape=tuple(x.shape[1:]), classes=CLASSES, examples=x,
        columns=COLUMNS if cell.likelihood == "PerColumn" else None,
    )  # fmt: skip
    elbo = KINDS["elbo"].names()[cell.elbo]
    pair = Pair(programs.model, programs.guide, batch)
    return pair, audit(pair, elbo, batch), batch, elbo


def climb(cell: Cell, steps: int = 3) -> list[float]:
    """The objective at each of a few training steps, in nats per datum."""
    pair, facts, batch, elbo = made(cell)
    bound = Bound(pair, elbo, facts, particles=2)
    optimizer = torch.optim.Adam(pair.parameters(), lr=1e-3)
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        objective = bound(batch).objective / ROWS
        (-objective).backward()
        optimizer.step()
        seen.append(float(objective.detach()))
    return seen


def verdict(cell: Cell) -> str:
    """How the KL is computed, or ``refused``."""
    try:
        _, facts, _, _ = made(cell)
    except InputError:
        return "refused"
    kls = dict.fromkeys(site.kl for site in facts.sites if site.guide is not None)
    return ", ".join(kls)


# The tables of docs/reference/parts.md


def tables() -> str:
    """Tables of the KL for each prior and guide, and of the bounds for each guide."""
    priors, _, programs, elbos = axes()
    guides = [guide for model, guide in programs if model == "VAE"]
    analytic = TraceMeanField_ELBO.__name__
    kls = [
        [
            f"`{prior}`",
            *(verdict(Cell(prior, "Bernoulli", ("VAE", guide), analytic)) for guide in guides),
        ]
        for prior in priors
    ]
    fits = [
        [f"`{model}`", f"`{guide}`", *(_fits(model, guide, elbo) for elbo in elbos)]
        for model, guide in programs
        if model != "ConditionalVAE"
    ]
    heads = (
        ["prior", *(f"`{guide}`" for guide in guides)],
        ["model", "guide", *(f"`{elbo.removesuffix('ELBO').rstrip('_')}`" for elbo in elbos)],
    )
    return "\n".join(
        (
            "How `TraceMeanField_ELBO` takes the KL of each prior and guide of a `VAE`:",
            "",
            *_markdown(heads[0], kls),
            "",
            "Which bounds a pair of programs can be fitted by (under the standard normal prior):",
            "",
            *_markdown(heads[1], fits),
        )
    )


def _fits(model: str, guide: str, elbo: str) -> str:
    found = verdict(Cell("StandardNormal", "Bernoulli", (model, guide), elbo))
    return "no" if found == "refused" else "yes"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


PAGE = Path(__file__).parents[2] / "docs" / "reference" / "parts.md"
MARKED = re.compile(r"(<!-- grid -->\n).*?(<!-- /grid -->)", re.DOTALL)


def main() -> None:
    """Write the tables into their page."""
    text = MARKED.sub(lambda found: f"{found[1]}{tables()}\n{found[2]}", PAGE.read_text())
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
