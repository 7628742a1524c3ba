"""Table of the cost of log p(x) by importance sampling, against its matrix products alone."""

import math
import resource
import time
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .bars import Bar
from .data import origin, resident
from .job import HIDDEN, Job
from .machine import versions
from .plan import Plan
from .table import figure, publish, say, show, under_way

if TYPE_CHECKING:
    from ppvae.guides import MeanField
    from ppvae.models import VAE

__all__ = ["evidence", "images", "programs"]

MOST, MEMORY = 1.2, 2048
"""Bars: compiled seconds over those of the products; peak memory of the process in MiB."""

_LATENT, _BATCH = 20, 128


def evidence(plan: Plan, samples: int = 5_000) -> None:
    """Time log p(x) by ``samples`` draws per image, in turn with its matrix products.

    A round takes batches of 128 images, compiled and eager, and products of the same shapes and
    number. The first batch includes the set-up, above all compiling, which is reported separately.
    Then all rows of the plan are estimated once, and the peak memory is reported.
    """
    from ppvae.data import as_split
    from ppvae.diagnostics import log_evidence, subject

    rounds, rows = plan.rounds, plan.rows
    model, guide = programs()
    pair, facts, whole = subject(model, guide, images(rows))
    few = as_split(images(2 * _BATCH))
    first: dict[str, list[float]] = {"compiled": [], "eager": [], "products": [0.0]}
    taken: dict[str, list[float]] = {"compiled": [], "eager": [], "products": []}

    def ours(name: str) -> None:
        ends = [time.perf_counter()]
        log_evidence(
            pair, facts, few, samples=samples, compile=name == "compiled",
            on_rows=lambda _: ends.append(time.perf_counter()),
        )  # fmt: skip
        one, other = (after - before for before, after in pairwise(ends))
        first[name].append(max(0.0, one - other))
        taken[name].append(other)

    with under_way() as say_what:
        for i in range(rounds):
            say_what(f"round {i + 1} of {rounds}")
            taken["products"].append(_products(model.decoder, guide.encoder, samples))
            ours("compiled")
            ours("eager")
        say_what(f"all {rows:,} images")
        started = time.perf_counter()
        found = log_evidence(pair, facts, whole, samples=samples)
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ratios = {
        name: median(a / b for a, b in zip(times, taken["products"], strict=True))
        for name, times in taken.items()
    }
    table: list[dict[str, Any]] = [
        {
            "what": name,
            "seconds": median(times),
            "over_products": ratios[name],
            "set_up_seconds": first[name][0],
        }
        for name, times in taken.items()
    ]
    show(
        f"log p(x), {samples:,} samples, {_BATCH} images a round ({origin()})",
        ("", "seconds", "/ products", "set-up, s"),
        [
            (row["what"], *(figure(row[k]) for k in ("seconds", "over_products", "set_up_seconds")))
            for row in table
        ],
    )
    say(
        f"all {rows:,} images: {seconds:.0f} s (the products alone would take "
        f"{median(taken['products']) * rows / _BATCH:.0f} s); mean {found.mean:.2f}"
    )
    bars = [
        Bar("log p(x), compiled / its products", MOST, ratios["compiled"]),
        Bar("peak memory of the process, MiB", MEMORY, peak),
    ]
    extra = {"rows": rows, "peak_mib": peak, "all_seconds": seconds}
    publish(plan, [row | extra for row in table], bars, versions=versions("torch", "pyro"))


def programs() -> tuple["VAE", "MeanField"]:
    """Untrained model and guide, 784-400-20 and back."""
    from functools import partial

    from ppvae.guides import MeanField
    from ppvae.models import VAE, Bernoulli, StandardNormal
    from ppvae.networks import MLP

    torch.manual_seed(0)
    network = partial(MLP, hidden=(HIDDEN,), activation="relu")
    model = VAE(StandardNormal(_LATENT), Bernoulli((784,)), network)
    return model, MeanField(_LATENT, (784,), network)


def images(rows: int) -> Tensor:
    """The first ``rows`` images, from the beginning again after the last: ``(rows, 784)``."""
    there = torch.from_numpy(resident(Job("mlp"))).flatten(0, 1)
    return there[torch.arange(rows) % len(there)]


def _products(decoder: nn.Module, encoder: nn.Module, samples: int) -> float:
    """Seconds of the products alone: of the decoder for every draw, of the encoder per chunk."""
    at_once = 2**23 // (_BATCH * 784)
    x = torch.randn(_BATCH, 784)
    z = torch.randn(_BATCH * at_once, _LATENT)
    chains = [(_layers(encoder), x), (_layers(decoder), z)]
    plans = [
        [(layer.weight.detach().t(), torch.empty(len(start), layer.out_features)) for layer in net]
        for net, start in chains
    ]
    started = time.perf_counter()
    for _ in range(math.ceil(samples / at_once)):
        for (_, start), plan in zip(chains, plans, strict=True):
            h: Tensor = start
            for weight, into in plan:
                h = torch.mm(h, weight, out=into)
    return time.perf_counter() - started


def _layers(network: nn.Module) -> list[nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Linear)]
