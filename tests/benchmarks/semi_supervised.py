"""Classification of MNIST with 100 labels, as in Kingma et al. (2014): do unlabelled images help?

``PPVAE_DATA=... uv run python -m tests.benchmarks.semi_supervised --epochs 10 --seeds 0 1 2``
classifies the test digits by five methods. A seed determines which images keep their labels, ten
per class, and all weights and noise. Finished results are read, so the command resumes where it was
stopped. The table so far is written to ``tests/benchmarks/semi_supervised.md``: the mean over seeds
and its standard error.

Three methods use the labelled images only: logistic regression, the nearest neighbour, and the
guide's network q(y | x) alone. The other two use all 50,000: M2 is a `SemiSupervisedVAE` of the
images, M1+M2 is one of their codes, the posterior means of a `VAE` fitted without labels.

With few labels the bound can pull q(y | x) to clusters that are not the classes. M2 and M1+M2 avoid
this in three ways:

- One image in 500 has a label. Here each batch has some (``--labelled``), so that their bounds have
  a larger weight than in the paper.
- The batch mean of log q(y | x) at labels has the weight of the mean of the bounds (``--weight``);
  in the paper it has a tenth of it.
- A decoder that does not depend on classes yet misleads q(y | x). So q(y | x) is fitted to the
  labels alone first, then everything else for one epoch, then all together.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyro
import torch
from pyro.infer import TraceEnum_ELBO, TraceMeanField_ELBO
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn
from torch.nn import functional as F

from ppvae.data import Batch, Data, Split, as_split, load
from ppvae.data.labels import hide
from ppvae.guides import MeanField, SemiSupervised
from ppvae.models import VAE, Bernoulli, Gaussian, SemiSupervisedVAE, StandardNormal
from ppvae.models.likelihoods import Likelihood
from ppvae.networks import MLP
from ppvae.programs import Pair
from ppvae.programs.classification import classification
from tests.benchmarks.over_seeds import over_seeds

LABELS = 100
PARTS = ("valid", "test")
"""Held-out parts; settings were chosen on the first."""

CASES = {
    "logistic": ("logistic regression, labelled images only", ""),
    "neighbour": ("nearest neighbour, labelled images only", ""),
    "network": ("the guide's network q(y \\| x), labelled images only", ""),
    "m2": ("M2: `SemiSupervisedVAE` of all images", "88.03 +- 1.71"),
    "m1-m2": ("M1+M2: `SemiSupervisedVAE` of the codes of a `VAE` of all images", "96.67"),
}
"""Title of each method, and its accuracy in Kingma et al. (2014) in percent."""


def _tell(name: str, seed: int, given: argparse.Namespace) -> dict[str, float]:
    """Accuracy of a method on each held-out part, in percent."""
    if name == "logistic":
        return _alone(LogisticRegression(max_iter=1_000), given.data, seed)
    if name == "neighbour":
        return _alone(KNeighborsClassifier(1), given.data, seed)
    whole = load(given.data, binarize="dynamic")
    few = hide(whole, LABELS, seed)
    pyro.set_rng_seed(seed)
    likelihood: Likelihood = Bernoulli(few.shape)
    if name == "m1-m2":
        few = _coded(few, given)
        likelihood = Gaussian(few.shape, variance="per-pixel")
    model, guide = _programs(few, likelihood, given)
    _fit_classifier(guide, few, given.steps)
    if name != "network":
        _fit_bound(model, guide, few, given)
    pair = Pair(model, guide, few.train.take(torch.arange(2)))
    truth = {part: _all(whole.splits[part])["y"] for part in PARTS}
    return {
        part: 100 * classification(pair, few.splits[part], truth[part]).accuracy for part in PARTS
    }


def _alone(
    judge: LogisticRegression | KNeighborsClassifier, data: str, seed: int
) -> dict[str, float]:
    """Accuracy of a classifier fitted to the labelled images alone, in grey."""
    whole = load(data)
    seen = whole.train.take(_known(hide(whole, LABELS, seed)))
    judge.fit(seen["x"].flatten(1).numpy(), seen["y"].numpy())
    new = {part: _all(whole.splits[part]) for part in PARTS}
    return {
        part: 100 * float(judge.score(batch["x"].flatten(1).numpy(), batch["y"].numpy()))
        for part, batch in new.items()
    }


# The programs, and how they are fitted.


def _programs(
    few: Data, likelihood: Likelihood, given: argparse.Namespace
) -> tuple[SemiSupervisedVAE, SemiSupervised]:
    network = partial(MLP, hidden=given.hidden)
    prior = StandardNormal(given.latent_dim)
    alpha = given.weight * given.batch_size / given.labelled
    guide = SemiSupervised(given.latent_dim, few.shape, network, few.classes, alpha)
    return SemiSupervisedVAE(prior, likelihood, network, few.classes), guide


def _fit_classifier(guide: SemiSupervised, few: Data, steps: int) -> None:
    """Fit q(y | x) to the labels alone."""

    def loss(batch: Batch) -> Tensor:
        return F.cross_entropy(guide.classifier(batch["x"]), batch["y"])

    _descend(loss, guide.classifier.parameters(), few.train, [_known(few)] * steps, 1e-3)


def _fit_bound(
    model: SemiSupervisedVAE, guide: SemiSupervised, few: Data, given: argparse.Namespace
) -> None:
    """Maximize the bound: for an epoch with q(y | x) fixed, then all together."""
    elbo = TraceEnum_ELBO(max_plate_nesting=1)

    def loss(batch: Batch) -> Tensor:
        value: Tensor = elbo.differentiable_loss(model, guide, **batch)
        return value / len(batch["x"])

    others = [*model.parameters(), *guide.latent.parameters()]
    _descend(loss, others, few.train, _mixed(few, 1, given), given.lr)
    everything = [*others, *guide.classifier.parameters()]
    _descend(loss, everything, few.train, _mixed(few, given.epochs - 1, given), given.lr)


def _coded(few: Data, given: argparse.Namespace) -> Data:
    """The data encoded as posterior means of a VAE fitted without labels."""
    network = partial(MLP, hidden=given.code_hidden)
    model = VAE(StandardNormal(given.code_dim), Bernoulli(few.shape), network)
    guide = MeanField(given.code_dim, few.shape, network)
    elbo = TraceMeanField_ELBO()

    def loss(batch: Batch) -> Tensor:
        value: Tensor = elbo.differentiable_loss(model, guide, batch["x"])
        return value / len(batch["x"])

    rows = torch.arange(len(few.train))
    order = [part for _ in range(given.code_epochs) for part in _shuffled(rows).split(128)]
    _descend(loss, [*model.parameters(), *guide.parameters()], few.train, order, 1.5e-3)
    train, valid, test = (_codes(guide, split) for split in (few.train, few.valid, few.test))
    return replace(few, shape=(given.code_dim,), train=train, valid=valid, test=test)


def _codes(guide: MeanField, split: Split) -> Split:
    with torch.no_grad():
        means = [guide.posterior(batch["x"]).mean for batch in split.frozen(0).chunks(1_000)]
    return as_split(torch.cat(means), _all(split)["y"])


def _descend(
    loss: Callable[[Batch], Tensor],
    parameters: Iterable[nn.Parameter],
    split: Split,
    order: Sequence[Tensor],
    lr: float,
) -> None:
    """Take a step of Adam per batch; the learning rate falls to 0 along a cosine."""
    optimizer = torch.optim.Adam(parameters, lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(len(order), 1))
    for batch in split.batches(order):
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()
        schedule.step()


# The rows of each batch.


def _mixed(few: Data, epochs: int, given: argparse.Namespace) -> list[Tensor]:
    """Labelled and unlabelled rows of each batch; an epoch has each unlabelled row once."""
    rest, size = (_all(few.train)["y"] < 0).nonzero()[:, 0], given.batch_size - given.labelled
    again = _endless(_known(few))
    return [
        torch.cat([rows, *(next(again) for _ in range(given.labelled))])
        for _ in range(epochs)
        for rows in _shuffled(rest).split(size)
    ]


def _endless(rows: Tensor) -> Iterator[Tensor]:
    """Rows one by one without end, all of them before any repeats."""
    while True:
        yield from _shuffled(rows).split(1)


def _shuffled(rows: Tensor) -> Tensor:
    return rows[torch.randperm(len(rows))]


def _known(few: Data) -> Tensor:
    """The rows whose label is known."""
    return (_all(few.train)["y"] >= 0).nonzero()[:, 0]


def _all(split: Split) -> Batch:
    return split.take(torch.arange(len(split)))


# Results.


def _accuracy(name: str, seed: int, given: argparse.Namespace) -> float:
    """Accuracy in percent, read or computed."""
    others = ("seeds", "only", "part", "out", "table")
    settings = {key: value for key, value in vars(given).items() if key not in others}
    file = given.out / f"{name}-{seed}-{given.epochs}.json"
    kept = json.loads(file.read_text()) if file.is_file() else {}
    if kept.get("settings") != settings:
        kept = {"settings": settings, **_tell(name, seed, given)}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(kept, indent=2) + "\n")
    return float(kept[given.part])


def _table(found: dict[str, list[float]], given: argparse.Namespace) -> str:
    lines = [
        "# 100 labels",
        "",
        f"{given.data}, {LABELS} images labelled, ten per class. Accuracy on the "
        f"{given.part} images in percent: mean over seeds and its standard error, then the seeds, "
        f"{', '.join(map(str, given.seeds))}. {given.epochs} epochs, batches of "
        f"{given.batch_size} with {given.labelled} labelled, MLP {given.hidden}, "
        f"{given.latent_dim} latent dimensions; codes: {given.code_epochs} epochs, MLP "
        f"{given.code_hidden}, {given.code_dim} dimensions.",
        "",
        "| | accuracy | by seed | Kingma et al. (2014) |",
        "|---|---|---|---|",
    ]
    for name, values in found.items():
        label, published = CASES[name]
        each = ", ".join(f"{value:.2f}" for value in values)
        lines.append(f"| {label} | {over_seeds(values)} | {each} | {published} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run each method, and write the table after each."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.semi_supervised",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--part", choices=PARTS, default="test")
    parser.add_argument("--hidden", type=int, nargs="+", default=[200])
    parser.add_argument("--latent-dim", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--labelled", type=int, default=16)
    parser.add_argument("--weight", type=float, default=1.0)
    parser.add_argument("--lr", type=float, default=6e-3)
    parser.add_argument("--code-epochs", type=int, default=10)
    parser.add_argument("--code-hidden", type=int, nargs="+", default=[400])
    parser.add_argument("--code-dim", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/semi-supervised"))
    parser.add_argument("--steps", type=int, default=300, help="steps of q(y | x) alone")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--table", type=Path, default=Path(__file__).with_suffix(".md"))
    given = parser.parse_args(arguments)
    found: dict[str, list[float]] = {}
    for name in given.only:
        found[name] = [_accuracy(name, seed, given) for seed in given.seeds]
        table = _table(found, given)
        given.table.write_text(table)
        print(table)


if __name__ == "__main__":
    main()
