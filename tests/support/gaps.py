"""Programs for gaps, and the gaps that are known of probabilistic PCA."""

import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from ppvae.bounds.audit import audit
from ppvae.data import Split, as_split
from ppvae.diagnostics.gap.gaps import Gap
from ppvae.programs import Pair, Program
from ppvae.programs.facts import Audit
from tests.support.pca import PCA

SIGMAS = 5.0
STEPS = 100


def programs(
    model: Program, guide: Program, x: Tensor, y: Tensor | None = None
) -> tuple[Pair, Audit, Split]:
    batch = {"x": x} if y is None else {"x": x, "y": y}
    pair = Pair(model, guide, batch)
    return pair, audit(pair, Trace_ELBO, batch), as_split(x, y)


def holds(gap: Gap, truth: Tensor | float, slack: float = 1e-6) -> bool:
    """Whether values agree within their errors, for each datum and in the mean."""
    off = gap.by_datum - truth
    each = bool((off.abs() < SIGMAS * gap.error + slack).all())
    error = float(gap.error.square().sum().sqrt()) / len(off)
    return each and abs(float(off.mean())) < SIGMAS * error + slack


def best_diagonal(p: PCA) -> float:
    """KL from the best diagonal normal to the posterior: (sum ln M_jj - ln |M|) / 2."""
    m = p.precision
    return 0.5 * float(m.diagonal().log().sum() - torch.logdet(m))


def encoder(p: PCA, shift: float = 0.5) -> nn.Linear:
    """A layer from x to two posterior means, off by ``shift``, and two log scales."""
    network = nn.Linear(len(p.b), 4).double()
    gain = torch.linalg.solve(p.precision, p.w.T) / p.variance
    with torch.no_grad():
        network.weight.zero_()
        network.weight[:2] = gain
        network.bias[:2] = shift - gain @ p.b
        network.bias[2:] = -0.5 * p.precision.diagonal().log()
    return network
