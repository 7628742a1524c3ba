"""Programs as a bound runs them: latent sites scaled by beta, the sites of every call recorded."""

from typing import Any, NamedTuple, cast

from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppvae.programs.sites import is_random_variable


class Site(NamedTuple):
    """A random variable of one call of a program.

    Attributes:
        node: its Pyro message, to which outer handlers add the value later.
        scale: the program's own scale of its log-density, without beta.
    """

    node: Any
    scale: Any


Sites = dict[str, Site]

Call = tuple[Sites, Sites]
"""The sites of one call of the model, and of the guide."""


def log_prob(site: Site) -> Tensor:
    """Log-density of a site at its value, at the program's own scale."""
    node = site.node
    density = node["fn"].log_prob(node["value"], *node["args"], **node["kwargs"])
    return cast("Tensor", scale_and_mask(density, site.scale, node["mask"]))


class Weighed:
    """A program with its latent sites scaled by beta.

    Attributes:
        calls: the sites of each call.
    """

    def __init__(self, program: Any, beta: float) -> None:
        self.program, self.beta = program, beta
        self.calls: list[Sites] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the program, and record its sites."""
        with _Weigh(self.beta) as weigh:
            value = self.program(*args, **kwargs)
        self.calls.append(weigh.sites)
        return value


class Replayed:
    """A program whose calls repeat the draws of recorded calls; only enumeration is redone."""

    def __init__(self, program: Any, calls: list[Sites]) -> None:
        self.program, self.calls = program, iter(calls)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the program with the draws of the next recorded call."""
        with _Replay(next(self.calls)):
            return self.program(*args, **kwargs)


class _Weigh(Messenger):
    """Scales latent sites by beta; `poutine.scale` would refuse beta = 0, a plain autoencoder."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta
        self.sites: Sites = {}

    def _pyro_sample(self, msg: Any) -> None:
        if not is_random_variable(msg):
            return
        self.sites[msg["name"]] = Site(msg, msg["scale"])
        if not msg["is_observed"]:
            msg["scale"] = msg["scale"] * self.beta


class _Replay(Messenger):
    """Gives each latent its recorded distribution, with all plates, and its recorded value."""

    def __init__(self, sites: Sites) -> None:
        super().__init__()
        self.sites = sites

    def _pyro_sample(self, msg: Any) -> None:
        is_latent = is_random_variable(msg) and not msg["is_observed"]
        if is_latent and not msg["infer"].get("enumerate"):
            node = self.sites[msg["name"]].node
            msg["fn"], msg["value"], msg["done"] = node["fn"], node["value"], True
