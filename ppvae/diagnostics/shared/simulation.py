"""Simulation: latents and data drawn jointly from p(x, z).

In such a pair (z, x), z is an exact draw from the posterior of x: the calibration of a guide and
the reverse chain of annealing start from it. The data of a split define what is not drawn: the
number of rows, labels and covariates, and which entries are observed.
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
    """Draw z ~ p(z), then x ~ p(x | z), one of each per row of ``batch``.

    The draws are torch's, from its global generator.

    Args:
        pair: model and guide; the guide is not run.
        audit: their audit.
        batch: ``{"x": (data, *shape), ...}``. Labels and covariates are kept, whether the model
            observes them or is conditional on them; so are the mask and the entries of x that it
            hides.
        latents: values of all latent sites, in the shapes returned here, to draw x only.
        check: verify that such a draw is one of p(x, z), at the cost of one or two more calls of
            the model; once for all batches of the same programs is enough.

    Returns:
        the batch with x replaced, and the latents by site, ``(1, *plates, *event)``: one particle
        of `ppvae.programs.densities.Draws.latents`, as `Densities.at` takes them.

    Raises:
        InputError: if x is not observed whole at one site; and, if ``check`` is true, if the model
            reads values of x before it draws x (as a decoder that is given the preceding pixels
            does), or, if z is drawn too, if it observes labels that depend on z, since a z from the
            prior would not agree with them.
    """
    with evaluating(pair):
        trace, site = _drawn(pair, audit, batch, latents or {})
        drawn = trace.nodes[site]["value"]
        x = drawn.reshape(batch["x"].shape)  # which may differ from the shape at its site
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
    """Samples the sites that observe x, and records their names."""

    def __init__(self, sites: frozenset[str], x: Tensor) -> None:
        super().__init__()
        self.sites, self.x = sites, x
        self.freed: list[str] = []
        self.observed_as = x.shape

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] not in self.sites or not msg["is_observed"]:
            return
        # Another value, such as x on another scale, is not x and stays observed.
        value = msg["value"].to(self.x.dtype)
        if value.numel() == self.x.numel() and torch.equal(value.reshape(self.x.shape), self.x):
            self.observed_as = value.shape
            self.freed.append(msg["name"])
            msg["is_observed"], msg["value"], msg["done"] = False, None, False


def _drawn(
    pair: Pair, audit: Audit, batch: Batch, latents: Mapping[str, Tensor]
) -> tuple[Any, str]:
    """A trace of the model with x drawn, and the site where x is drawn."""
    x = batch["x"]
    free = _Free(frozenset(audit.supports), x.to(pair.dtype) if x.is_floating_point() else x)
    values = {n: audit.as_drawn(n, latents[n]) for n in audit.latents if n in latents}
    with free:
        model = poutine.condition(pair.call_model, values) if values else pair.call_model
        trace = poutine.trace(model).get_trace(**batch)
    if len(free.freed) != 1:
        found = f"{len(free.freed)} sites of" if free.freed else "none in"
        raise InputError(
            f"to simulate data, the model must observe x whole at one site, but there are {found} "
            "the model; write pyro.sample('x', ..., obs=x) with the given x"
        )
    drawn: Any = trace.nodes[free.freed[0]]["value"]
    if drawn.shape != free.observed_as:
        raise InputError(
            f"the model draws x of shape {tuple(drawn.shape[1:])} at site '{free.freed[0]}', and "
            f"observes x of shape {tuple(x.shape[1:])}, to which its distribution is broadcast; "
            "give the distribution the shape of x, with .expand() before .to_event()"
        )
    return trace, free.freed[0]


def _seen(x: Tensor, batch: Batch, dtype: torch.dtype) -> Tensor:
    """A simulated x as a program sees it: entries that the mask hides are unchanged."""
    # A categorical draws integers where the data are floating-point codes.
    given, mask = batch["x"], batch.get("mask")
    x = x.to(dtype if given.is_floating_point() else given.dtype)
    return x if mask is None else torch.where(mask, x, given.to(x.dtype))


def _check_kept(pair: Pair, audit: Audit, batch: Batch, trace: Any) -> None:
    """Refuse observed values that are kept but whose density depends on the draws."""
    kept = [n for n, node in sites(trace).items() if node["is_observed"]]
    if not kept:
        return
    again, _ = _drawn(pair, audit, batch, {})
    trace.compute_log_prob(), again.compute_log_prob()
    for name in kept:
        if not _agree(trace.nodes[name]["log_prob"], again.nodes[name]["log_prob"]):
            raise InputError(
                f"site '{name}' is observed and depends on earlier draws: a latent from the prior "
                f"would not agree with the values given at '{name}'; draw '{name}' before the "
                "latents, or leave it out of the model"
            )


def _check_blind(pair: Pair, audit: Audit, simulated: Batch, trace: Any, site: str) -> None:
    """Refuse a model that gives a draw another density when it is given that draw as x.

    Such a model read the data that it was given while it drew x.
    """
    values = {name: trace.nodes[name]["value"] for name in audit.latents}
    shown: Any = poutine.trace(poutine.condition(pair.call_model, values)).get_trace(**simulated)
    trace.compute_log_prob(), shown.compute_log_prob()
    for name in (*audit.latents, site):
        if not _agree(trace.nodes[name]["log_prob"], shown.nodes[name]["log_prob"]):
            raise InputError(
                f"the model's density at site '{name}' depends on the values of x that it is "
                "given, so it cannot be simulated by drawing each site once; before it draws x, "
                "it may use only the shape of the given x"
            )


def _agree(a: Tensor, b: Tensor) -> bool:
    # Far above the rounding of two calls; far below the effect of a dependence.
    return torch.allclose(a, b, rtol=1e-3, atol=1e-3, equal_nan=True)
