"""The job in NumPyro on JAX: many updates in one compiled loop, or one compiled update at a time.

Images have their channels last, as JAX's compiler for CPUs likes them.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ..data import resident
from ..initial import Layers, initial_weights
from ..job import CHANNELS, Job, Run

__all__ = ["make"]

Parameters = Sequence[tuple[Any, Any]]
"""Weight and bias of each layer."""


def make(job: Job, loop: bool) -> Run:
    """Run ``svi.update``: compiled in a loop over the steps asked for, or each by itself."""
    # Not at the top: only this contender's own environment has them.
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
            bent = np.where(s > 0, np.arcsinh(s), s)
            numpyro.sample("z", dist.Normal(loc, np.exp(10 * np.tanh(bent / 10))).to_event(1))

    xs = resident(job)
    xs = jax.device_put(xs if job.shape == "mlp" else np.moveaxis(xs, 2, -1))
    svi = infer.SVI(model, guide, numpyro.optim.Adam(job.lr), infer.TraceMeanField_ELBO())

    def update(i: Any, carried: Any) -> Any:
        return svi.update(carried[0], xs[i % len(xs)])

    def updates(start: Any, stop: Any, carried: Any) -> Any:
        return jax.lax.fori_loop(start, stop, update, carried)

    many, one = jax.jit(updates), jax.jit(svi.update)
    batches = list(xs)
    carried = (svi.init(jax.random.PRNGKey(0), xs[0]), np.zeros(()))
    done = 0

    def run(steps: int) -> float:
        nonlocal carried, done
        if loop:
            carried = many(done, done + steps, carried)
        else:
            for i in range(done, done + steps):
                carried = one(carried[0], batches[i % len(batches)])
        done += steps
        return float(carried[1]) / job.batch

    return run


class _Networks:
    """The job's networks as functions of their parameters."""

    def __init__(self, job: Job) -> None:
        self.jax, self.job = import_module("jax"), job
        encoder, decoder = initial_weights(job)
        if job.shape == "conv":
            encoder, decoder = _channels_last(encoder, decoder)
        else:
            encoder, decoder = ([(w.T, b) for w, b in layers] for layers in (encoder, decoder))
        self.initial_encoder, self.initial_decoder = self._put(encoder), self._put(decoder)

    def _put(self, layers: Layers) -> Parameters:
        return [(self.jax.numpy.asarray(w), self.jax.numpy.asarray(b)) for w, b in layers]

    def encoder(self, parameters: Parameters, x: Any) -> Any:
        """From x to loc and s, one after the other."""
        *hidden, last = parameters
        for layer in hidden:
            x = self.jax.nn.relu(self._layer(layer, x))
        return self._affine(last, x.reshape(len(x), -1))

    def decoder(self, parameters: Parameters, z: Any) -> Any:
        """From z to the logits of x."""
        first, *rest = parameters
        h = self._affine(first, z)
        if self.job.shape == "conv":
            h = h.reshape(len(h), 7, 7, -1)
        for layer in rest:
            h = self._layer(layer, self.jax.nn.relu(h), up=True)
        return h

    def _affine(self, layer: tuple[Any, Any], x: Any) -> Any:
        weight, bias = layer
        return x @ weight + bias

    def _layer(self, layer: tuple[Any, Any], x: Any, up: bool = False) -> Any:
        """An affine map of a table, a convolution of images: halving them, or doubling."""
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
    """Torch's weights for images with their channels last, 7 x 7 at the smallest."""
    *convolutions, (weight, bias) = encoder
    many = CHANNELS[-1]
    to_code = weight.reshape(-1, many, 7, 7).transpose(2, 3, 1, 0).reshape(-1, len(weight))
    down = [(w.transpose(2, 3, 1, 0), b) for w, b in convolutions]
    (weight, first_bias), *transposed = decoder
    size = weight.shape[1]
    from_code = weight.reshape(many, 7, 7, size).transpose(3, 1, 2, 0).reshape(size, -1)
    first_bias = first_bias.reshape(many, 7, 7).transpose(1, 2, 0).reshape(-1)
    # Torch's transposed convolution turns its kernel round.
    up = [(w[:, :, ::-1, ::-1].transpose(2, 3, 0, 1), b) for w, b in transposed]
    return [*down, (to_code, bias)], [(from_code, first_bias), *up]
