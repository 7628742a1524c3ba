"""What are the terms of the bound, and are the latents used?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ppvae.diagnostics.answer import Answer, Attempts, Deficit, Picture, Row, metric
from ppvae.diagnostics.bound.activity import THRESHOLD, Activity, activity
from ppvae.diagnostics.bound.alt_text import kl_by_dimension_alt
from ppvae.diagnostics.bound.elbo_surgery import Surgery, surgery
from ppvae.diagnostics.bound.embedding import embed
from ppvae.diagnostics.bound.prior_gain import PriorGain, prior_gain
from ppvae.diagnostics.bound.terms import Decomposition, decompose
from ppvae.diagnostics.context import Context
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.diagnostics.shared.wording import decimals, plus_minus, with_error
from ppvae.errors import InputError
from ppvae.programs.sites import dimension_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWS = 20_000
"""Minimum number of draws for the terms, over data and repetitions."""


@dataclass(frozen=True, repr=False)
class BoundAnswer(Answer):
    """The terms of the bound, and the use of the latents; ``None`` where refused.

    Attributes:
        terms: reconstruction and KL.
        activity: which latent dimensions vary with x.
        surgery: the parts of the KL.
        prior_gain: the gain of another prior.
        is_continuous: whether x has a density.
        is_climbed: whether the fit maximized the ELBO, whose terms these are.
        is_mixed: whether x has columns of several kinds, whose bits have no mean per dimension.
    """

    terms: Decomposition | None
    activity: Activity | None
    surgery: Surgery | None
    prior_gain: PriorGain | None
    is_continuous: bool
    is_climbed: bool = True
    is_mixed: bool = False

    question = "What are the terms of the bound, and are the latents used?"

    @property
    def bits_per_dim(self) -> Estimate | None:
        """Bits per dimension of x; ``None`` if its dimensions are of several kinds."""
        return None if self.terms is None or self.is_mixed else self.terms.bits_per_dim

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Terms, activity, surgery and the gain of another prior."""
        metrics: dict[str, Any] = {}
        if self.terms is not None:
            metrics |= _terms_metrics(self.terms, self.bits_per_dim)
        if self.activity is not None:
            metrics |= {
                "active_units": self.activity.active,
                "latent_dimensions": self.activity.sizes,
                "active_units_by_threshold": [
                    {"threshold": threshold, "active_units": counts}
                    for threshold, counts in self.activity.sensitivity.items()
                ],
            }
        if self.surgery is not None:
            parts = {key: value for key, _, value in _parts(self.surgery)}
            metrics |= {key: metric(value) for key, value in parts.items() if value is not None}
            metrics["mutual_information_ceiling"] = self.surgery.ceiling
            metrics["mutual_information_is_capped"] = self.surgery.is_capped
        if self.prior_gain is not None:
            metrics["prior_gain"] = metric(self.prior_gain)
            metrics["prior_gain_components"] = self.prior_gain.components
            metrics["prior_gain_fitted_codes"] = self.prior_gain.fitted
        return metrics

    @property
    def rows(self) -> tuple[Row, ...]:
        """Terms, activity, surgery and the gain of another prior."""
        rows: list[Row] = []
        if self.terms is not None:
            rows += _terms_rows(self.terms, self.bits_per_dim, is_continuous=self.is_continuous)
        if self.terms is not None:
            rows += _latents_rows(self.terms)
        if self.activity is not None:
            rows += _activity_rows(self.activity)
        if self.surgery is not None:
            rows += _surgery_rows(self.surgery)
        if self.prior_gain is not None:
            count = self.prior_gain.components
            note = (
                f"held out: a mixture of {count} normals"
                if count
                else "no mixture of normals is better than the prior"
            )
            rows.append(("gain of another prior", with_error(self.prior_gain), note))
        return tuple(rows)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The KL by dimension, and its parts."""
        pictures = []
        if self.surgery is not None:
            pictures.append(_surgery_picture(self.surgery))
        if self.terms is not None and self.terms.kl_by_dimension:
            pictures.append(_dimensions_picture(self.terms, self.activity))
        return tuple(pictures)

    @property
    def deficits(self) -> tuple[Deficit, ...]:
        """The gain of another prior with the others held fixed, if the fit maximized the ELBO."""
        gain = self.prior_gain
        if gain is None or not self.is_climbed:
            return ()
        remedy = "a learned prior: `prior='MixtureOfNormals'`, `'VampPrior'` or `'FlowPrior'`"
        held = gain.estimate
        return (Deficit("prior", held.mean, held.standard_error, remedy, held=held),)

    def sentences(self, _answers: Iterable[Answer], /) -> tuple[str, ...]:
        """The bound and its terms; the effective latents, unless the posterior has collapsed."""
        sentences = [] if self.terms is None else [_terms_sentence(self.terms)]
        return (*sentences, *_latents_sentences(self.terms, self.activity))


def ask(context: Context) -> BoundAnswer:
    """Measure the terms of the bound and the use of its latents."""
    few, attempt = context.some(context.effort.rows), Attempts()
    pair, audit = context.pair, context.audit
    common: dict[str, Any] = {"seed": context.seed, "device": context.device}

    def measure_terms() -> Decomposition:
        with context.progress("terms of the bound", len(few)) as count:
            draws = max(2, -(-DRAWS // len(few)))
            return decompose(pair, audit, few, draws=draws, on_rows=count, **common)

    def measure_surgery() -> Surgery:
        with context.progress("surgery of the KL", 2 * len(few)) as count:
            return surgery(pair, audit, few, on_rows=count, **common)

    def measure_prior_gain() -> PriorGain:
        train = context.some_of_training(context.effort.rows)
        if train is None:
            raise InputError("it needs training data, to fit it to")
        with context.progress("another prior", len(train) + len(few)) as count:
            codes = context.effort.prior_codes
            return prior_gain(pair, audit, train, few, codes=codes, on_rows=count, **common)

    terms = attempt("terms", measure_terms)
    moves = attempt("activity", lambda: activity(embed(pair, audit, few, device=context.device)))
    parts = gain = None
    if audit.is_bound:
        parts = attempt("surgery", measure_surgery)
        if parts is not None and parts.undivided:
            attempt.refusals["total correlation"] = parts.undivided
        gain = attempt("another prior", measure_prior_gain)
    return BoundAnswer(
        attempt.refusals, terms, moves, parts, gain, context.is_continuous,
        is_climbed=context.weighed == 1, is_mixed=context.is_mixed,
    )  # fmt: skip


def _terms_metrics(terms: Decomposition, bits_per_dim: Estimate | None) -> dict[str, Any]:
    estimates = {
        "elbo": terms.elbo, "rate": terms.rate, "distortion": terms.distortion,
        "bits_per_dim": bits_per_dim,
    }  # fmt: skip
    return {name: metric(value) for name, value in estimates.items() if value is not None} | {
        "draws": terms.draws,
        "kl": {site: float(kl.mean()) for site, kl in terms.kl.items()},
        "exact_kl": sorted(terms.exact),
        "kl_by_dimension": {
            site: kl.mean(0).tolist() for site, kl in terms.kl_by_dimension.items()
        },
        "effective_latents": terms.effective_latents,
        "effective_latents_by_site": terms.effective_by_site,
    }


def _terms_rows(
    terms: Decomposition, bits_per_dim: Estimate | None, *, is_continuous: bool
) -> list[Row]:
    rows: list[Row] = []
    if terms.elbo is not None:
        rows.append(("bound (elbo)", with_error(terms.elbo), ""))
    rows.append(("distortion", with_error(terms.distortion), "-E_q[log p(x | z)]"))
    for site, kl in terms.kl.items():
        error = float(kl.std() / len(kl) ** 0.5) if len(kl) > 1 else None
        how = "closed form" if site in terms.exact else "Monte Carlo"
        rows.append((f"rate: KL of {site}", plus_minus(float(kl.mean()), error), how))
    if bits_per_dim is not None:
        note = "of a density, in the unit of x" if is_continuous else ""
        rows.append(("bits per dimension", with_error(bits_per_dim, 4), note))
    return rows


def _terms_sentence(terms: Decomposition) -> str:
    if terms.elbo is None or terms.rate is None:
        return (
            "The guide is a point mass: there is no bound, and only log p(x), by annealing, says "
            "how good the model is."
        )
    return (
        f"The bound is {with_error(terms.elbo)} nats per datum: reconstruction "
        f"{-terms.distortion.mean:.2f}, KL {terms.rate.mean:.2f}."
    )


def _latents_sentences(terms: Decomposition | None, activity: Activity | None) -> list[str]:
    if activity is not None and activity.collapsed:
        return []  # the verdict begins with it
    if terms is not None and terms.effective_latents is not None:
        size = sum(kl.shape[1] for kl in terms.kl_by_dimension.values())
        return [f"The KL is spread over {terms.effective_latents:.1f} effective latents of {size}."]
    if activity is None:
        return []
    counts = [f"{n} of {activity.sizes[site]} of {site}" for site, n in activity.active.items()]
    return [f"Active units: {', '.join(counts)} (variance of the mean above {THRESHOLD})."]


def _latents_rows(terms: Decomposition) -> list[Row]:
    rows = [
        (
            f"effective latents of {site}",
            f"{count:.1f} of {terms.kl_by_dimension[site].shape[1]}",
            "exp of the entropy of the KL's shares",
        )
        for site, count in terms.effective_by_site.items()
    ]
    if len(rows) > 1 and terms.effective_latents is not None:
        rows.append(("effective latents, all sites", f"{terms.effective_latents:.1f}", ""))
    return rows


def _activity_rows(activity: Activity) -> list[Row]:
    return [
        (
            f"active units of {site}",
            f"{active} of {activity.sizes[site]}",
            ", ".join(f"{c[site]} at {t:g}" for t, c in activity.sensitivity.items()),
        )
        for site, active in activity.active.items()
    ]


def _parts(surgery: Surgery) -> tuple[tuple[str, str, Any], ...]:
    """Key, label and estimate of each part of the KL."""
    return (
        ("mutual_information", "mutual information of x and z", surgery.mutual_information),
        ("marginal_kl", "KL of the aggregate to the prior", surgery.marginal_kl),
        ("total_correlation", "  total correlation", surgery.total_correlation),
        ("dimension_wise_kl", "  dimension-wise KL", surgery.dimension_wise_kl),
    )


def _surgery_rows(surgery: Surgery) -> list[Row]:
    notes = {}
    if surgery.is_capped:
        notes["mutual_information"] = f"capped near log N = {surgery.ceiling:.2f}"
        notes["marginal_kl"] = "overstated"
    return [
        (label, with_error(value), notes.get(key, ""))
        for key, label, value in _parts(surgery)
        if value is not None
    ]


def _surgery_picture(surgery: Surgery) -> Picture:
    terms = {"mutual information": surgery.mutual_information}
    if surgery.total_correlation is None or surgery.dimension_wise_kl is None:
        terms["aggregate KL"] = surgery.marginal_kl
    else:
        terms["total correlation"] = surgery.total_correlation
        terms["dimension-wise KL"] = surgery.dimension_wise_kl

    def draw() -> "Figure":
        from ppvae.diagnostics.bound.figures import draw_surgery

        return draw_surgery(
            {name: (each.mean, each.standard_error) for name, each in terms.items()},
            capped=["mutual information"] if surgery.is_capped else [],
        )

    alt = (
        "Bars: the parts of the KL, such as the mutual information of data and codes: mutual "
        f"information {decimals(surgery.mutual_information.mean)}, KL of the aggregate to the "
        f"prior {decimals(surgery.marginal_kl.mean)} nats."
    )
    return Picture("surgery", alt, draw)


def _dimensions_picture(terms: Decomposition, activity: Activity | None) -> Picture:
    """The KL of each dimension next to the variance of its mean, for all sites."""
    kl_of = {site: kl.mean(0).numpy() for site, kl in terms.kl_by_dimension.items()}
    moves = {} if activity is None else activity.variance
    variance = None
    if all(site in moves and len(moves[site]) == len(values) for site, values in kl_of.items()):
        variance = np.concatenate([moves[site].numpy() for site in kl_of])

    def draw() -> "Figure":
        from ppvae.diagnostics.bound.figures import draw_kl_by_dimension

        names = dimension_names({site: len(values) for site, values in kl_of.items()})
        return draw_kl_by_dimension(np.concatenate(list(kl_of.values())), variance, names=names)

    alt = kl_by_dimension_alt(kl_of, has_variance=variance is not None)
    return Picture("kl_by_dimension", alt, draw)
