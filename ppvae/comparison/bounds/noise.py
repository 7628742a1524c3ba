"""Repeated estimates of both bounds, at the same weights and on the same batch."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ppvae.comparison.bounds.result import ANALYTIC, SAMPLED
from ppvae.comparison.bounds.subject import Subject
from ppvae.comparison.bounds.weights import weights_restored
from ppvae.components.kinds import KINDS
from ppvae.diagnostics.estimator.noise import Noise, noise
from ppvae.programs import Pair
from ppvae.programs.streams import Stream
from ppvae.training.data_and_programs import first_batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def measure_noise(
    subject: Subject,
    weights: Mapping[str, Any],
    fabric: "Fabric",
    draws: int,
    seed: int,
    count: Callable[[], None],
    pair: Pair | None = None,
) -> dict[str, Noise]:
    """Both bounds at the same weights and on the same batch, each with its own noise."""
    from ppvae.bounds.objective import Bound

    settings, noises = subject.settings, {}
    batch = {name: x.to(fabric.device) for name, x in first_batch(subject.data, settings).items()}
    with weights_restored(pair or subject.build(seed)) as held:
        held.load_state_dict(weights)
        held.to(fabric.device)
        for number, name in enumerate((SAMPLED, ANALYTIC)):
            elbo = KINDS["elbo"].names()[name]
            noises[name] = noise(
                Bound(held, elbo, subject.audits[name], settings.particles),
                batch,
                draws=draws,
                seed=Stream.COMPARISON.seed(seed, number),
                beta=settings.beta,
                on_draw=count,
            )
    return noises
