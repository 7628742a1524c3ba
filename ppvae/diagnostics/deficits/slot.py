"""Where another likelihood is put."""

from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from ppvae.diagnostics.deficits.beside import Appended, First
from ppvae.diagnostics.deficits.candidates import Candidate, Network, network_of, put_in
from ppvae.diagnostics.deficits.fitted import Fitted, Place, place_of
from ppvae.errors import InputError
from ppvae.models.likelihoods import Likelihood


class Slot(NamedTuple):
    """Where the likelihood and the decoder of a model stand."""

    fitted: Fitted
    place: Place
    decoder: Network

    @classmethod
    def of(cls, fitted: Fitted) -> "Slot":
        """Those of the programs.

        Raises:
            InputError: if the model has no likelihood that is a `Likelihood`.
        """
        place = place_of(fitted.pair, "likelihood")
        if not isinstance(place.module, Likelihood):
            raise InputError(
                f"the likelihood {type(place.module).__name__} is not derived from "
                "ppvae.models.likelihoods.Likelihood, so that it is not known what could stand in "
                "its place"
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
        """Another likelihood, whose decoder gives at first what it gave, and ``start``.

        Args:
            new: the likelihood.
            remedy: what to change to have it.
            start: the numbers that the decoder did not give before, for each element.
            first: these come before the others.
            name: what it is called; by default by its class.
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
