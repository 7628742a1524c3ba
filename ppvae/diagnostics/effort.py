"""How much is computed: a minute's answer, or one to publish."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """Numbers of data and draws behind each figure.

    Attributes:
        rows: most data that cheap questions are asked of: terms, activity, surgery, a better prior.
        prior_codes: codes that a better prior is fitted to, at most.
        evidence_rows: most data whose log p(x) is estimated.
        samples: importance samples of each of them.
        trusted_rows: most data with a Pareto k-hat and a curve of bounds.
        trusted_samples: importance samples of each of them: what these find more than `samples` is
            added to log p(x).
        refined_rows: data whose own best guide is sought.
        refine_steps: steps of that search; ``None``: as many as the search takes by default.
        refined_draws: draws a datum behind each gap.
        annealed_rows: data whose log p(x) is annealed, and as many simulated ones.
        temperatures: steps of the annealing.
        chains: annealed chains a datum.
        sampled_rows: data whose posterior is sampled by NUTS.
        nuts_draws: draws of each of two chains, after as many to warm up, at most 100.
        simulations: simulated data that the guide is calibrated on.
        replications: replicated data sets of the predictive checks.
        replicated_rows: most data in each of them.
        compared_samples: most importance samples a datum where training data are compared.
        estimates: repetitions behind a gradient's variance.
        particles: numbers of particles that estimators are compared at.
        climbed_steps: steps that the programs are trained for with another part in them; that part
            alone is trained for a quarter as many before.
        climbed_rows: most examined data that gain by it, and most that choose among weights.
        climbed_draws: draws of each of them.
        kept_rows: data in ``posterior.nc``.
        kept_draws: draws of each, in each of the chains that ArviZ wants.
    """

    rows: int = 10_000
    prior_codes: int = 20_000
    evidence_rows: int = 10_000
    samples: int = 1_000
    trusted_rows: int = 500
    trusted_samples: int = 5_000
    refined_rows: int = 200
    refine_steps: int | None = None
    refined_draws: int = 1_000
    annealed_rows: int = 40
    temperatures: int = 300
    chains: int = 8
    sampled_rows: int = 2
    nuts_draws: int = 200
    simulations: int = 1_000
    replications: int = 100
    replicated_rows: int = 2_000
    compared_samples: int = 50
    estimates: int = 50
    particles: tuple[int, ...] = (1, 5, 20)
    climbed_steps: int = 800
    climbed_rows: int = 2_000
    climbed_draws: int = 20
    kept_rows: int = 64
    kept_draws: int = 100


FULL = Effort()

QUICK = Effort(
    rows=2_000,
    prior_codes=10_000,
    evidence_rows=500,
    samples=500,
    trusted_rows=200,
    trusted_samples=1_000,
    refined_rows=40,
    refine_steps=100,
    refined_draws=500,
    annealed_rows=10,
    temperatures=40,
    chains=4,
    sampled_rows=1,
    nuts_draws=30,
    simulations=300,
    replications=40,  # fewer could not come below p = 0.05
    replicated_rows=1_000,
    compared_samples=20,
    estimates=20,
    particles=(1, 5),
    climbed_steps=200,
    climbed_rows=1_000,
    climbed_draws=20,
    kept_rows=32,
    kept_draws=50,
)
"""About a minute on two cores for networks such as the default's."""
