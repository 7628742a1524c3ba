"""Subject of every question: two programs, their audit, and data."""

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
    """Arguments of the questions for any two Pyro programs and data.

    For a run they are ``run.pair``, ``run.audit`` and ``run.data().test``.

    Args:
        model: p(x, z), called as ``model(x, **extras)``.
        guide: q(z | x), called with the same arguments.
        x: ``(data, *shape)``.
        y: labels or covariates, ``(data, ...)``, if a program takes them.
        mask: True where x was observed, if a program takes it.
        size_factor: factor of the mean of counts, ``(data,)``, if a program takes it.
        elbo: the bound that defines how the KL is taken: in closed form if there is one, or by
            Monte Carlo for ``Trace_ELBO``.

    Raises:
        InputError: if the two do not agree, as `ppvae.bounds.audit.audit` finds.

    Example::

        evidence = log_evidence(*subject(model, guide, x), samples=1000)
    """
    rows = as_split(x, y, mask, size_factor)
    batch = next(iter(rows.chunks(min(len(x), 64))))
    pair = Pair(model, guide, batch)
    return pair, audit(pair, elbo, batch), rows
