"""What data would the model give? Latents and data drawn together, from p(x, z) itself.

A pair (z, x) drawn so is a draw of z from the exact posterior of x, free of charge: what a guide's
calibration and the reverse chain of annealing start from. The data of a split give what is not
drawn: how many rows, labels and covariates, and which entries were observed.
"""

from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppvae.data import Batch
from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.densities import Latents
from ppvae.programs.facts import Audit
from ppvae.programs.sites import sites


def simulate(
    pair: Pair,
    audit: Audit,
    batch: Batch,
    *,
    latents: Mapping[str, Tensor] | None = None,
    check: bool = True,
) -> tuple[Batch, Latents]:
    """Draw z ~ p(z), then x ~ p(x | z), one of each for every row of ``batch``.

    The draws are torch's, from its global generator.

    Args:
        pair: model and guide, of which the guide is not run.
        audit: what the audit found of them.
        batch: ``{"x": (data, *shape), ...}``. Labels and covariates are kept, whether the model
            observes them or is conditional on them; so is the mask, and what it hides of x.
        latents: values of all latent sites, in the shapes returned here, to draw x alone.
        check: make sure that such a draw is one of p(x, z), at the cost of another call of the
            model, or two; once for all batches of the same programs is enough.

    Returns:
        the batch with x replaced, and the latents by site, ``(1, *plates, *event)``: one particle
        of `ppvae.programs.densities.Draws.latents`, as `Densities.at` takes them.

    Raises:
        InputError: if x is not observed whole at one site; and, where ``check`` is true, if the
            model reads values of x before it draws x (as a decoder does that is given the
            preceding pixels), or, where z is drawn too, if it observes labels that depend on z,
            with which a z from the prior would not agree.
    """
    with evaluating(pair):
        trace, site = _drawn(pair, audit, batch, latents or {})
        drawn = trace.nodes[site]["value"]
        x = drawn.reshape(batch["x"].shape)  # which the program may observe in another
        simulated = {**batch, "x": _seen(x, batch, pair.dtype)}
        scored = simulated["x"].to(drawn.dtype).reshape(drawn.shape)
        trace.nodes[site]["value"] = scored  # below
        if check and latents is None:
            _check_kept(pair, audit, batch, trace)
        if check:
            _check_blind(pair, audit, simulated, trace, site)
    return simulated, {
        name: audit.axes.padded(node["value"], len(node["fn"].event_shape))
        for name, node in sites(trace).items()
        if name in audit.latents
    }


class _Free(Messenger):
    """Samples what the program observes x at, and remembers where that was."""

    def __init__(self, sites: frozenset[str], x: Tensor) -> None:
        super().__init__()
        self.sites, self.x = sites, x
        self.freed: list[str] = []
        self.observed_as = x.shape

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] not in self.sites or not msg["is_observed"]:
            return
        # Another value, as x on another scale, is not x and is left alone.
        value = msg["value"].to(self.x.dtype)
        if value.numel() == self.x.numel() and torch.equal(value.reshape(self.x.shape), self.x):
            self.observed_as = value.shape
            self.freed.append(msg["name"])
            msg["is_observed"], msg["value"], msg["done"] = False, None, False


def _drawn(
    pair: Pair, audit: Audit, batch: Batch, latents: Mapping[str, Tensor]
) -> tuple[Any, str]:
    """A trace of the model with x drawn, and the site that x is drawn at."""
    x = batch["x"]
    free = _Free(frozenset(audit.supports), x.to(pair.dtype) if x.is_floating_point() else x)
    values = {n: audit.as_drawn(n, latents[n]) for n in audit.latents if n in latents}
    with free:
        model = poutine.condition(pair.call_model, values) if values else pair.call_model
        trace = poutine.trace(model).get_trace(**batch)
    if len(free.freed) != 1:
        found = f"{len(free.freed)} sites of" if free.freed else "none in"
        raise InputError(
            f"to simulate data, x has to be observed whole at one site, and there are {found} the "
            "model; write pyro.sample('x', ..., obs=x) for x as it is given"
        )
    drawn: Any = trace.nodes[free.freed[0]]["value"]
    if drawn.shape != free.observed_as:
        raise InputError(
            f"the model draws x of shape {tuple(drawn.shape[1:])} at site '{free.freed[0]}', and "
            f"observes x of shape {tuple(x.shape[1:])}, which its distribution is only broadcast "
            "to; give the distribution the shape of x, by .expand() before .to_event()"
        )
    return trace, free.freed[0]


def _seen(x: Tensor, batch: Batch, dtype: torch.dtype) -> Tensor:
    """A simulated x as a program is shown it: what the mask hides is as it was."""
    # A categorical draws integers where the data are floating-point codes.
    given, mask = batch["x"], batch.get("mask")
    x = x.to(dtype if given.is_floating_point() else given.dtype)
    return x if mask is None else torch.where(mask, x, given.to(x.dtype))


def _check_kept(pair: Pair, audit: Audit, batch: Batch, trace: Any) -> None:
    """Refuse observed values, kept as given, whose density depends on what was drawn."""
    kept = [n for n, node in sites(trace).items() if node["is_observed"]]
    if not kept:
        return
    again, _ = _drawn(pair, audit, batch, {})
    trace.compute_log_prob(), again.compute_log_prob()
    for name in kept:
        if not _agree(trace.nodes[name]["log_prob"], again.nodes[name]["log_prob"]):
            raise InputError(
                f"site '{name}' is observed, and depends on what is drawn before it: a latent from "
                f"the prior would not agree with values given at '{name}'; draw '{name}' before "
                "the latents, or leave it out of the model"
            )


def _check_blind(pair: Pair, audit: Audit, simulated: Batch, trace: Any, site: str) -> None:
    """Refuse a model that gives the same draw another density once it is shown its x.

    So does one that read the data that it was shown while it was drawing.
    """
    values = {name: trace.nodes[name]["value"] for name in audit.latents}
    shown: Any = poutine.trace(poutine.condition(pair.call_model, values)).get_trace(**simulated)
    trace.compute_log_prob(), shown.compute_log_prob()
    for name in (*audit.latents, site):
        if not _agree(trace.nodes[name]["log_prob"], shown.nodes[name]["log_prob"]):
            raise InputError(
                f"the model's density at site '{name}' depends on values of x that it is given, so "
                "that it cannot be simulated by drawing each site once; of the x that it is called "
                "with it may use the shape alone before it draws x"
            )


def _agree(a: Tensor, b: Tensor) -> bool:
    # Far above rounding, in which two calls may differ; far below what dependence makes.
    return torch.allclose(a, b, rtol=1e-3, atol=1e-3, equal_nan=True)
