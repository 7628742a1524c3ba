"""Names of the parts of this package and torch, known without importing either.

A test compares this table with the classes.
"""

from ppvae.components.spec import Spec
from ppvae.errors import InputError, nearest
from ppvae.settings import Settings

_NETWORKS = ("ConvDecoder", "ConvEncoder", "GatedMLP", "MLP", "ResidualDecoder", "ResidualEncoder")

NAMES: dict[str, tuple[str, ...]] = {
    "model": ("ConditionalVAE", "HierarchicalVAE", "LinearGaussian", "SemiSupervisedVAE", "VAE"),
    "prior": (
        "FlowPrior", "Laplace", "LearnedNormal", "MixtureOfNormals", "StandardNormal", "StudentT",
        "VampPrior",
    ),
    "likelihood": (
        "Bernoulli", "Binomial", "Categorical", "ContinuousBernoulli", "DiscretizedLogistic",
        "Gaussian", "Laplace", "MixtureOfDiscretizedLogistics", "NegativeBinomial",
        "PerColumn", "Poisson", "StudentT", "ZeroInflated",
    ),
    "decoder": _NETWORKS,
    "guide": (
        "BottomUp", "Delta", "ExactPosterior", "Flow", "FullRank", "Ladder", "LowRank", "MeanField",
        "Mixture", "SemiAmortized", "SemiSupervised", "TopDown",
    ),
    "encoder": _NETWORKS,
    "elbo": (
        "DoublyReparameterizedELBO", "FreeBitsELBO", "ImportanceWeightedELBO", "RenyiELBO",
        "StickingTheLandingELBO", "TraceEnum_ELBO", "TraceMeanField_ELBO", "Trace_ELBO",
    ),
    "optimizer": (
        "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Muon", "NAdam",
        "RAdam", "RMSprop", "Rprop", "SGD",
    ),
    "schedule": (
        "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR",
        "ExponentialLR", "LinearLR", "MultiStepLR", "OneCycleLR", "PolynomialLR",
        "ReduceLROnPlateau", "StepLR",
    ),
}  # fmt: skip
"""The class names that may be chosen for each kind of part, in alphabetical order."""

PARTS = {
    "model": "model",
    "prior": "model",
    "likelihood": "model",
    "decoder": "model",
    "guide": "guide",
    "encoder": "guide",
}
"""The program that each part belongs to."""

DEFAULTS = {
    "model": Spec("VAE"),
    "prior": Spec("StandardNormal"),
    "likelihood": Spec("Bernoulli"),
    "decoder": Spec("MLP", {"hidden": [200, 200, 200]}),
    "guide": Spec("MeanField"),
    "encoder": Spec("MLP", {"hidden": [200, 200]}),
}
"""The default parts; that the decoder is the deeper network was found by trial."""


def default_of(kind: str) -> Spec:
    """The part where no class is chosen; data may replace that of model and likelihood."""
    return DEFAULTS[kind] if kind in DEFAULTS else Spec(str(getattr(Settings, kind)))


SYNONYMS: dict[str, dict[str, str]] = {
    "model": {"hvae": "HierarchicalVAE", "ladder": "HierarchicalVAE", "cvae": "ConditionalVAE",
              "m2": "SemiSupervisedVAE", "ppca": "LinearGaussian"},
    "prior": {"normal": "StandardNormal", "gaussian": "StandardNormal", "gmm": "MixtureOfNormals",
              "mog": "MixtureOfNormals", "mixtureofgaussians": "MixtureOfNormals",
              "vamp": "VampPrior", "flow": "FlowPrior", "t": "StudentT"},
    "likelihood": {"normal": "Gaussian", "mse": "Gaussian", "bce": "Bernoulli",
                   "nb": "NegativeBinomial", "zinb": "ZeroInflated",
                   "zip": "ZeroInflated", "t": "StudentT"},
    "decoder": {"dense": "MLP", "linear": "MLP", "cnn": "ConvDecoder", "conv": "ConvDecoder",
                "resnet": "ResidualDecoder"},
    "guide": {"diagonal": "MeanField", "normal": "MeanField", "gaussian": "MeanField",
              "iaf": "Flow", "map": "Delta", "lvae": "Ladder"},
    "encoder": {"dense": "MLP", "linear": "MLP", "cnn": "ConvEncoder", "conv": "ConvEncoder",
                "resnet": "ResidualEncoder"},
    "elbo": {"elbo": "Trace_ELBO", "analytic": "TraceMeanField_ELBO",
             "iwae": "ImportanceWeightedELBO", "dreg": "DoublyReparameterizedELBO",
             "stl": "StickingTheLandingELBO"},
}  # fmt: skip
"""Other words of the field for these parts, in small letters without signs."""


def check_name(kind: str, name: str) -> None:
    """Refuse a name that is neither that of a part nor an import path.

    Raises:
        InputError: with the list of names, and the one that is meant or the nearest.
    """
    names, module = NAMES[kind], name.rpartition(".")[0]
    if not module and name not in names and (kind, name) != ("schedule", "none"):
        word = "".join(filter(str.isalnum, name.lower()))
        meant = SYNONYMS.get(kind, {}).get(word)
        near = f"; here it is called {meant}" if meant else nearest(name, names)
        raise InputError(
            f"`{kind}={name!r}`: there is no such {kind}{near}; choose from "
            f"{', '.join(names)}, or give an import path of your own (mypackage.MyClass)"
        )
