"""The job in NumPyro on JAX: many updates in one compiled loop, or one compiled update at a time.

Images have their channels last, which JAX's compiler for CPUs prefers.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy

from ..data import resident, training_images
from ..initial import initial_weights
from ..job import CHANNELS, Job, Layers, Run

__all__ = ["make"]

Parameters = Sequence[tuple[Any, Any]]
"""Weight and bias of each layer."""


def make(job: Job, loop: bool) -> Run:
    """Run ``svi.update``, compiled in a loop over the steps or one step at a time."""
    # Imported here: only this contender's environment has them.
    jax, np = import_module("jax"), import_module("jax.numpy")
    numpyro, dist = import_module("numpyro"), import_module("numpyro.distributions")
    infer = import_module("numpyro.infer")
    networks = _Networks(job)

    def model(x: Any) -> None:
        parameters = numpyro.param("decoder", networks.initial_decoder)
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(np.zeros(job.latent), 1.0).to_event(1))
            likelihood = dist.Bernoulli(logits=networks.decoder(parameters, z))
            numpyro.sample("x", likelihood.to_event(x.ndim - 1), obs=x)

    def guide(x: Any) -> None:
        parameters = numpyro.param("encoder", networks.initial_encoder)
        with numpyro.plate("data", len(x)):
            loc, s = np.split(networks.encoder(parameters, x), 2, -1)
            numpyro.sample("z", dist.Normal(loc, np.exp(networks.log_scale(s))).to_event(1))

    def rate(step: Any) -> Any:
        fallen = np.minimum(step // job.epoch, job.epochs) / job.epochs
        return job.lr * (1 + np.cos(np.pi * fallen)) / 2

    adam = numpyro.optim.Adam(rate if job.epochs else job.lr)
    svi = infer.SVI(model, guide, adam, infer.TraceMeanField_ELBO())
    data = _Binarized(job) if job.images else _Resident(job)

    def updates(start: Any, stop: Any, order: Any, carried: Any) -> Any:
        def update(i: Any, carried: Any) -> Any:
            return svi.update(carried[0], data.batch(i, order))

        return jax.lax.fori_loop(start, stop, update, carried)

    many, one = jax.jit(updates), jax.jit(svi.update)
    carried = (svi.init(jax.random.key(0), data.batch(0, data.order(0))), np.zeros(()))
    done = 0

    def run(steps: int) -> float:
        nonlocal carried, done
        last = done + steps
        while done < last:
            epoch, begun = divmod(done, job.epoch)
            stop = min(last, done + job.epoch - begun)
            order = data.order(epoch)
            if loop:
                carried = many(done, stop, order, carried)
            else:
                for i in range(done, stop):
                    carried = one(carried[0], data.batch(i, order))
            done = stop
        return float(carried[1]) / job.batch

    def weights() -> tuple[Layers, Layers]:
        now = svi.get_params(carried[0])
        encoder, decoder = (
            [(numpy.asarray(w).T, numpy.asarray(b)) for w, b in now[name]]
            for name in ("encoder", "decoder")
        )
        return encoder, decoder

    return Run(run, weights)


class _Resident:
    """Batches in memory, binarized once."""

    def __init__(self, job: Job) -> None:
        jax, np = import_module("jax"), import_module("jax.numpy")
        xs = resident(job)
        self.all = jax.device_put(xs if job.shape == "mlp" else np.moveaxis(xs, 2, -1))
        self.each = list(self.all)

    def order(self, epoch: int) -> Any:
        """The batches have one order only."""
        return epoch

    def batch(self, i: Any, order: Any) -> Any:
        """The batch of a step; if the step is traced, sliced from the array of all batches."""
        return self.each[i % len(self.each)] if type(i) is int else self.all[i % len(self.all)]


class _Binarized:
    """Batches of a fit, shuffled and binarized anew in each epoch, as in NumPyro's example."""

    def __init__(self, job: Job) -> None:
        self.jax, self.job = import_module("jax"), job
        self.key, self.noise = self.jax.random.split(self.jax.random.key(1))
        self.images = self.jax.device_put(training_images(job))

    def order(self, epoch: int) -> Any:
        """The order of the rows in an epoch."""
        random = self.jax.random
        return random.permutation(random.fold_in(self.key, epoch), len(self.images))

    def batch(self, i: Any, order: Any) -> Any:
        """The batch of a step."""
        random, size = self.jax.random, self.job.batch
        first = i % self.job.epoch * size
        rows = self.jax.lax.dynamic_slice_in_dim(order, first, size)
        drawn = random.bernoulli(random.fold_in(self.noise, i), self.images[rows])
        return drawn.astype(self.images.dtype)


