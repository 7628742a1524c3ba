"""What is in the bound, and is the latent used?"""

from typing import Any

import numpy as np

from ppvae.diagnostics.activity import Activity, activity
from ppvae.diagnostics.diagnosis.case import Case
from ppvae.diagnostics.diagnosis.finding import Answers, Finding
from ppvae.diagnostics.posterior import embed
from ppvae.diagnostics.prior_gain import prior_gain
from ppvae.diagnostics.surgery import Surgery, surgery
from ppvae.diagnostics.terms import Decomposition, decompose
from ppvae.programs.sites import dimension_names

__all__ = ["ask"]

DRAWS = 20_000
"""Least number of draws behind the terms, data and repetitions together."""


def ask(case: Case) -> Finding:
    """Take the bound apart; look at the latents it speaks of."""
    answers = Answers("What is in the bound, and is the latent used?")
    few = case.some(case.effort.rows)
    common: dict[str, Any] = {"seed": case.seed, "device": case.device}
    with case.progress("terms of the bound", len(few)) as count, answers.trying("terms"):
        draws = max(2, -(-DRAWS // len(few)))
        terms = decompose(case.pair, case.facts, few, draws=draws, on_rows=count, **common)
        _terms(answers, terms, is_continuous=case.is_continuous)
    with answers.trying("activity"):
        found = activity(embed(case.pair, case.facts, few, device=case.device))
        _activity(answers, found)
    if case.facts.is_bound:
        with case.progress("surgery of the KL", 2 * len(few)) as count, answers.trying("surgery"):
            parts = surgery(case.pair, case.facts, few, on_rows=count, **common)
            _surgery(answers, parts)
        _prior(case, answers)
    _picture(answers)
    return answers.finding()


def _terms(answers: Answers, terms: Decomposition, *, is_continuous: bool) -> None:
    answers.result("terms", terms)
    for name, figure in (
        ("elbo", terms.elbo), ("rate", terms.rate), ("distortion", terms.distortion),
        ("bits_per_dim", terms.bits_per_dim),
    ):  # fmt: skip
        if figure is not None:
            answers.figure(name, figure.mean, figure.standard_error)
    answers.figures["draws"] = terms.draws
    answers.figures["kl"] = {site: float(kl.mean()) for site, kl in terms.kl.items()}
    answers.figures["exact_kl"] = sorted(terms.exact)
    answers.figures["kl_by_dimension"] = {
        site: kl.mean(0).tolist() for site, kl in terms.kl_by_dimension.items()
    }
    if terms.elbo is not None:
        answers.row("bound (elbo)", terms.elbo.mean, terms.elbo.standard_error)
    answers.row(
        "distortion", terms.distortion.mean, terms.distortion.standard_error, "-E_q[log p(x | z)]"
    )
    for site, kl in terms.kl.items():
        how = "closed form" if site in terms.exact else "Monte Carlo"
        error = float(kl.std() / len(kl) ** 0.5) if len(kl) > 1 else None
        answers.row(f"rate: KL of {site}", float(kl.mean()), error, how)
    if terms.bits_per_dim is not None:
        answers.row(
            "bits per dimension", terms.bits_per_dim.mean, terms.bits_per_dim.standard_error,
            "of a density, in the unit of x" if is_continuous else "", digits=4,
        )  # fmt: skip


def _activity(answers: Answers, found: Activity) -> None:
    answers.result("activity", found)
    answers.figures["active_units"] = found.active
    answers.figures["latent_dimensions"] = found.sizes
    answers.figures["active_units_by_threshold"] = {
        str(threshold): counts for threshold, counts in found.sensitivity.items()
    }
    for site, active in found.active.items():
        by = ", ".join(f"{c[site]} at {t:g}" for t, c in found.sensitivity.items())
        answers.rows.append((f"active units of {site}", f"{active} of {found.sizes[site]}", by))


def _surgery(answers: Answers, parts: Surgery) -> None:
    answers.result("surgery", parts)
    capped = f"capped near log N = {parts.ceiling:.2f}" if parts.is_capped else ""
    named = {
        "mutual information of x and z": (parts.mutual_information, capped),
        "KL of the aggregate to the prior": (parts.marginal_kl, "overstated" if capped else ""),
        "  total correlation": (parts.total_correlation, ""),
        "  dimension-wise KL": (parts.dimension_wise_kl, ""),
    }
    for name, (figure, note) in named.items():
        if figure is not None:
            answers.figure(name.strip().replace(" ", "_"), figure.mean, figure.standard_error)
            answers.row(name, figure.mean, figure.standard_error, note)
    answers.figures["mutual_information_ceiling"] = parts.ceiling
    answers.figures["mutual_information_is_capped"] = parts.is_capped
    if parts.undivided:
        answers.refusals["total correlation"] = parts.undivided

    def draw() -> Any:
        from ppvae import plots

        terms = {"mutual information": parts.mutual_information}
        if parts.total_correlation is None or parts.dimension_wise_kl is None:
            terms["aggregate KL"] = parts.marginal_kl
        else:
            terms["total correlation"] = parts.total_correlation
            terms["dimension-wise KL"] = parts.dimension_wise_kl
        return plots.surgery(
            {name: (figure.mean, figure.standard_error) for name, figure in terms.items()},
            capped=["mutual information"] if parts.is_capped else [],
        )

    answers.pictures["surgery"] = draw


def _prior(case: Case, answers: Answers) -> None:
    train = case.some_of_training(case.effort.rows)
    if train is None:
        answers.refusals["another prior"] = "it takes training data beside these, to fit it to"
        return
    few = case.some(case.effort.rows)
    with (
        case.progress("another prior", len(train) + len(few)) as count,
        answers.trying("another prior"),
    ):
        gain = prior_gain(
            case.pair, case.facts, train, few, on_rows=count, seed=case.seed, device=case.device
        )
        answers.result("prior_gain", gain)
        answers.figure("prior_gain", gain.mean, gain.standard_error)
        answers.figures["prior_gain_components"] = gain.components
        answers.row(
            "gain of another prior", gain.mean, gain.standard_error,
            f"held out: a mixture of {gain.components} normals",
        )  # fmt: skip


def _picture(answers: Answers) -> None:
    """The KL of each dimension beside the variance of its mean, all sites side by side."""
    terms, found = answers.results.get("terms"), answers.results.get("activity")
    if terms is None or not terms.kl_by_dimension:
        return
    sites = list(terms.kl_by_dimension)
    kl_of = {site: terms.kl_by_dimension[site].mean(0).numpy() for site in sites}
    kl = np.concatenate([kl_of[site] for site in sites])
    names = dimension_names({site: len(values) for site, values in kl_of.items()})
    moves = {} if found is None else found.variance
    variance = None
    if all(site in moves and len(moves[site]) == len(kl_of[site]) for site in sites):
        variance = np.concatenate([moves[site].numpy() for site in sites])

    def draw() -> Any:
        from ppvae import plots

        return plots.kl_by_dimension(kl, variance, names=names)

    answers.pictures["kl_by_dimension"] = draw
