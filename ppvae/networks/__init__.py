"""Tensors to tensors, with no probability in them: what a program calls a decoder or an encoder.

All of them keep whatever dimensions come before the datum's, so that a batch, or particles times a
batch, passes in one call.
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
