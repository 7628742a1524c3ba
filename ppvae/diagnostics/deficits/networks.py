"""Candidate decoders and encoders: the fitted one plus a wider and deeper one."""

from functools import partial

from ppvae.diagnostics.deficits.beside import HIDDEN, Beside
from ppvae.diagnostics.deficits.candidates import Candidate, network_of, put_in
from ppvae.diagnostics.deficits.fitted import Fitted

_WIDTHS = "-".join(map(str, HIDDEN))


def decoders(fitted: Fitted) -> list[Candidate]:
    """The decoder plus a multilayer perceptron with two hidden layers.

    Raises:
        InputError: if there is no decoder that can be enlarged.
    """
    return [_wider(fitted, "decoder")]


def encoders(fitted: Fitted) -> list[Candidate]:
    """The same for the encoder."""
    return [_wider(fitted, "encoder")]


def _wider(fitted: Fitted, part: str) -> Candidate:
    place, in_shape, out_shape = network_of(fitted, part)
    both = Beside(place.module, in_shape, out_shape)
    put = partial(put_in, fitted, (place, both), fresh=tuple(both.new.parameters()))
    remedy = f"a wider or deeper {part}: `{part}.hidden`, such as {list(HIDDEN)}"
    return Candidate(f"an added MLP of {_WIDTHS}", remedy, put)
