"""Bad fits, each with a good one that differs in one part."""

from dataclasses import dataclass, field
from typing import Any

from .parts import FixedLinear, FrozenMLP, NarrowNormal

Settings = dict[str, Any]


@dataclass(frozen=True)
class Fit:
    """A fit.

    Attributes:
        data: the name of its data in `DATA`.
        settings: settings of `ppvae.fit.fit` that differ from `COMMON`.
    """

    data: str = "digits"
    settings: Settings = field(default_factory=dict)

    @property
    def whole(self) -> Settings:
        """All settings of its programs, bound and training; none is left to the defaults."""
        return COMMON | self.settings


@dataclass(frozen=True)
class Case:
    """A bad fit and a good one.

    Attributes:
        what: what is bad.
        bad: the name of the bad fit in `FITS`.
        good: the name of the fit with a good part in place of the bad one.
        culprits: parts of which the verdict must name one first.
    """

    what: str
    bad: str
    good: str
    culprits: tuple[str, ...]


def _mlp(*hidden: int) -> Settings:
    return {"class_path": "MLP", "init_args": {"hidden": list(hidden), "activation": "silu"}}


def _gaussian(variance: str | float) -> Settings:
    return {"class_path": "Gaussian", "init_args": {"variance": variance}}


COMMON: Settings = {
    "model": "VAE", "prior": "StandardNormal", "likelihood": "Bernoulli", "decoder": _mlp(400),
    "guide": "MeanField", "encoder": _mlp(400, 400), "latent_dim": 20,
    "elbo": "TraceMeanField_ELBO", "particles": 1, "beta": 1.0, "warm_up": 0,
    "epochs": 100, "patience": None, "evaluate_every": None, "batch_size": 64, "labelled": None,
    "start": None, "encode_covariates": "on", "accumulate": 1,
    "optimizer": "Adam", "lr": 2e-3, "schedule": "CosineAnnealingLR", "clip": None, "seed": 0,
}  # fmt: skip
"""Settings of all fits, written out so that changed defaults do not change them."""

_TABLE: Settings = {
    "likelihood": _gaussian("learned"), "latent_dim": 2, "decoder": _mlp(100),
    "encoder": _mlp(100, 100), "epochs": 60,
}  # fmt: skip
_LINEAR: Settings = {
    "likelihood": _gaussian(0.25), "latent_dim": 4, "decoder": FixedLinear, "scale": "none",
    "encoder": _mlp(100), "guide": "FullRank", "epochs": 60,
}  # fmt: skip

# The weights of a linear decoder of unscaled columns have far to go.
_CLUSTERS: Settings = _TABLE | {
    "scale": "none", "decoder": _mlp(), "guide": "FullRank", "lr": 1e-2, "epochs": 100,
}  # fmt: skip
_STUDENT_T: Settings = {
    "class_path": "StudentT", "init_args": {"df": "learned", "scale": "learned"},
}  # fmt: skip

FITS: dict[str, Fit] = {
    "digits": Fit(),
    "digits-decoder-1": Fit(settings={"decoder": _mlp(1)}),
    "digits-frozen-encoder": Fit(settings={"encoder": FrozenMLP}),
    "digits-beta-30": Fit(settings={"beta": 30.0}),
    "digits-lr-2e-5": Fit(settings={"lr": 2e-5}),
    "digits-160": Fit("few_digits", {"epochs": 1_000}),
    "static-digits": Fit("static_digits"),
    "static-digits-160": Fit("few_static_digits", {"epochs": 1_000}),
    "counts": Fit("counts", _TABLE | {"likelihood": "NegativeBinomial"}),
    "counts-gaussian": Fit("counts", _TABLE | {"scale": "none"}),
    "heavy-tails": Fit("heavy_tails", _TABLE | {"scale": "none", "likelihood": _STUDENT_T}),
    "heavy-tails-gaussian": Fit("heavy_tails", _TABLE | {"scale": "none"}),
    # Siblings.
    "digits-latent-1": Fit(settings={"latent_dim": 1}),
    "digits-encoder-1": Fit(settings={"encoder": _mlp(1)}),
    "digits-3-epochs": Fit(settings={"epochs": 3}),
    "digits-beta-5": Fit(settings={"beta": 5.0}),
    "counts-poisson": Fit("counts", _TABLE | {"likelihood": "Poisson"}),
    "linear": Fit("linear", _LINEAR),
    "linear-mean-field": Fit("linear", _LINEAR | {"guide": "MeanField"}),
    "linear-narrow-prior": Fit("linear", _LINEAR | {"prior": NarrowNormal}),
    "clusters": Fit("clusters", _CLUSTERS | {"prior": "MixtureOfNormals"}),
    "clusters-one-normal": Fit("clusters", _CLUSTERS),
    "clusters-variance-1": Fit("clusters", _CLUSTERS | {"likelihood": _gaussian(1.0)}),
}
"""All fits, by name."""

CASES = (
    Case("decoder of width 1", "digits-decoder-1", "digits", ("decoder",)),
    Case("frozen encoder", "digits-frozen-encoder", "digits", ("encoder",)),
    Case("collapse by beta = 30", "digits-beta-30", "digits", ("beta", "collapse")),
    Case("underfit: lr 2e-5", "digits-lr-2e-5", "digits", ("optimization",)),
    Case("overfit: 160 rows", "static-digits-160", "static-digits", ("overfitting",)),
    Case("Gaussian on counts", "counts-gaussian", "counts", ("likelihood",)),
    Case("Gaussian on heavy tails", "heavy-tails-gaussian", "heavy-tails", ("likelihood",)),
)
"""The seven cases."""

SIBLINGS = (
    Case("160 rows, binarized anew", "digits-160", "digits", ("overfitting",)),
    Case("one latent", "digits-latent-1", "digits", ("latents",)),
    Case("encoder of width 1", "digits-encoder-1", "digits", ("encoder",)),
    Case("3 epochs", "digits-3-epochs", "digits", ("optimization",)),
    Case("beta = 5", "digits-beta-5", "digits", ("beta", "collapse")),
    Case("Poisson on overdispersed counts", "counts-poisson", "counts", ("likelihood",)),
    Case("diagonal q, correlated posterior", "linear-mean-field", "linear", ("guide",)),
    Case("prior five times too narrow", "linear-narrow-prior", "linear", ("prior",)),
    Case("one normal for five clusters", "clusters-one-normal", "clusters", ("prior",)),
    Case(
        "Gaussian of variance 1, little noise", "clusters-variance-1",
        "clusters-one-normal", ("likelihood",),
    ),
)  # fmt: skip
"""More cases of the same kind."""
