"""The last layer of a model's decoder."""

from torch import nn

from ppvae.models import VAE


def last_layer(model: VAE) -> nn.Linear:
    """The layer that makes the parameters of the likelihood."""
    layers = model.decoder.layers
    assert isinstance(layers, nn.Sequential)
    last = layers[-1]
    assert isinstance(last, nn.Linear)
    return last
