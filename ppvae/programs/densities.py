"""log p(x, z) and log q(z | x), per datum and draw, from traces of the two programs.

All further computations on a pair start from these numbers: importance weights, annealing, refined
posteriors, calibration. Draws ("particles") are made in one call, in a plate outside all others,
where the programs allow it, and one after the other where they do not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from pyro import poutine
from torch import Tensor

from ppvae.data import Batch
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from ppvae.programs.plates import is_scaled
from ppvae.programs.sites import number, sites

Latents = dict[str, Tensor]
"""Values by site: ``(particles, *plates, *event)``, with size 1 for plates without the site."""


def log_density(terms: Iterable[Tensor]) -> Tensor:
    """The joint log-density of some sites, in nats: the sum of their terms by draw and datum."""
    return cast("Tensor", sum(terms))


def log_weights(log_p: Iterable[Tensor], log_q: Iterable[Tensor]) -> Tensor:
    """Log p(x, z) - log q(z | x) of each draw and datum, in nats.

    The mean of the weights over draws from q is p(x), whatever q is.

    Args:
        log_p: the log-density of each site of the model, summed within each datum, at draws of the
            guide; ``(particles, data)``, or broadcast to it.
        log_q: that of each site of the guide.
    """
    return log_density(log_p) - log_density(log_q)


@dataclass(frozen=True)
class Draws:
    """Latents, and their log-densities given the data: ``(particles, data)`` each, in nats.

    Attributes:
        latents: values by site, auxiliary ones of the guide among them.
        log_prior: log p(z).
        log_likelihood: log p(x | z), over all observed sites.
        log_guide: log q(z | x); ``None`` where not requested, or where the guide has a point
            mass, whose density is infinite.
    """

    latents: Latents
    log_prior: Tensor
    log_likelihood: Tensor
    log_guide: Tensor | None

    @property
    def log_joint(self) -> Tensor:
        """The log-density log p(x, z)."""
        return log_density((self.log_prior, self.log_likelihood))

    @property
    def log_weight(self) -> Tensor:
        """The log-weight log p(x, z) - log q(z | x), whose mean is the bound.

        Raises:
            InputError: if the guide has no density.
        """
        if self.log_guide is None:
            raise InputError(
                "a guide with a point mass has no density, and so no importance weights"
            )
        return log_weights((self.log_prior, self.log_likelihood), (self.log_guide,))


class Densities:
    """The two densities of a pair of programs on one batch.

    Gradients, modes and random state are left to the caller; see `ppvae.programs.evaluating`.

    Args:
        pair: model and guide.
        audit: the audit of the pair.
        batch: ``{"x": (data, ...), ...}``.

    Raises:
        InputError: if there is no density per datum: all data share a latent, the model sums over
            one, or no plate holds the data.
    """

    def __init__(self, pair: Pair, audit: Audit, batch: Batch) -> None:
        if audit.axes.data is None or not audit.is_local:
            raise InputError(
                "log p(x) of a datum needs every latent inside the plate of the data; here some "
                "are shared by all data, or there is no such plate"
            )
        if audit.summed:
            raise InputError(
                f"the model sums over '{audit.summed[0]}', which the guide does not draw, so that "
                "p(x, z) is not defined for its draws; for importance weights sample "
                f"'{audit.summed[0]}' in the guide"
            )
        self.pair, self.audit, self.batch = pair, audit, batch
        self.rows = len(batch["x"])
        self._axes = audit.axes
        # A subsampled plate scales by N / B; the density of one datum has no such factor.
        self._share = audit.share(self.rows)
        self._events: dict[str, int] = {}

    def draw(self, particles: int) -> Draws:
        """Draw z ~ q(z | x), ``particles`` times for each datum, and score it."""
        return self._run(particles, {}, from_guide=True, score_guide=True)

    def draw_prior(self, particles: int) -> Draws:
        """Draw z ~ p(z), without regard to x, and score log p(x | z) at it."""
        return self._run(particles, {}, from_guide=False, score_guide=False)

    def at(self, latents: Mapping[str, Tensor], *, guide: bool = True) -> Draws:
        """Score given latents, in the shapes of `Draws.latents`; differentiable in them.

        Args:
            latents: values of every latent site, and, where the guide is scored, of its auxiliary
                sites.
            guide: whether to score log q(z | x) as well.
        """
        particles = len(next(iter(latents.values())))
        return self._run(particles, latents, from_guide=False, score_guide=guide)

    def columns(self, site: str, value: Tensor) -> Tensor:
        """A site's value as ``(particles, data, dimensions)``, whatever its plates and event."""
        events = self._events[site]
        whole = self._axes.padded(value, events)
        return self._axes.columns(whole, events).expand(-1, self.rows, -1)

    def uncolumns(self, site: str, columns: Tensor, like: Tensor) -> Tensor:
        """The inverse of `columns`, in the shape of ``like``; see `Axes.uncolumns`."""
        return self._axes.uncolumns(columns, like, self._events[site])

    def spread(self, site: str, values: Tensor) -> Tensor:
        """``(particles, data)`` values in a shape that broadcasts against those of a site."""
        return self._axes.spread(values, self._events[site])

    def _run(
        self, particles: int, given: Mapping[str, Tensor], *, from_guide: bool, score_guide: bool
    ) -> Draws:
        if self.audit.vectorizes:
            return self._once(particles, given, from_guide=from_guide, score_guide=score_guide)
        parts = []
        for i in range(particles):
            one = {name: value[i : i + 1] for name, value in given.items()}
            parts.append(self._once(1, one, from_guide=from_guide, score_guide=score_guide))
        guides = [part.log_guide for part in parts if part.log_guide is not None]
        return Draws(
            {name: torch.cat([p.latents[name] for p in parts]) for name in parts[0].latents},
            torch.cat([part.log_prior for part in parts]),
            torch.cat([part.log_likelihood for part in parts]),
            torch.cat(guides) if guides else None,
        )

    def _once(
        self, particles: int, given: Mapping[str, Tensor], *, from_guide: bool, score_guide: bool
    ) -> Draws:
        """One call of each program needed."""
        model, guide = self.pair.call_model, self.pair.call_guide
        if given:
            values = dict(given)
            if not self.audit.vectorizes:
                values = {name: self.audit.as_drawn(name, value) for name, value in given.items()}
            model, guide = poutine.condition(model, values), poutine.condition(guide, values)
        q: Any = None
        if self.audit.vectorizes:
            plate = self._axes.plate(particles)
            model, guide = plate(model), plate(guide)
        if from_guide or score_guide:
            q = poutine.trace(guide).get_trace(**self.batch)
            if from_guide:
                model = poutine.replay(model, trace=q)
        p: Any = poutine.trace(model).get_trace(**self.batch)
        terms: dict[str, list[Tensor]] = {"prior": [], "likelihood": [], "guide": []}
        latents: Latents = {}
        for role, trace in (("model", p), ("guide", q)):
            if trace is None:
                continue
            trace.compute_log_prob()
            for name, node in sites(trace).items():
                _check_unscaled(name, node)
                is_latent = role == "guide" or name in self.audit.latents
                key = "guide" if role == "guide" else "prior" if is_latent else "likelihood"
                terms[key].append(self._axes.by_datum(node["log_prob"] * self._share))
                if is_latent:
                    self._events[name] = len(node["fn"].event_shape)
                    value = self._axes.padded(node["value"], self._events[name])
                    latents[name] = value.expand(particles, *value.shape[1:])
        zeros = self.batch["x"].new_zeros(particles, self.rows, dtype=self.pair.dtype)
        prior, likelihood, guided = (log_density((zeros, *terms[key])) for key in terms)
        has_density = q is not None and score_guide and self.audit.is_bound
        return Draws(latents, prior, likelihood, guided if has_density else None)


def _check_unscaled(name: str, node: Any) -> None:
    """Refuse a site whose density is raised to a power: then p(x, z) is not a density."""
    if is_scaled(node):
        raise InputError(
            f"site '{name}' is scaled by {number(node['scale']):g} in the programs themselves, so "
            "that they have no density p(x, z) and no log p(x); remove the scale, and weigh the KL "
            "by beta"
        )
