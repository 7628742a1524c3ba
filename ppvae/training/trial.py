"""Trial of the programs before the first step, so that errors show at once.

The pair is called as in the fit: in training with a gradient, on a full batch and on the incomplete
last one, and in evaluation on each batch size that occurs. Weights, running means, counters in
Python and random states are unchanged.
"""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch

from ppvae.compilation.operations import Operations
from ppvae.compilation.python_state.snapshot import preserved
from ppvae.data import Batch, Split
from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.failures import explained, of_some_draws, unfit_gradient, unfit_site
from ppvae.programs.streams import forked, restored
from ppvae.training.evaluation import evaluate

if TYPE_CHECKING:  # the loop takes seconds to import
    from ppvae.training.trainer import Trainer


def try_out(loop: "Trainer") -> int:
    """Compute bound and gradient on the batches of an epoch, without a step.

    Returns:
        Floating-point operations of the bound per row, in matrix products and convolutions. They
            are counted on a full batch, whose rows share those of pseudo-inputs, for example; in
            each process on all of its rows, so that all decide alike.

    Raises:
        InputError: for errors of the programs, and for a bound or gradient that is not finite.
    """
    bound, rank, world = loop.bound, loop.fabric.global_rank, loop.fabric.world_size
    rows, order = min(loop.plan.batch_size, len(loop.train)), loop.order
    left = len(loop.train) % order.size
    with unmoved(bound.pair), restored(), loop.fabric.autocast():
        bound.train()
        batch = _take(loop.train, order.parts(range(order.size), rank)[0], loop.device)
        with explained(f"on a batch of {len(batch['x'])} rows"):
            _climb(loop, batch)
        if left >= world:
            batch = _take(loop.train, order.parts(range(left), rank)[-1], loop.device)
            count = len(batch["x"])
            with explained(
                f"on the last batch of an epoch, of {count} row{'s' if count > 1 else ''}",
                _other_size(len(loop.train), rows) if count == 1 else _tied(rows),
            ):
                _climb(loop, batch)
        batch, operations = _take(loop.train, range(rows), loop.device), Operations()
        with evaluating(bound), explained(f"in evaluation, on {rows} rows"), operations:
            bound(batch, loop.plan.beta)
    return operations.count // rows


def try_evaluation(loop: "Trainer") -> None:
    """Evaluate a batch of each size in an evaluation of the fit.

    Raises:
        InputError: for errors of the programs.
    """
    by, plan = loop.evaluation, loop.plan
    batches = by.chosen(len(loop.valid), plan.seed).repeat(by.draws).split(by.batch_size)
    trained = _tied(min(plan.batch_size, len(loop.train)))
    for size, rows in {len(rows): rows for rows in batches}.items():
        with (
            unmoved(loop.bound.pair),
            restored(),
            explained(f"in evaluation, on {size} rows", trained),
        ):
            evaluate(
                loop.bound, loop.valid, rows,
                beta=plan.beta, batch_size=size, seed=plan.seed, device=loop.device,
            )  # fmt: skip


def unmoved(pair: Pair) -> AbstractContextManager[None]:
    """Context manager that restores the buffers and Python state of a pair."""
    return preserved({"model": pair.program("model"), "guide": pair.program("guide"), "pair": pair})


def _take(split: Split, rows: range, device: torch.device) -> Batch:
    return next(iter(split.batches([torch.tensor(rows)], device=device)))


def _climb(loop: "Trainer", batch: Batch) -> None:
    """Compute the bound and its gradient, which must be finite."""
    bound = loop.bound
    try:
        objective = bound(batch, loop.plan.beta).objective
    except ValueError as error:
        _check_numbers_of_some_draws(bound.pair, batch, error)
        raise
    if not bool(objective.isfinite()):
        _check_numbers_of_some_draws(bound.pair, batch, None)
    learned = {name: p for name, p in bound.pair.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(objective, list(learned.values()), allow_unused=True)
    if not bool(objective.isfinite()):
        return  # a rare draw: the fit reports it if it happens
    for name, gradient in zip(learned, gradients, strict=True):
        if gradient is not None and bool(gradient.isnan().any()):
            if said := unfit_gradient(bound.pair, batch):
                raise InputError(_at_first(said, batch))
            raise InputError(
                f"the bound is finite at the initial weights, but its gradient for '{name}' is "
                "not: a function in the programs has no derivative there (the root or the norm "
                "of 0, a where with such a branch); keep its argument away from that point"
            )


def check_numbers(pair: Pair, batch: Batch) -> None:
    """Refuse programs with a parameter or density that is not finite at the initial weights.

    Raises:
        InputError: naming the site, and the way out.
    """
    with forked(pair.device):
        said = unfit_site(pair, batch, zero=False)
    if said:
        raise InputError(_at_first(said, batch))


def _check_numbers_of_some_draws(pair: Pair, batch: Batch, error: Exception | None) -> None:
    """The same for failures at some draws only, and for a density of 0."""
    if said := of_some_draws(lambda: unfit_site(pair, batch, zero=error is None)):
        raise InputError(_at_first(said, batch)) from error


def _at_first(said: str, batch: Batch) -> str:
    largest = float(batch["x"].abs().max())
    if largest > LARGE:
        return (
            f"{said} at the initial weights; x goes up to {largest:g}: scale the data, or bound "
            "the network output for it"
        )
    return (
        f"{said} at the initial weights; bound the network output for it (a scale or a rate by "
        "ppvae.networks.positive), or use `precision='64'`"
    )


LARGE = 100.0
"""Size of x above which the data, not a network, is at fault at the initial weights: layers are
initialized for inputs of about 1.
"""


def _tied(rows: int) -> str:
    return (
        f"; on a full batch, of {rows} rows, they do not fail: something depends on that number, "
        "such as the parameters of an AutoGuide for latents of each datum; give such latents an "
        "encoder, and use len(x) for sizes"
    )


def _other_size(data: int, rows: int) -> str:
    better = next((n for n in range(rows + 1, 2 * rows + 2) if data % n != 1), rows + 1)
    return (
        f"; batch normalization needs at least two rows: for {data} rows take `batch_size={better}`"
    )
