"""Networks without probability, from tensors to tensors: the encoders and decoders of programs.

All of them keep any leading dimensions, so that a batch, or particles times a batch, passes in one
call.
"""

from ppvae.networks.bounded import inverse_positive, is_positive, positive
from ppvae.networks.conditioning import beside, features, joined_shape, per_unit, silence
from ppvae.networks.convolutional import ConvDecoder, ConvEncoder
from ppvae.networks.gated import GatedMLP
from ppvae.networks.mlp import MLP
from ppvae.networks.network import Network, Shape, build
from ppvae.networks.residual import ResidualDecoder, ResidualEncoder

__all__ = [
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "GatedMLP",
    "Network",
    "ResidualDecoder",
    "ResidualEncoder",
    "Shape",
    "beside",
    "build",
    "features",
    "inverse_positive",
    "is_positive",
    "joined_shape",
    "per_unit",
    "positive",
    "silence",
]
