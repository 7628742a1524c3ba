"""The class inferred from x, then the other latent from x and the class."""

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn
from torch.nn import functional as F

from ppvae.errors import InputError
from ppvae.guides.mean_field import MeanField
from ppvae.networks import MLP, Network, Shape, build, is_positive, per_unit, silence
from ppvae.networks.column_features import blanked


class SemiSupervised(PyroModule):
    """q(y, z | x) = q(y | x) N(z; loc(x, y), diag scale(x, y)^2) (Kingma et al., 2014, M2).

    y is enumerated, not drawn, under ``TraceEnum_ELBO``. Where a label is known, the guide has all
    its mass there, so that one batch may hold both kinds of data: for a labelled datum the bound is
    E_q(z | x, y)[log p(x, y, z) - log q(z | x, y)] <= log p(x, y), for another
    E_q(y, z | x)[log p(x, y, z) - log q(y, z | x)] <= log p(x), both exact in y.

    The bounds alone give q(y | x) no gradient at labelled data. Training (``guide.train()``)
    therefore adds ``alpha`` log q(y | x) of each labelled datum to the objective, the paper's
    term; in evaluation it is absent. The paper's weight is alpha = 0.1 N / (number of labels): 50
    for 50,000 data of which 100 have labels.

    Where labels are few, a decoder that does not yet distinguish classes pulls q(y | x) to clusters
    of its own, and accuracy can end below that of a classifier of the labels alone. Three things
    help: labels in each batch (``labelled`` of a fit); a bound that trains q(y | x) only after the
    rest has followed the labels, ``hold``; and a KL of a larger weight in training (``beta`` of a
    fit), which leaves less to z and more to y.

    Args:
        latent_dim: dimensions of z.
        data_shape: shape of one datum.
        encoder: makes both networks, from x to the logits of q(y | x), ``(classes,)``, and from
            x and y to loc and log scale of q(z | x, y), ``(2, latent_dim)``.
        classes: number of classes.
        alpha: weight of log q(y | x) of a labelled datum in training; 0: none.
        hold: number of training batches in which only labels train q(y | x); later the bound does
            too.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``y`` is ``(batch,)``, whole numbers, -1 for unknown
    labels, or ``None``: all unknown; ``z`` is ``(batch, latent_dim)``.

    Raises:
        InputError: if there are fewer than two classes, alpha is negative, or y is real numbers.
    """

    batches: Tensor

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        encoder: Network = MLP,
        classes: int = 0,
        alpha: float = 50.0,
        hold: int = 0,
    ) -> None:
        super().__init__()
        if classes < 2:
            raise InputError(
                f"SemiSupervised needs two classes or more, and is given {classes or 'none'}; take "
                "`model='SemiSupervisedVAE'` and data with labels"
            )
        if not (alpha == 0 or is_positive(alpha)):
            raise InputError(f"`guide.alpha` is {alpha}; it must be 0 or more, and finite")
        if hold < 0:
            raise InputError(f"`guide.hold` is {hold}; it must be 0 or more")
        self.classes, self.alpha, self.hold = classes, alpha, hold
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.classifier = build(encoder, data_shape, (classes,), "encoder")
        self.latent = MeanField(latent_dim, data_shape, encoder, classes)
        _even(self.classifier)
        silence(self.latent.encoder, classes)

    def forward(
        self,
        x: Tensor,
        y: Tensor | None = None,
        size_factor: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        x = blanked(self.classifier, per_unit(x, size_factor), mask)
        logits = self.classifier(x)
        shown = self._withheld(logits) if self.training and self.hold else logits
        known = shown if y is None else self._held(shown, y)
        with pyro.plate("data", len(x)):
            if self.training and y is not None:
                # A factor of the guide is subtracted; it is constant in draws and needs no score.
                pyro.factor("label", -self.alpha * self._score(logits, y), has_rsample=True)
            label = pyro.sample(
                "y", dist.Categorical(logits=known), infer={"enumerate": "parallel"}
            )
            z: Tensor = pyro.sample("z", self.latent.posterior(x, label))
        return z

    def _withheld(self, logits: Tensor) -> Tensor:
        """The logits, detached in the first ``hold`` batches."""
        is_open = self.batches >= self.hold
        self.batches.add_(1)
        return torch.where(is_open, logits, logits.detach())

    def _held(self, logits: Tensor, y: Tensor) -> Tensor:
        """The logits, replaced by those of a point mass where y is known: (batch, classes)."""
        if y.is_floating_point():
            raise InputError(
                f"y holds {y.dtype}, and classes are whole numbers, -1 where the label is "
                "unknown; for covariates take `model='ConditionalVAE'`"
            )
        # exp(-1e4) is 0 in every type, and 0 * -1e4 is 0: no infinity reaches a gradient.
        point = -1e4 * (1 - F.one_hot(y.clamp(min=0), self.classes).to(logits))
        return torch.where((y >= 0)[:, None], point, logits)

    def _score(self, logits: Tensor, y: Tensor) -> Tensor:
        """The score log q(y | x) where y is known, and 0 elsewhere: (batch,)."""
        score = logits.log_softmax(-1).gather(-1, y.clamp(min=0)[:, None])[:, 0]
        return score * (y >= 0)


def _even(classifier: nn.Module) -> None:
    """Make q(y | x) uniform at first: set its last linear layer to 0."""
    layers = [layer for layer in classifier.modules() if isinstance(layer, nn.Linear)]
    for layer in layers[-1:]:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
