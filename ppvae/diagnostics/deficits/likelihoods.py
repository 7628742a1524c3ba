"""Candidate likelihoods of the same values, started from the residuals of the fitted one."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from torch.distributions import constraints

from ppvae.data import Batch
from ppvae.diagnostics.baselines.whole_numbers import Steps
from ppvae.diagnostics.deficits.beside import Beside, First
from ppvae.diagnostics.deficits.candidates import Candidate, put_in
from ppvae.diagnostics.deficits.columns import of_columns
from ppvae.diagnostics.deficits.fitted import Fitted
from ppvae.diagnostics.deficits.levels import of_levels
from ppvae.diagnostics.deficits.slot import Slot
from ppvae.diagnostics.deficits.unexplained import Errors, log_r_of
from ppvae.diagnostics.deficits.whole_numbers import Counted, Rate
from ppvae.distributions.support import in_words
from ppvae.errors import InputError
from ppvae.models.likelihoods import (
    Gaussian,
    Laplace,
    Likelihood,
    NegativeBinomial,
    PerColumn,
    Poisson,
    StudentT,
    ZeroInflated,
)
from ppvae.models.likelihoods.positive_number import PositiveNumber


def likelihoods(fitted: Fitted, batch: Batch, steps: Steps | None = None) -> list[Candidate]:
    """Other likelihoods with the support of the fitted one.

    For real numbers: `StudentT`, `Laplace`, and `Gaussian` with one variance or one per element, as
    a function of z. For counts, and integers fitted as real numbers: `NegativeBinomial` and
    `ZeroInflated`. For grey levels, and counts out of a known total: a more flexible family, see
    `ppvae.diagnostics.deficits.levels`. For a mixed table: wider families of its columns, see
    `ppvae.diagnostics.deficits.columns`.

    Args:
        fitted: the programs.
        batch: training data, from whose residuals they start.
        steps: how x is made from counts, if it is.

    Raises:
        InputError: if the model has no likelihood that is a `Likelihood`, or there is no other.
    """
    slot = Slot.of(fitted)
    old = slot.place.module
    assert isinstance(old, Likelihood)
    errors = Errors.of(fitted, batch)
    found: Sequence[Candidate] = ()
    if isinstance(old, PerColumn):
        found = list(of_columns(slot, old, errors))
    elif old.support is constraints.real:
        found = _of_real_numbers(slot, old, errors)
        if steps is not None:
            found = [_counted(slot, old, errors, steps), *found]
    elif isinstance(old, (Poisson, NegativeBinomial, ZeroInflated)):
        found = _of_counts(slot, old, errors)
    else:
        found = list(of_levels(slot, old))
    if not found:
        raise InputError(
            f"{type(old).__name__} takes {in_words(old.support)}, for which no other likelihood "
            "is tried"
        )
    return list(found)


def _of_real_numbers(slot: Slot, old: Likelihood, errors: Errors) -> list[Candidate]:
    shape = old.data_shape
    off = errors.x - errors.mean
    variance, absolute = errors.average(off.square()), errors.average(off.abs())
    is_per_pixel = isinstance(old, Gaussian) and old.shared is None
    found = []
    if not isinstance(old, StudentT):
        new = StudentT(shape, df="learned", scale="learned")
        # The mean absolute error of a normal is 0.8 scales, that of a t with 4 degrees of freedom
        # 1.
        _start(new.scale, float(absolute.mean()))
        found.append(slot.other(new, _chosen("StudentT", df="learned", scale="learned")))
    if not isinstance(old, Laplace):
        laplace = Laplace(shape, scale="learned")
        _start(laplace.scale, float(absolute.mean()))
        found.append(slot.other(laplace, _chosen("Laplace", scale="learned")))
    if not is_per_pixel:
        each = Gaussian(shape, variance="per-pixel")
        scale = (variance - each.floor).clamp(min=each.floor).sqrt()
        log_scale = 10 * (scale.log() / 10).clamp(-0.99, 0.99).atanh()
        found.append(slot.other(each, _chosen("Gaussian", variance="per-pixel"), log_scale))
    is_learned = isinstance(old, Gaussian) and (is_per_pixel or not _is_fixed(old))
    if not is_learned:
        one = Gaussian(shape, variance="learned")
        assert isinstance(one.shared, PositiveNumber)
        _start(one.shared, float(variance.mean()))
        found.append(slot.other(one, _chosen("Gaussian", variance="learned")))
    return found


def _of_counts(slot: Slot, old: Likelihood, errors: Errors) -> list[Candidate]:
    inner = old.counts if isinstance(old, ZeroInflated) else old
    found = []
    log_r = inner.log_r.detach() if isinstance(inner, NegativeBinomial) else log_r_of(errors)
    if isinstance(old, Poisson) or (isinstance(old, ZeroInflated) and isinstance(inner, Poisson)):
        plain = NegativeBinomial(old.data_shape)
        plain.log_r = nn.Parameter(log_r.clone())
        if isinstance(old, Poisson):
            found.append(slot.other(plain, _chosen("NegativeBinomial")))
    if not (isinstance(old, ZeroInflated) and isinstance(inner, NegativeBinomial)):
        zero = ZeroInflated(old.data_shape)
        assert isinstance(zero.counts, NegativeBinomial)
        zero.counts.log_r = nn.Parameter(log_r.clone())
        seldom = torch.full(old.data_shape, -3.0)
        found.append(slot.other(zero, _chosen("ZeroInflated"), seldom, first=True))
    return found


def _counted(slot: Slot, old: Likelihood, errors: Errors, steps: Steps) -> Candidate:
    """A likelihood of counts instead of real numbers; the means of the decoder become rates."""
    counts = NegativeBinomial(old.data_shape)
    new = Counted(counts, steps)
    raw = Errors(new.raw(errors.x), new.raw(errors.mean), errors.seen)
    counts.log_r = nn.Parameter(log_r_of(raw))
    place, in_shape, out_shape = slot.decoder
    mean = First(place.module, out_shape, new.decoder_shape)
    both = Beside(Rate(mean, new), in_shape, new.decoder_shape)
    pair = slot.fitted.pair
    new, both = new.to(pair.device, pair.dtype), both.to(pair.device, pair.dtype)
    fresh = (*new.parameters(), *both.new.parameters())
    put = partial(put_in, slot.fitted, (slot.place, new), (place, both), fresh=fresh)
    remedy = f"{_chosen('NegativeBinomial')}, of unscaled counts (`scale='none'`)"
    return Candidate("NegativeBinomial, of the counts", remedy, put)


def _is_fixed(likelihood: Gaussian) -> bool:
    return isinstance(likelihood.shared, PositiveNumber) and likelihood.shared.raw is None


def _start(number: PositiveNumber, value: float) -> None:
    """Set the initial value of a learned number."""
    assert number.raw is not None
    above = max(value - number.floor, 1e-3)
    with torch.no_grad():
        number.raw.fill_(above + math.log(-math.expm1(-above)))


def _chosen(name: str, **arguments: str) -> str:
    own = "".join(f", likelihood.{key}={value!r}" for key, value in arguments.items())
    return f"`likelihood={name!r}{own}`"
