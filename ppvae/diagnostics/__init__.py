"""What a fitted pair of programs has learned, and how far its figures can be trusted.

One question a file, each asked of any two Pyro programs and any data (`subject`):

* What is in the bound? Terms by site and dimension (`terms`, of `site_terms`); what the KL is
  spent on (`surgery`, by the `aggregate` posterior); what another prior would win (`prior_gain`).
* Is the latent used? Active units, posterior collapse (`activity`); where the guide puts each datum
  (`posterior`); how much of the prior has a code near, and of the data a sample (`coverage`).
* What is log p(x)? By importance sampling (`evidence`), by annealing (`annealing`, whose chains
  move by `hmc`), from both sides (`sandwich`), exactly where the program is linear and Gaussian
  (`exact`).
* Where is the gap? The guide's family or the encoder (`gaps`, by `refining` each datum's guide:
  `free_parameters`, or `free_weights`).
* Can the guide be trusted, datum by datum? Pareto k-hat and effective sample sizes (`reliability`),
  the posterior itself by NUTS (`chains`), ranks of simulated latents (`calibration`, by
  `simulation`). And the model: would it generate such data (`predictive`)?
* Which estimator? Noise and cost of each (`estimators`, of which each is an `estimator`), what
  they say (`recommendation`), and the noise of one (`noise`).
"""

from ppvae.diagnostics.activity import Activity, active_units, activity
from ppvae.diagnostics.annealing import Annealed, anneal
from ppvae.diagnostics.calibration import Calibration, calibrate
from ppvae.diagnostics.chains import Chains, posterior_chains
from ppvae.diagnostics.coverage import Overlap, overlap
from ppvae.diagnostics.estimator import Estimator
from ppvae.diagnostics.estimators import Estimators, compare_estimators
from ppvae.diagnostics.evidence import Evidence, log_evidence, log_weights
from ppvae.diagnostics.exact import ExactPosterior, exact_posterior
from ppvae.diagnostics.gaps import Gaps, gaps
from ppvae.diagnostics.noise import Noise, noise
from ppvae.diagnostics.posterior import Embedding, embed
from ppvae.diagnostics.predictive import Predictive, check
from ppvae.diagnostics.prior_gain import PriorGain, prior_gain
from ppvae.diagnostics.reliability import (
    Curve,
    Reliability,
    bound_curve,
    importance_weights,
    reliability,
)
from ppvae.diagnostics.sandwich import Sandwich, sandwich
from ppvae.diagnostics.simulation import simulate
from ppvae.diagnostics.subject import subject
from ppvae.diagnostics.surgery import Surgery, surgery
from ppvae.diagnostics.terms import Decomposition, decompose

__all__ = [
    "Activity",
    "Annealed",
    "Calibration",
    "Chains",
    "Curve",
    "Decomposition",
    "Embedding",
    "Estimator",
    "Estimators",
    "Evidence",
    "ExactPosterior",
    "Gaps",
    "Noise",
    "Overlap",
    "Predictive",
    "PriorGain",
    "Reliability",
    "Sandwich",
    "Surgery",
    "active_units",
    "activity",
    "anneal",
    "bound_curve",
    "calibrate",
    "check",
    "compare_estimators",
    "decompose",
    "embed",
    "exact_posterior",
    "gaps",
    "importance_weights",
    "log_evidence",
    "log_weights",
    "noise",
    "overlap",
    "posterior_chains",
    "prior_gain",
    "reliability",
    "sandwich",
    "simulate",
    "subject",
    "surgery",
]
