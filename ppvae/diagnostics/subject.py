"""What every question is asked of: two programs, what is known of them, and data."""

from pyro.infer import ELBO, TraceMeanField_ELBO
from torch import Tensor

from ppvae.bounds.audit import audit
from ppvae.data import Split, as_split
from ppvae.programs import Pair, Program
from ppvae.programs.facts import Audit


def subject(
    model: Program,
    guide: Program,
    x: Tensor,
    y: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    size_factor: Tensor | None = None,
    elbo: type[ELBO] = TraceMeanField_ELBO,
) -> tuple[Pair, Audit, Split]:
    """Any two Pyro programs and data, as the questions of this package take them.

    Of a run they are ``run.pair``, ``run.audit`` and ``run.data().test``.

    Args:
        model: p(x, z), called as ``model(x, **extras)``.
        guide: q(z | x), called alike.
        x: ``(data, *shape)``.
        y: labels or covariates, ``(data, ...)``, if a program names them.
        mask: True where x was observed, if a program names it.
        size_factor: what the mean of counts is multiplied by, ``(data,)``, if a program names it.
        elbo: the bound whose way of taking the KL is meant: in closed form where there is one, or,
            by ``Trace_ELBO``, by Monte Carlo.

    Raises:
        InputError: if the two do not agree, as `ppvae.bounds.audit.audit` finds.

    Example::

        evidence = log_evidence(*subject(model, guide, x), samples=1000)
    """
    rows = as_split(x, y, mask, size_factor)
    batch = next(iter(rows.chunks(min(len(x), 64))))
    pair = Pair(model, guide, batch)
    return pair, audit(pair, elbo, batch), rows
