"""Conversion of a loss in plain PyTorch to a bound of programs, and back.

Most VAEs are written as error + KL. With a standard normal prior and a diagonal normal guide such a
loss is, up to a factor and a constant, minus the ELBO of one model, which depends on how both terms
are averaged and weighted (Bishop, 2006, section 1.2.5, for the variance behind a squared
error; Rybkin et al., 2021; Higgins et al., 2017, for the weight of the KL).
"""

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.models import VAE, Bernoulli, Gaussian, StandardNormal
from ppvae.models.likelihoods.positive_number import PositiveNumber
from ppvae.networks import is_positive
from ppvae.programs import Pair

Error = Literal["squared", "cross entropy"]
Reduction = Literal["sum", "batchmean", "mean"]


@dataclass(frozen=True)
class Program:
    """The program of a plain loss: loss = factor * (negative bound) + constant.

    The negative bound is the mean over the batch of -E_q[log p(x | z)] + beta KL(q(z | x) || p(z)),
    in nats per datum, with p(z) = N(0, I) and q(z | x) a diagonal normal.

    Attributes:
        likelihood: ``"Gaussian"`` or ``"Bernoulli"``.
        variance: c of the Gaussian; ``None`` for a Bernoulli.
        beta: weight of the KL; unless it is 1, this is no bound on log p(x).
        factor: loss and gradients are this multiple of those of the negative bound.
        constant: independent of all weights.
    """

    likelihood: str
    variance: float | None
    beta: float
    factor: float
    constant: float

    @property
    def flags(self) -> str:
        """The program as flags of ``python -m ppvae.fit``."""
        own = "" if self.variance is None else f" --likelihood.variance {self.variance!r}"
        beta = "" if self.beta == 1 else f" --beta {self.beta!r}"
        return f"--likelihood {self.likelihood}{own}{beta}"


