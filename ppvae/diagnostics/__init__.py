"""Diagnostics of a fitted model and guide: what was learned, and how reliable the results are.

One folder per question, which can be asked of any two Pyro programs and any data (`subject`). A
folder holds the computation, its figures, and its `answer` for a run, which `questions` collects:

* `bound`: what are the terms of the bound, and are the latents used?
* `evidence`: what is log p(x)?
* `baselines`: is log p(x) better than that of simple models?
* `gap`: does the gap between them come from the guide's family or the encoder?
* `trust`: can the guide be trusted, datum by datum?
* `model`: would the model generate such data?
* `training`: did the fit end too early, or overfit?
* `estimator`: which gradient estimator is best?
* `deficits`: what would another decoder, likelihood, prior, guide or encoder gain, or more
  training?

Shared code is in `shared`. `verdict` draws the conclusion from all answers.
"""

from ppvae.diagnostics.baselines.comparing import compare_baselines
from ppvae.diagnostics.baselines.comparison import Baselines, Comparison
from ppvae.diagnostics.bound.activity import Activity, active_units, activity
from ppvae.diagnostics.bound.coverage import Overlap, overlap
from ppvae.diagnostics.bound.elbo_surgery import Surgery, surgery
from ppvae.diagnostics.bound.embedding import Embedding, embed
from ppvae.diagnostics.bound.prior_gain import PriorGain, prior_gain
from ppvae.diagnostics.bound.terms import Decomposition, decompose
from ppvae.diagnostics.estimator.estimators import Estimators, compare_estimators
from ppvae.diagnostics.estimator.noise import Noise, noise
from ppvae.diagnostics.estimator.one_estimator import Estimator
from ppvae.diagnostics.evidence.annealing import Annealed, anneal
from ppvae.diagnostics.evidence.curve import Curve, bound_curve
from ppvae.diagnostics.evidence.exact import GaussianPosterior, exact_posterior
from ppvae.diagnostics.evidence.importance_sampling import Evidence, log_evidence, log_weights
from ppvae.diagnostics.evidence.log_weights import importance_weights
from ppvae.diagnostics.evidence.sandwich import Sandwich, sandwich
from ppvae.diagnostics.gap.gaps import Gaps, gaps
from ppvae.diagnostics.model.predictive import Predictive, check
from ppvae.diagnostics.shared.simulation import simulate
from ppvae.diagnostics.subject import subject
from ppvae.diagnostics.trust.calibration import Calibration, calibrate
from ppvae.diagnostics.trust.chains import Chains, posterior_chains
from ppvae.diagnostics.trust.pareto_k import Reliability, reliability

__all__ = [
    "Activity",
    "Annealed",
    "Baselines",
    "Calibration",
    "Chains",
    "Comparison",
    "Curve",
    "Decomposition",
    "Embedding",
    "Estimator",
    "Estimators",
    "Evidence",
    "Gaps",
    "GaussianPosterior",
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
    "compare_baselines",
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
