"""Slot of the likelihood in a model."""

from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from ppvae.diagnostics.deficits.beside import Appended, First
from ppvae.diagnostics.deficits.candidates import Candidate, Network, network_of, put_in
from ppvae.diagnostics.deficits.fitted import Fitted, Place, place_of
from ppvae.errors import InputError
from ppvae.models.likelihoods import Likelihood


class Slot(NamedTuple):
    """Places of the likelihood and the decoder in a model."""

    fitted: Fitted
    place: Place
    decoder: Network

    @classmethod
    def of(cls, fitted: Fitted) -> "Slot":
        """The slot of the programs.

        Raises:
            InputError: if the model has no likelihood that is a `Likelihood`.
        """
        place = place_of(fitted.pair, "likelihood")
        if not isinstance(place.module, Likelihood):
            raise InputError(
                f"the likelihood {type(place.module).__name__} is not derived from "
                "ppvae.models.likelihoods.Likelihood, so it cannot be replaced"
            )
        return cls(fitted, place, network_of(fitted, "decoder"))

    def other(
        self,
        new: Likelihood,
        remedy: str,
        start: Tensor | None = None,
        *,
        first: bool = False,
        name: str | None = None,
    ) -> Candidate:
        """Another likelihood, whose decoder starts with the old outputs, plus ``start``.

        Args:
            new: the likelihood.
            remedy: the settings to change.
            start: initial values of the new decoder outputs, for each element.
            first: whether these come before the old outputs.
            name: its name; default that of its class.
        """
        pair, (place, in_shape, out_shape) = self.fitted.pair, self.decoder
        new = new.to(pair.device, pair.dtype)
        places: list[tuple[Place, nn.Module]] = [(self.place, new)]
        fresh = [*new.parameters()]
        if new.decoder_shape[0] > out_shape[0]:
            both = Appended(
                place.module, in_shape, out_shape, new.decoder_shape, start, first=first
            )
            places.append((place, both))
            fresh += both.new.parameters()
        elif new.decoder_shape != out_shape:
            places.append((place, First(place.module, out_shape, new.decoder_shape)))
        put = partial(put_in, self.fitted, *places, fresh=fresh)
        return Candidate(name or type(new).__name__, remedy, put)
