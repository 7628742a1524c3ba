"""Top latents: real-valued latents that depend on no other."""

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
    """A latent that depends on no other, as a part of the vector of all such latents.

    Attributes:
        name: name of its site.
        data_dim: the dimension of its value that holds the data, from the right.
        rest: the other dimensions of its value: plates inside, and event.
    """

    name: str
    data_dim: int
    rest: torch.Size

    def value(self, columns: Tensor) -> Tensor:
        """Its part, ``(data, numbers)``, in the shape of the site."""
        return columns.reshape(-1, *self.rest).movedim(0, self.data_dim)


def top_latents(
    pair: Pair, audit: Audit, train: Split, device: torch.device
) -> tuple[TopLatent, ...]:
    """The real-valued latents that depend on no other."""
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
            f"of the model's latents ({', '.join(audit.latents)}) none is real-valued and "
            "independent of the others, so there is no p(z) to replace"
        )
    return tuple(tops)


def _first(pair: Pair, audit: Audit, batch: Batch) -> dict[str, Node]:
    """Sites of the model's real-valued latents that depend on no other."""
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
    """Refuse latents whose support is not that of a normal, or that only some data have."""
    fn = node["fn"]
    support = elements_of(fn.support)
    if not isinstance(support, type(constraints.real)):
        raise InputError(
            f"latent site '{name}' has the support {support}, but the density fitted to codes "
            "needs real numbers; draw from the prior of the model"
        )
    is_masked = node["mask"] is not None and node["mask"] is not True
    if is_masked or isinstance(fn, dist.MaskedDistribution):
        raise InputError(
            f"latent site '{name}' is masked: some data have no code; draw from the model's prior"
        )
