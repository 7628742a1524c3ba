"""A quicker log(1 + exp(-|x|)), of which a Bernoulli takes one for each number of x.

Torch's ``binary_cross_entropy_with_logits`` is written with two exponentials and a logarithm, each
some thirty operations of a processor. That of 1 + e, with e = exp(-|x|) between 0 and 1, is as well
a polynomial of e.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.subgraph_rewriter import replace_pattern_with_filters

DEGREE = 8
"""Of the polynomial: it is off by at most 4e-8, less than what single precision rounds near 1."""

_aten = torch.ops.aten


def take_quicker_logistic_terms(module: GraphModule) -> None:
    """Have polynomials in the place of logarithms, in single precision."""
    replace_pattern_with_filters(module, _by_torch, _by_polynomial, [_is_single])


def _by_torch(x: Tensor) -> tuple[Tensor, Tensor]:
    most = _aten.clamp_min.default(_aten.neg.default(x), 0)
    one = _aten.exp.default(_aten.neg.default(most))
    other = _aten.exp.default(_aten.sub.Tensor(_aten.neg.default(x), most))
    return most, _aten.log.default(_aten.add.Tensor(one, other))


def _by_polynomial(x: Tensor) -> tuple[Tensor, Tensor]:
    e = _aten.exp.default(_aten.neg.default(_aten.abs.default(x)))
    *lower, below, highest = coefficients()
    value = _aten.add.Tensor(_aten.mul.Tensor(e, highest), below)
    for coefficient in reversed(lower):
        value = _aten.add.Tensor(_aten.mul.Tensor(e, value), coefficient)
    return _aten.clamp_min.default(_aten.neg.default(x), 0), value


def coefficients() -> list[float]:
    """Of the polynomial that is log(1 + e) at Chebyshev's points of [0, 1], the constant first."""
    polynomial: Any = np.polynomial.Chebyshev.interpolate(np.log1p, DEGREE, domain=[0, 1])
    numbers: list[float] = polynomial.convert(kind=np.polynomial.Polynomial).coef.tolist()
    return numbers


def _is_single(match: Any, *_: Any) -> bool:
    (x,) = match.placeholder_nodes
    return bool(x.meta["val"].dtype == torch.float32)
