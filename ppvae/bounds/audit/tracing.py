"""One run of both programs: their sites, dependencies, and whether particles vectorize."""

from collections.abc import Mapping
from typing import Any

from pyro import poutine
from pyro.infer import ELBO
from pyro.infer.inspect import TrackProvenance
from torch import Tensor

from ppvae.bounds.audit.agreement import check_agreement
from ppvae.programs import Pair
from ppvae.programs.axes import Axes
from ppvae.programs.pair import traces
from ppvae.programs.plates import nesting
from ppvae.programs.sites import Nodes, Parents, depends_on, sites


def sites_and_parents(
    pair: Pair, elbo: type[ELBO], batch: Mapping[str, Tensor]
) -> tuple[Nodes, Nodes, Parents]:
    """Sample sites of guide and model, and the sites that each site's distribution depends on."""
    with TrackProvenance():
        guide = poutine.trace(pair.call_guide).get_trace(**batch)
        try:
            model = poutine.trace(poutine.replay(pair.call_model, trace=guide)).get_trace(**batch)
        except (RuntimeError, ValueError):
            # A draw of the wrong shape breaks the model before the two can be compared: run the
            # model on its own draws, and report the difference.
            alone = poutine.trace(pair.call_model).get_trace(**batch)
            check_agreement(elbo, sites(guide), sites(alone))
            raise
    parents: dict[str, dict[str, frozenset[str]]] = {}
    trace: Any
    cleaned: list[Nodes] = []
    for role, trace in (("guide", guide), ("model", model)):
        nodes = sites(trace)
        parents[role] = {name: depends_on(node) & nodes.keys() for name, node in nodes.items()}
        cleaned.append(nodes)
    guide_nodes, model_nodes = cleaned
    # The distributions still carry provenance; a second trace has them plain.
    plain_guide, plain_model = traces(pair, batch)
    return (
        {name: plain_guide.nodes[name] for name in guide_nodes},
        {name: plain_model.nodes[name] for name in model_nodes},
        parents,
    )


def try_particles(
    pair: Pair, batch: Mapping[str, Tensor], guide: Nodes, model: Nodes
) -> tuple[bool, int]:
    """Whether a plate of particles outside all others works, and the number of plates inside it."""
    depth = nesting([*guide.values(), *model.values()])
    particles = Axes(None, depth).plate(2)
    try:
        with particles:
            _, p = traces(pair, batch)
        p.compute_log_prob()
    except (RuntimeError, ValueError, IndexError):
        return False, depth  # such as a network that takes a single batch dimension
    for name, node in model.items():
        shape, log_prob = node["fn"].batch_shape, p.nodes[name]["log_prob"]
        padded = (2, *(1,) * (depth - len(shape)), *shape)
        if tuple(log_prob.shape) != padded:
            return False, depth
    return True, depth
