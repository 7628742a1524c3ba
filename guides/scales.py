"""How wide a posterior may be: what an encoder says of a stray datum is not believed."""

from torch import Tensor

from ppvae.networks import positive


def posterior_scale(log_scale: Tensor) -> Tensor:
    """exp(log_scale) where encoders live, and never above e^2 = 7.4; see `ppvae.networks.positive`.

    Codes are of order one, as priors are. One held-out image at which an encoder extrapolates to a
    scale of hundreds costs as many nats as ten thousand others do together, most of all under a
    prior of narrow normals, where a tail costs the square. The VampPrior's authors hold log scales
    below 1 (Tomczak and Welling, 2018).
    """
    return positive(log_scale, most=2.0)
