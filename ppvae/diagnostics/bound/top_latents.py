"""Latents of real numbers that depend on no other."""

from dataclasses import dataclass

import pyro.distributions as dist
import torch
from pyro.infer.inspect import TrackProvenance
from torch import Tensor
from torch.distributions import constraints

from ppvae.data import Batch, Split
from ppvae.distributions.support import elements_of
from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.pair import traces
from ppvae.programs.sites import Node, depends_on
from ppvae.programs.streams import forked


@dataclass(frozen=True)
class TopLatent:
    """A latent that depends on no other, as a share of a vector of all of them.

    Attributes:
        name: its site.
        data_dim: the dimension of its value along which the data are, from the right.
        rest: the other dimensions of its value: plates inside, and event.
    """

    name: str
    data_dim: int
    rest: torch.Size

    def value(self, columns: Tensor) -> Tensor:
        """Its share, ``(data, numbers)``, in the shape that the site has."""
        return columns.reshape(-1, *self.rest).movedim(0, self.data_dim)


def top_latents(
    pair: Pair, audit: Audit, train: Split, device: torch.device
) -> tuple[TopLatent, ...]:
    """The latents of real numbers that depend on no other."""
    some = train.take(torch.arange(min(len(train), 8)))
    batch = {name: value.to(device) for name, value in some.items()}
    shapes = {site.name: site.shape for site in audit.sites}
    tops = []
    for name, node in _first(pair, audit, batch).items():
        _check_site(name, node)
        data_dim = audit.axes.data_dim(len(node["fn"].event_shape))
        rest = list(shapes[name])
        del rest[data_dim]
        tops.append(TopLatent(name, data_dim, torch.Size(rest)))
    if not tops:
        raise InputError(
            f"of the model's latents ({', '.join(audit.latents)}) none of real numbers is drawn "
            "before all others, so that there is no p(z) for another density to stand for"
        )
    return tuple(tops)


def _first(pair: Pair, audit: Audit, batch: Batch) -> dict[str, Node]:
    """The model's sites of latents that depend on no other, classes and counts aside."""
    with evaluating(pair), forked(batch["x"].device), TrackProvenance():
        _, model = traces(pair, batch)
        first = {}
        for name in audit.latents:
            node = model.nodes[name]
            above = depends_on(node) & set(audit.latents) - {name}
            if not above and not node["fn"].support.is_discrete:
                first[name] = node
    return first


def _check_site(name: str, node: Node) -> None:
    """Refuse what a normal is no density of, or what only some data have."""
    fn = node["fn"]
    support = elements_of(fn.support)
    if not isinstance(support, type(constraints.real)):
        raise InputError(
            f"latent site '{name}' has the support {support}, and the density fitted to its codes "
            "would be one of real numbers; draw from the model's own prior"
        )
    is_masked = node["mask"] is not None and node["mask"] is not True
    if is_masked or isinstance(fn, dist.MaskedDistribution):
        raise InputError(
            f"latent site '{name}' is masked: some data have no code; draw from the model's own "
            "prior"
        )