class _Networks:
    """The job's networks as functions of their parameters."""

    def __init__(self, job: Job) -> None:
        self.jax, self.job = import_module("jax"), job
        self.activation = getattr(self.jax.nn, job.activation)
        encoder, decoder = initial_weights(job)
        if job.shape == "conv":
            encoder, decoder = _channels_last(encoder, decoder)
        else:
            encoder, decoder = ([(w.T, b) for w, b in layers] for layers in (encoder, decoder))
        self.initial_encoder, self.initial_decoder = self._put(encoder), self._put(decoder)

    def _put(self, layers: Layers) -> Parameters:
        return [(self.jax.numpy.asarray(w), self.jax.numpy.asarray(b)) for w, b in layers]

    def log_scale(self, s: Any) -> Any:
        """Logarithm of the posterior's scale, from s of the encoder."""
        np = self.jax.numpy
        if self.job.spread == "bounded":
            return 10 * np.tanh(np.where(s > 0, np.arcsinh(s), s) / 10)
        return s / 2 if self.job.spread == "log_variance" else s

    def encoder(self, parameters: Parameters, x: Any) -> Any:
        """Encoder from x to loc and s, concatenated."""
        *hidden, last = parameters
        for layer in hidden:
            x = self.activation(self._layer(layer, x))
        return self._affine(last, x.reshape(len(x), -1))

    def decoder(self, parameters: Parameters, z: Any) -> Any:
        """Decoder from z to the logits of x."""
        first, *rest = parameters
        h = self._affine(first, z)
        if self.job.shape == "conv":
            h = h.reshape(len(h), 7, 7, -1)
        for layer in rest:
            h = self._layer(layer, self.activation(h), up=True)
        return h

    def _affine(self, layer: tuple[Any, Any], x: Any) -> Any:
        weight, bias = layer
        return x @ weight + bias

    def _layer(self, layer: tuple[Any, Any], x: Any, up: bool = False) -> Any:
        """An affine map of vectors, or a convolution that halves or doubles the size of images."""
        if x.ndim == 2:
            return self._affine(layer, x)
        weight, bias = layer
        lax, layout = self.jax.lax, ("NHWC", "HWIO", "NHWC")
        if up:
            y = lax.conv_transpose(x, weight, (2, 2), [(1, 2), (1, 2)], dimension_numbers=layout)
        else:
            y = lax.conv_general_dilated(
                x, weight, (2, 2), [(1, 1), (1, 1)], dimension_numbers=layout
            )
        return y + bias


def _channels_last(encoder: Layers, decoder: Layers) -> tuple[Layers, Layers]:
    """Torch's weights for images with channels last, whose smallest size is 7 x 7."""
    *convolutions, (weight, bias) = encoder
    many = CHANNELS[-1]
    to_code = weight.reshape(-1, many, 7, 7).transpose(2, 3, 1, 0).reshape(-1, len(weight))
    down = [(w.transpose(2, 3, 1, 0), b) for w, b in convolutions]
    (weight, first_bias), *transposed = decoder
    size = weight.shape[1]
    from_code = weight.reshape(many, 7, 7, size).transpose(3, 1, 2, 0).reshape(size, -1)
    first_bias = first_bias.reshape(many, 7, 7).transpose(1, 2, 0).reshape(-1)
    # Torch's transposed convolution flips its kernel.
    up = [(w[:, :, ::-1, ::-1].transpose(2, 3, 0, 1), b) for w, b in transposed]
    return [*down, (to_code, bias)], [(from_code, first_bias), *up]
