"""Computing effort: an answer in a minute, or one to publish."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """Numbers of data and draws per measurement.

    Attributes:
        rows: maximum number of data for cheap questions: terms, activity, surgery, a better prior.
        prior_codes: maximum number of codes to fit a better prior to.
        evidence_rows: maximum number of data whose log p(x) is estimated.
        samples: importance samples per datum.
        trusted_rows: maximum number of data with a Pareto k-hat and a curve of bounds.
        trusted_samples: importance samples per datum of these; their gain over `samples` is added
            to log p(x).
        refined_rows: data for which the best guide is optimized.
        refine_steps: steps of that optimization; ``None``: its default.
        refined_draws: draws per datum for each gap.
        annealed_rows: data whose log p(x) is annealed, and number of simulated data.
        temperatures: steps of the annealing.
        chains: annealed chains per datum.
        sampled_rows: data whose posterior is sampled by NUTS.
        nuts_draws: draws in each of two chains, after as many warm-up draws, at most 100.
        simulations: simulated data for the calibration of the guide.
        replications: replicated data sets of the predictive checks.
        replicated_rows: maximum number of data in each of them.
        compared_samples: maximum number of importance samples per datum in the comparison with
            training data.
        estimates: repetitions to estimate the variance of a gradient.
        particles: numbers of particles at which estimators are compared.
        climbed_steps: training steps of the programs with an exchanged part; before, that part
            alone is trained for a quarter as many.
        climbed_rows: maximum number of examined data for its gain, and of data to select weights.
        climbed_draws: draws per datum.
        kept_rows: data in ``posterior.nc``.
        kept_draws: draws per datum, in each of the chains of the ArviZ file.
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
    replications=40,  # fewer cannot reach p < 0.05
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
"""About a minute on two cores for networks of the default size."""
