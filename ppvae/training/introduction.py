"""What a fit says before its first step."""

from pathlib import Path
from typing import TYPE_CHECKING

from ppvae.components.factory import Factory
from ppvae.data import Data

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from ppvae.bounds.objective import Bound

__all__ = ["introduce"]


def introduce(
    data: Data,
    elbo: Factory,
    bound: "Bound",
    fabric: "Fabric",
    folder: Path,
    beta: float,
    is_compiled: bool,
) -> None:
    """Say what the data are, what the audit found, and what is about to be done where."""
    from ppvae.cli.terminal import say, show_audit

    facts = bound.audit
    count = sum(p.numel() for p in bound.pair.parameters() if p.requires_grad)
    say(data.describe())
    show_audit(facts, elbo.choice.class_path)
    if not facts.is_bound and beta > 0:
        say(
            f"note: at beta = {beta:g} a point mass climbs log p(x | z) + {beta:g} log p(z), a "
            "maximum a posteriori code; the plain autoencoder is --beta 0"
        )
    if bound.traits.weighs_draws:
        name = elbo.choice.class_path
        if bound.elbo.num_particles == 1:
            say(f"note: of one draw {name} is the evidence lower bound; give --particles 5")
        elif not bound.is_lower:
            say(
                f"note: with such arguments {name} is no lower bound on log p(x); the elbo that is "
                "reported is the importance-weighted bound of the same draws"
            )
    how = ", compiled" if is_compiled else ""
    say(f"{count:,} parameters on {fabric.device}{how}; writing to {folder}")
