"""Terms of single sites: log-densities and KLs by draw and datum."""

from typing import Any

from pyro import poutine
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions import Independent, kl_divergence

from ppvae.data import Batch
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from ppvae.programs.plates import Plate, full_size, plate_along
from ppvae.programs.sites import Node, sites


class Traced:
    """Log-densities of single sites, by draw and datum, from one call of guide and model.

    ``particles`` are drawn at once: 1 where ``audit.vectorizes`` is false.

    Attributes:
        guide: sites of the guide by name, as in a Pyro trace.
        model: sites of the model, at the draws of the guide.
    """

    def __init__(self, pair: Pair, audit: Audit, batch: Batch, particles: int) -> None:
        self._audit, self._rows, self._particles = audit, len(batch["x"]), particles
        self._axes = audit.axes
        model, guide = pair.call_model, pair.call_guide
        if audit.vectorizes:
            plate = self._axes.plate(particles)
            model, guide = plate(model), plate(guide)
        q = poutine.trace(guide).get_trace(**batch)
        p = poutine.trace(poutine.replay(model, trace=q)).get_trace(**batch)
        self.guide, self.model = sites(q), sites(p)

    def is_shared(self, node: Node) -> bool:
        """Whether a site is outside the plate of the data."""
        return self._plate(node) is None

    def columns(self, node: Node, value: Tensor, events: int) -> Tensor:
        """A tensor whose first axes are a site's batch as ``(particles, data, everything else)``.

        A site shared by all data has data size 1.

        Args:
            node: the site.
            value: ``(*batch, *more)``.
            events: number of dimensions of ``more``.
        """
        full = self._axes.padded(value, events)
        if self.is_shared(node):
            return full.reshape(len(full), 1, -1).expand(self._particles, -1, -1)
        return self._axes.columns(full, events).expand(self._particles, self._rows, -1)

    def log_likelihood(self, name: str) -> Tensor:
        """Log-likelihood of an observed site, log p(x | z): ``(particles, data)``."""
        return self._summed(self.model[name], self._log_prob(self.model[name]))

    def kl(self, name: str) -> Tensor:
        """KL of a site, in closed form or as log q - log p of its draw: ``(particles, data)``."""
        q = self.guide[name]
        if name in self._audit.exact:
            closed = kl_divergence(q["fn"], self.model[name]["fn"])
            return self._summed(q, self._weighed(q, closed))
        log_q = self._summed(q, self._log_prob(q))
        if name not in self.model:
            return log_q
        return log_q - self._summed(self.model[name], self._log_prob(self.model[name]))

    def kl_by_dimension(self, name: str) -> Tensor | str:
        """The KL by dimension, ``(particles, data, dimensions)``, or why there is none."""
        q, p = self.guide[name], self.model.get(name)
        if p is None:
            return f"site '{name}' is only in the guide, and has no prior"
        if self.is_shared(q):
            return f"site '{name}' is shared by all data"
        q_fn, p_fn = univariate(q["fn"]), univariate(p["fn"])
        for role, fn in (("guide", q_fn), ("model", p_fn)):
            if fn is None:
                return (
                    f"the {role}'s distribution of site '{name}' is not a product of univariate "
                    "ones"
                )
        events = len(q["fn"].event_shape)
        if name in self._audit.exact:
            terms = self._weighed(q, kl_divergence(q_fn, p_fn), events)
        else:
            log_q = self._weighed(q, q_fn.log_prob(q["value"]), events)
            terms = log_q - self._weighed(p, p_fn.log_prob(p["value"]), events)
        return self.columns(q, terms, events)

    def _summed(self, node: Node, term: Tensor) -> Tensor:
        return self.columns(node, term, 0).sum(-1)

    def _log_prob(self, node: Node) -> Tensor:
        return self._weighed(node, node["fn"].log_prob(node["value"]))

    def _weighed(self, node: Node, term: Tensor, events: int = 0) -> Tensor:
        """Apply the scale and mask of a site, except the factor N / B of a subsampled plate."""
        scale, mask = (
            value.reshape(value.shape + (1,) * events) if isinstance(value, Tensor) else value
            for value in (node["scale"], node["mask"])
        )
        plate = self._plate(node)
        share = 1.0 if plate is None else plate.size / full_size(plate)
        weighed: Tensor = scale_and_mask(term, scale=scale, mask=mask)
        return weighed * share

    def _plate(self, node: Node) -> Plate | None:
        """The plate of the data, if the site is in it."""
        return plate_along(node, self._axes.data, self._rows)


def univariate(fn: Any) -> Any:
    """The univariate distribution of which ``fn`` is a product over its event, or ``None``.

    Its batch shape is batch and event shape of ``fn``.
    """
    while isinstance(fn, Independent):
        fn = fn.base_dist
    return None if fn.event_shape else fn
