"""A faster log(1 + exp(-|x|)), which a Bernoulli needs for each element of x.

Torch's ``binary_cross_entropy_with_logits`` takes two exponentials and a logarithm, each some
thirty processor operations. log(1 + e), with e = exp(-|x|) between 0 and 1, can be a polynomial in
e instead.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.subgraph_rewriter import replace_pattern_with_filters

DEGREE = 8
"""Degree of the polynomial: its error is at most 4e-8, less than single precision rounds near 1."""

_aten = torch.ops.aten


def take_quicker_logistic_terms(module: GraphModule) -> None:
    """Replace logarithms by polynomials, in single precision."""
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
    """Coefficients of the polynomial through log(1 + e) at Chebyshev points, constant first."""
    polynomial: Any = np.polynomial.Chebyshev.interpolate(np.log1p, DEGREE, domain=[0, 1])
    numbers: list[float] = polynomial.convert(kind=np.polynomial.Polynomial).coef.tolist()
    return numbers


def _is_single(match: Any, *_: Any) -> bool:
    (x,) = match.placeholder_nodes
    return bool(x.meta["val"].dtype == torch.float32)