@dataclass(frozen=True)
class PlainLoss:
    """The loss error_weight * error(x_hat, x) + kl_weight * KL, each term with its own reduction.

    The reductions have PyTorch's names: ``"sum"`` over batch and elements (or latents), ``"mean"``
    over both, ``"batchmean"`` the sum over elements, averaged over the batch.

    Attributes:
        error: ``"squared"``, (x - x_hat)^2, or ``"cross entropy"`` of logits x_hat.
        error_reduction: of the error, over batch and elements.
        kl_reduction: of the KL, over batch and latents.
        error_weight: factor of the reduced error.
        kl_weight: factor of the reduced KL.

    Raises:
        InputError: for an unknown error or reduction, or a weight that is not above zero.

    Example::

        loss = PlainLoss("squared", error_reduction="mean", kl_reduction="batchmean")
        loss.program(torch.rand(128, 784), latent_dim=20).flags
        # --likelihood Gaussian --likelihood.variance 392.0
    """

    error: Error = "squared"
    error_reduction: Reduction = "batchmean"
    kl_reduction: Reduction = "batchmean"
    error_weight: float = 1.0
    kl_weight: float = 1.0

    def __post_init__(self) -> None:
        allowed = {"error": get_args(Error)} | dict.fromkeys(_REDUCTIONS, get_args(Reduction))
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in allowed:
                if value not in allowed[each.name]:
                    words = ", ".join(allowed[each.name])
                    raise InputError(f"`{each.name}` is {value!r}; it must be one of {words}")
            elif not is_positive(value):
                raise InputError(f"`{each.name}` is {value}; it must be positive and finite")

    def __call__(self, x_hat: Tensor, x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """The loss of a batch.

        Shapes: ``x_hat`` and ``x`` are ``(batch, *data_shape)``, ``mean`` and ``log_variance``
        ``(batch, latent_dim)``; the loss is a scalar.
        """
        if self.error == "squared":
            error = F.mse_loss(x_hat, x, reduction="none")
        else:
            error = F.binary_cross_entropy_with_logits(x_hat, x, reduction="none")
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp())
        return self.error_weight * _reduced(error, self.error_reduction) + (
            self.kl_weight * _reduced(kl, self.kl_reduction)
        )

    def program(self, x: Tensor, latent_dim: int) -> Program:
        """The program whose bound this loss is.

        Args:
            x: a batch of the training loop, ``(batch, *data_shape)``. Its values matter for cross
                entropy; its length only where one term is summed over the batch and the other not.
            latent_dim: the number of latents.

        Raises:
            InputError: for cross entropy of values other than 0 and 1, which is not a likelihood.
        """
        batch, elements = len(x), x[0].numel()
        of_error = self.error_weight * _weight(self.error_reduction, batch, elements)
        of_kl = self.kl_weight * _weight(self.kl_reduction, batch, latent_dim)
        if self.error == "cross entropy":
            if not ((x == 0) | (x == 1)).all():
                raise InputError(
                    "cross entropy of values between 0 and 1 is not a likelihood: its masses do "
                    "not sum to 1; draw zeros and ones (`binarize='dynamic'`, equal in "
                    "expectation), or take `likelihood='ContinuousBernoulli'`, which has the "
                    "missing constant"
                )
            return Program("Bernoulli", None, of_kl / of_error, batch * of_error, 0.0)
        variance, factor = of_kl / (2 * of_error), batch * of_kl
        constant = -factor * elements / 2 * math.log(2 * math.pi * variance)
        return Program("Gaussian", variance, 1.0, factor, constant)

    @classmethod
    def of(cls, model: VAE, guide: MeanField, beta: float = 1.0) -> "PlainLoss":
        """The loss of a model and a guide in plain PyTorch; its factor is 1.

        A learned variance counts with its present value, as if it were fixed: a plain loss has no
        term for it.

        Raises:
            InputError: if the prior is not `StandardNormal`, the guide not `MeanField`, the
                likelihood neither `Bernoulli` nor `Gaussian`, or its variance not one number.
        """
        likelihood = model.likelihood
        kinds = {"prior": (model.prior, StandardNormal), "guide": (guide, MeanField)}
        for name, (part, kind) in kinds.items():
            if type(part) is not kind:
                raise InputError(
                    f"`{name}` is {type(part).__name__}; error + KL in closed form needs "
                    f"{kind.__name__}"
                )
        if type(likelihood) is Bernoulli:
            return cls("cross entropy", kl_weight=beta)
        if type(likelihood) is not Gaussian:
            raise InputError(
                f"`likelihood` is {type(likelihood).__name__}; only a Gaussian has a squared error "
                "as its loss, and only a Bernoulli cross entropy"
            )
        shared = likelihood.shared
        if not isinstance(shared, PositiveNumber) or likelihood.variance.numel() > 1:
            raise InputError(
                "`likelihood.variance` is not one number for all elements and data, so that the "
                "loss is more than a squared error; take a number or 'learned'"
            )
        variance = float(likelihood.variance.detach())
        return cls("squared", error_weight=1 / (2 * variance), kl_weight=beta)

    @property
    def source(self) -> str:
        """The loss as code in plain PyTorch: a function ``loss`` with the arguments of a call."""
        of_logits = self.error == "cross entropy"
        name = "binary_cross_entropy_with_logits" if of_logits else "mse_loss"
        error = f'F.{name}(x_hat, x, reduction="{_TORCH[self.error_reduction]}")'
        return "\n".join([
            "from torch.nn import functional as F", "", "",
            "def loss(x_hat, x, mean, log_variance):",
            f"    error = {error}{_by_hand(self.error_reduction)}",
            "    kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp())",
            f"    kl = kl.{_TORCH[self.kl_reduction]}(){_by_hand(self.kl_reduction)}",
            f"    return {_times(self.error_weight)}error + {_times(self.kl_weight)}kl", "",
        ])  # fmt: skip


def plain_loss(pair: Pair, beta: float = 1.0) -> PlainLoss:
    """The loss in plain PyTorch of the programs of a run.

    Programs do not hold the weight of the KL that they were fitted with; a run does:
    ``plain_loss(run.pair, run.config["beta"])``.

    Raises:
        InputError: see `PlainLoss.of`.
    """
    model, guide = pair.program("model"), pair.program("guide")
    if type(model) is not VAE:
        raise InputError(
            f"`model` is {type(model).__name__}; error + KL is the loss of a VAE with one latent"
        )
    return PlainLoss.of(model, guide, beta)  # type: ignore[arg-type]  # checked there


_REDUCTIONS = ("error_reduction", "kl_reduction")

_TORCH = {"sum": "sum", "batchmean": "sum", "mean": "mean"}


def _by_hand(reduction: Reduction) -> str:
    """The division that PyTorch's own reduction lacks."""
    return " / len(x)" if reduction == "batchmean" else ""


def _times(weight: float) -> str:
    return "" if weight == 1 else f"{weight!r} * "


def _weight(reduction: Reduction, batch: int, size: int) -> float:
    """The weight of one datum's sum over elements or latents."""
    return {"sum": 1.0, "batchmean": 1 / batch, "mean": 1 / (batch * size)}[reduction]


def _reduced(values: Tensor, reduction: Reduction) -> Tensor:
    total = torch.sum(values)
    return total * _weight(reduction, len(values), values[0].numel())
