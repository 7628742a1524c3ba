"""What is log p(x)?

There are four estimates: exact, if the program is linear and Gaussian; by importance sampling, for
every datum, with more samples for some; by annealing, for a few, in case the guide is a poor
proposal; and from both sides on data simulated from the model, which bounds the error of annealing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ppvae.diagnostics.answer import (
    Answer,
    Attempts,
    Picture,
    Row,
    is_noise,
    is_significant,
    metric,
)
from ppvae.diagnostics.context import Context
from ppvae.diagnostics.evidence.annealing import Annealed, anneal
from ppvae.diagnostics.evidence.curve import Curve, Rise, bound_curve, rise
from ppvae.diagnostics.evidence.exact import GaussianPosterior, exact_posterior
from ppvae.diagnostics.evidence.hmc import Start
from ppvae.diagnostics.evidence.importance_sampling import Evidence
from ppvae.diagnostics.evidence.sandwich import Sandwich, sandwich
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.diagnostics.shared.wording import decimals, with_error
from ppvae.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class EvidenceAnswer(Answer):
    """Estimates of log p(x); ``None`` where there is none.

    Attributes:
        log_p_name: name of what is estimated: log p(x), or that with or given y.
        exact: in closed form.
        sampled: by importance sampling.
        curve: the bound against the number of importance samples, for the first data.
        curve_rows: number of data of the curve.
        further: the gain of more samples for the data of the curve; ``None`` if there are no more.
        annealed: by annealing, for the first data.
        start: where chains start.
        sandwich: annealing from both sides, on simulated data.
    """

    log_p_name: str
    exact: GaussianPosterior | None
    sampled: Evidence | None
    curve: Curve | None
    curve_rows: int
    further: Rise | None
    annealed: Annealed | None
    start: Start
    sandwich: Sandwich | None

    deficits = ()

    @property
    def question(self) -> str:
        """The question."""
        return f"What is {self.log_p_name}?"

    @property
    def log_p(self) -> Estimate | None:
        """Log p(x) by importance sampling, with the gain of further samples for some data."""
        if self.sampled is None:
            return None
        log_p, further = self.sampled.log_p, self.further
        return Estimate.of(log_p) if further is None else further.added_to(log_p)

    @property
    def missed(self) -> Estimate | None:
        """Log p(x) by annealing minus that of the most importance samples, on the same data."""
        if self.annealed is None or self.sampled is None:
            return None
        found = self.sampled.log_p if self.further is None else self.further.bound
        count = min(len(self.annealed.log_p), len(found))
        return Estimate.of(self.annealed.log_p[:count] - found[:count])

    @property
    def samples(self) -> int | None:
        """K of the bound in `log_p`."""
        most = self.sampled if self.further is None else self.further
        return None if most is None else most.samples

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Each estimate, and the curve."""
        metrics: dict[str, Any] = {}
        if self.exact is not None:
            metrics["exact"] = metric(Estimate.of(self.exact.log_p))
        if self.sampled is not None:
            metrics |= {
                "importance_sampled": metric(self.sampled),
                "samples": self.sampled.samples,
                "rows": len(self.sampled.log_p),
            }
        if self.log_p is not None:
            metrics["log_p"] = metric(self.log_p)
        if self.further is not None:
            some = {"samples": self.further.samples, "rows": len(self.further.gain)}
            metrics["further"] = metric(self.further) | some
        if self.curve is not None:
            metrics["curve"] = {
                "samples": list(self.curve.counts), "bound": self.curve.bound.tolist(),
                "standard_error": self.curve.standard_error.tolist(), "rows": self.curve_rows,
            }  # fmt: skip
        if self.annealed is not None:
            metrics |= {
                "annealed": metric(self.annealed),
                "annealed_from": self.start,
                "annealed_rows": len(self.annealed.log_p),
            }
        if self.missed is not None:
            metrics["annealed_less_importance_sampled"] = metric(self.missed) | {
                "samples": self.samples
            }
        if self.sandwich is not None:
            metrics["sandwich_gap"] = metric(self.sandwich)
        return metrics

    @property
    def rows(self) -> tuple[Row, ...]:
        """Each estimate."""
        rows: list[Row] = []
        if self.exact is not None:
            exact = Estimate.of(self.exact.log_p)
            note = f"{len(self.exact.log_p):,} data"
            rows.append(("exact, linear and Gaussian", with_error(exact), note))
        if self.sampled is not None:
            note = f"{len(self.sampled.log_p):,} data; a lower bound in expectation"
            name, elbo = f"importance sampled, K = {self.sampled.samples:,}", self.sampled.elbo
            rows.append((name, with_error(self.sampled), note))
            rows.append(("  its bound, K = 1", with_error(Estimate.of(elbo)), "the same draws"))
        if self.further is not None and self.log_p is not None:
            more, note = (
                f"K = {self.further.samples:,}",
                f"on {len(self.further.gain):,} of the data",
            )
            rows.append((f"  gain of {more}", with_error(self.further, 3), note))
            rows.append((f"importance sampled, {more}", with_error(self.log_p), "the sum"))
        if self.annealed is not None:
            note = f"{len(self.annealed.log_p):,} data; a lower bound in expectation"
            rows.append((f"annealed from the {self.start}", with_error(self.annealed), note))
        if self.missed is not None:
            name = f"  minus importance sampled, K = {self.samples:,}"
            rows.append((name, with_error(self.missed), "on the same data"))
        if self.sandwich is not None:
            note = "upper minus lower bound: the error of annealing"
            rows.append(("sandwich on simulated data", with_error(self.sandwich), note))
        return tuple(rows)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The bound against the number of samples, and annealing from both sides."""
        pictures = [self._curve_picture(self.curve)] if self.curve is not None else []
        if self.curve is not None and self.sandwich is not None:
            pictures.append(self._sandwich_picture(self.sandwich))
        return tuple(pictures)

    def sentences(self, _answers: Iterable[Answer], /) -> tuple[str, ...]:
        """Log p(x), what importance sampling misses, and the error of annealing."""
        sentences = []
        if self.sampled is not None and self.log_p is not None:
            draws = f"{self.sampled.samples:,} samples per datum, {len(self.sampled.log_p):,} data"
            if self.further is not None:
                draws += f"; {self.further.samples:,} for {len(self.further.gain):,} of them"
            sentences.append(
                f"{self.log_p_name} is {with_error(self.log_p)}, by importance sampling ({draws})."
            )
        missed = self.missed
        if self.exact is not None:
            sentences.append(
                f"The program is linear and Gaussian: {self.log_p_name} is known exactly."
            )
        elif missed is not None and is_significant(missed.mean, missed.standard_error):
            sentences.append(
                f"Importance sampling with K = {self.samples:,} misses {with_error(missed)} nats "
                f"of {self.log_p_name} that annealing finds on the same data: add them, or take "
                "more `samples`."
            )
        if self.sandwich is not None:
            gap = self.sandwich
            near = "within noise" if is_noise(gap.mean, gap.standard_error) else "closely"
            opening = (
                "Annealing may be inaccurate: its two bounds differ by more than noise"
                if is_significant(gap.mean, gap.standard_error)
                else f"Annealing is reliable: its two bounds agree {near}"
            )
            sentences.append(
                f"{opening} on data simulated from the model (upper minus lower bound "
                f"{with_error(gap)} nats)."
            )
        return tuple(sentences)

    def _curve_picture(self, curve: Curve) -> Picture:
        # The same data throughout: other data would be at another level.
        count = self.curve_rows
        references: dict[str, tuple[float, float | None]] = {}
        if self.exact is not None and len(self.exact.log_p) >= count:
            known = float(self.exact.log_p[:count].mean())
            references[f"exact {self.log_p_name}"] = (known, None)

        def draw() -> "Figure":
            from ppvae.diagnostics.evidence.figures import draw_bound_curve

            bound, error = curve.bound.numpy(), curve.standard_error.numpy()
            return draw_bound_curve(curve.counts, bound, error, references=references)

        low, high = decimals(float(curve.bound[0])), decimals(float(curve.bound[-1]))
        alt = (
            f"The bound of K importance samples, rising with K towards {self.log_p_name}: from "
            f"{low} nats at {curve.counts[0]} to {high} at {curve.counts[-1]}."
        )
        return Picture("bound_curve", alt, draw)

    def _sandwich_picture(self, both: Sandwich) -> Picture:
        def draw() -> "Figure":
            from ppvae.diagnostics.evidence.figures import draw_sandwich

            return draw_sandwich(both.lower.numpy(), both.upper.numpy())

        alt = (
            f"Lower and upper bounds on {self.log_p_name} of simulated data, by annealing: upper "
            f"minus lower bound {decimals(both.mean)} nats on average."
        )
        return Picture("sandwich", alt, draw)


def ask(context: Context) -> EvidenceAnswer:
    """Estimate log p(x) in every way that the programs allow."""
    effort, attempt = context.effort, Attempts()
    pair, audit, log_p = context.pair, context.audit, context.log_p_name
    many, few = context.some(effort.evidence_rows), context.some(effort.annealed_rows)
    common: dict[str, Any] = {"seed": context.seed, "device": context.device}
    # From the guide, if it has a density: fitted programs then need a fraction of the
    # temperatures. The sandwich measures the error in either case.
    start: Start = "guide" if audit.is_bound else "prior"
    how = common | {"temperatures": effort.temperatures, "chains": effort.chains, "start": start}

    def sample() -> Evidence:
        if isinstance(context.evidence, str):
            raise InputError(context.evidence)
        return context.evidence

    def walk() -> Annealed:
        with context.progress("annealing", len(few)) as count:
            return anneal(pair, audit, few, on_rows=count, **how)

    def walk_both_ways() -> Sandwich:
        with context.progress("annealing simulated data", len(few)) as count:
            return sandwich(pair, audit, few, count=len(few), on_rows=count, **how)

    exact = None
    if audit.is_local:
        exact = attempt(f"exact {log_p}", lambda: exact_posterior(pair, audit, many, **common))
    sampled = attempt("importance sampling", sample)
    weights = context.weights
    curve = further = None
    if isinstance(weights, torch.Tensor):
        curve = bound_curve(weights)
        if effort.samples < weights.shape[1]:
            further = rise(weights, effort.samples, weights.shape[1])
    annealed = attempt("annealing", walk)
    both = attempt("sandwich", walk_both_ways)
    return EvidenceAnswer(
        attempt.refusals, log_p, exact, sampled, curve, len(weights), further, annealed, start, both
    )
