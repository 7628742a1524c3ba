"""More latents: twice as many, which decoder and encoder ignore at first."""

from functools import partial

from ppvae.diagnostics.deficits.beside import Appended, Beside
from ppvae.diagnostics.deficits.candidates import Candidate, network_of, put_in
from ppvae.diagnostics.deficits.fitted import Fitted, place_of
from ppvae.diagnostics.deficits.guides import latent_size
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.models.priors import StandardNormal


def latents(fitted: Fitted) -> list[Candidate]:
    """Twice the latents, at least 4 more; prior and guide of the new ones start as N(0, I).

    Raises:
        InputError: for priors other than `StandardNormal`, or guides other than `MeanField`; for a
            decoder with further inputs.
    """
    size = latent_size(fitted)
    prior, guide = place_of(fitted.pair, "prior"), fitted.pair.program("guide")
    if not isinstance(prior.module, StandardNormal) or not isinstance(guide, MeanField):
        raise InputError(
            "more latents are tried only with `prior='StandardNormal'` and `guide='MeanField'`, "
            "where they change nothing at first"
        )
    decoder, encoder = network_of(fitted, "decoder"), network_of(fitted, "encoder")
    if decoder.in_shape != (size,):
        raise InputError("the decoder has other inputs than all the latents")
    more = max(2 * size, size + 4)
    decoded = Beside(decoder.place.module, (more,), decoder.out_shape, reads=size)
    encoded = Appended(encoder.place.module, encoder.in_shape, encoder.out_shape, (2, more))
    fresh = (*decoded.new.parameters(), *encoded.new.parameters())
    places = (
        (prior, StandardNormal(more).to(fitted.pair.device, fitted.pair.dtype)),
        (decoder.place, decoded), (encoder.place, encoded),
    )  # fmt: skip
    put = partial(put_in, fitted, *places, fresh=fresh)
    return [Candidate(f"{more} latents", f"more latents: `latent_dim={more}`", put)]
