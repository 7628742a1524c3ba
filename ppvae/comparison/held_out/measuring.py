"""The figures of one run on the compared rows."""

from collections.abc import Callable

import torch

from ppvae.comparison.held_out.result import OneRun
from ppvae.data import Split
from ppvae.diagnostics import decompose, log_evidence
from ppvae.errors import InputError
from ppvae.run import Run
from ppvae.run.config import entry
from ppvae.training.evaluation_schedule import draws_for

DRAWS = 8
"""Minimum number of draws per datum for bound and rate."""

ALL_DRAWS = 10_000
"""Minimum number of draws over all data: with few rows, 8 each would be noise."""


def measure(
    run: Run,
    rows: Split,
    samples: int,
    seed: int,
    device: torch.device,
    on_rows: Callable[[int], None],
) -> OneRun:
    """Log p(x), bound and rate of each datum, and the cost of the fit.

    All runs use the same seed: programs of equal structure have the same draws, which makes their
    difference more precise.

    Raises:
        InputError: where a figure is not finite.
    """
    pair, facts = run.pair.to(device), run.audit
    try:
        evidence = log_evidence(
            pair, facts, rows, samples=samples, seed=seed, device=device, on_rows=on_rows
        )
        draws = max(DRAWS, draws_for(len(rows), ALL_DRAWS))
        terms = decompose(pair, facts, rows, draws=draws, seed=seed, device=device)
    finally:
        pair.to("cpu")
    elbo, rate = terms.elbo, terms.rate
    if elbo is None or rate is None or not bool(evidence.log_p.isfinite().all()):
        raise InputError(
            f"log p(x) of some row is not finite under {run.path}, whose fit may have diverged; "
            "leave it out"
        )
    summary = run.summary or {}
    return OneRun(
        path=run.path,
        seed=entry(run.config, "seed", int, run.path),
        log_p=evidence.log_p.double(),
        ess=float(evidence.ess.median()),
        elbo=elbo,
        rate=rate,
        effective_latents=terms.effective_latents,
        parameters=sum(p.numel() for p in pair.parameters() if p.requires_grad),
        seconds=float(summary.get("seconds") or 0.0),
    )
