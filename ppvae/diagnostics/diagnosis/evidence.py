"""What is log p(x)?

Four estimates, each for what it can do: exactly, where the program is linear and Gaussian; by
importance sampling, of every datum; by annealing, of a few, where the guide is no good proposal;
and on data simulated from the model from both sides, which says how far annealing itself is off.
"""

from typing import Any

import torch

from ppvae.diagnostics.annealing import anneal
from ppvae.diagnostics.diagnosis.case import Case
from ppvae.diagnostics.diagnosis.finding import Answers, Finding
from ppvae.diagnostics.evidence import log_evidence
from ppvae.diagnostics.exact import exact_posterior
from ppvae.diagnostics.figures import figure
from ppvae.diagnostics.reliability import Curve, bound_curve
from ppvae.diagnostics.sandwich import sandwich

__all__ = ["ask"]


def ask(case: Case) -> Finding:
    """Estimate log p(x) in every way that these programs allow."""
    answers = Answers(f"What is {case.log_p_name}?")
    answers.result("log_p_name", case.log_p_name)
    _exact(case, answers)
    _importance(case, answers)
    _annealed(case, answers)
    _picture(case, answers)
    return answers.finding()


def _exact(case: Case, answers: Answers) -> None:
    few = case.some(case.effort.evidence_rows)
    if not case.facts.is_local:
        return
    with answers.trying(f"exact {case.log_p_name}"):
        exact = exact_posterior(case.pair, case.facts, few, seed=case.seed, device=case.device)
        if exact is None:
            return
        answers.result("exact", exact)
        error = figure(exact.log_p).standard_error
        answers.figure("exact", exact.mean, error)
        answers.row("exact, linear and Gaussian", exact.mean, error, f"{len(few):,} data")


def _importance(case: Case, answers: Answers) -> None:
    few = case.some(case.effort.evidence_rows)
    samples = case.effort.samples
    with case.progress(case.log_p_name, len(few)) as count, answers.trying("importance sampling"):
        found = log_evidence(
            case.pair, case.facts, few, samples=samples, seed=case.seed, device=case.device,
            on_rows=count,
        )  # fmt: skip
        answers.result("evidence", found)
        answers.figure("importance_sampled", found.mean, found.standard_error)
        answers.figures["samples"] = samples
        answers.figures["rows"] = len(few)
        answers.row(
            f"importance sampled, K = {samples:,}", found.mean, found.standard_error,
            f"{len(few):,} data; a lower bound in expectation",
        )  # fmt: skip
        answers.row(
            "  its bound, K = 1", float(found.elbo.mean()), figure(found.elbo).standard_error,
            "the same draws",
        )  # fmt: skip
    weights = case.weights
    if isinstance(weights, torch.Tensor):
        curve = bound_curve(weights)
        answers.result("curve", curve)
        answers.figures["curve"] = {
            "samples": list(curve.counts), "bound": curve.bound.tolist(),
            "standard_error": curve.standard_error.tolist(), "rows": len(weights),
        }  # fmt: skip


def _annealed(case: Case, answers: Answers) -> None:
    effort = case.effort
    few = case.some(effort.annealed_rows)
    # From the guide, where it has a density: on fitted programs a fraction of the temperatures
    # does what it takes from the prior. How far off it is, the sandwich says in either case.
    start = "guide" if case.facts.is_bound else "prior"
    how: dict[str, Any] = {
        "temperatures": effort.temperatures, "chains": effort.chains, "start": start,
        "seed": case.seed, "device": case.device,
    }  # fmt: skip
    with case.progress("annealing", len(few)) as count, answers.trying("annealing"):
        found = anneal(case.pair, case.facts, few, on_rows=count, **how)
        answers.result("annealed", found)
        answers.figure("annealed", found.mean, found.standard_error)
        answers.figures["annealed_from"] = start
        answers.figures["annealed_rows"] = len(few)
        answers.row(
            f"annealed from the {start}", found.mean, found.standard_error,
            f"{len(few):,} data; a lower bound in expectation",
        )  # fmt: skip
        sampled = answers.results.get("evidence")
        if sampled is not None:
            apart = figure(found.log_p - sampled.log_p[: len(few)])
            answers.result("missed", (apart.mean, apart.standard_error))
            answers.figure("annealed_less_importance_sampled", apart.mean, apart.standard_error)
            answers.row(
                "  less importance sampled", apart.mean, apart.standard_error, "on the same data"
            )
    with case.progress("annealing simulated data", len(few)) as count, answers.trying("sandwich"):
        both = sandwich(case.pair, case.facts, few, count=len(few), on_rows=count, **how)
        answers.result("sandwich", both)
        answers.figure("sandwich_gap", both.mean, both.standard_error)
        answers.row(
            "sandwich on simulated data", both.mean, both.standard_error,
            "upper less lower bound: how far annealing is off",
        )  # fmt: skip


def _picture(case: Case, answers: Answers) -> None:
    curve: Curve | None = answers.results.get("curve")
    if curve is None:
        return
    # The same data throughout: other data would stand at another level for no reason but that.
    count = len(case.weights)
    references: dict[str, tuple[float, float | None]] = {}
    exact = answers.results.get("exact")
    if exact is not None and len(exact.log_p) >= count:
        references[f"exact {case.log_p_name}"] = (float(exact.log_p[:count].mean()), None)

    def draw() -> Any:
        from ppvae import plots

        return plots.bound_curve(
            curve.counts, curve.bound.numpy(), curve.standard_error.numpy(), references=references
        )

    answers.pictures["bound_curve"] = draw
    both = answers.results.get("sandwich")
    if both is not None:

        def draw_both() -> Any:
            from ppvae import plots

            return plots.sandwich(both.lower.numpy(), both.upper.numpy())

        answers.pictures["sandwich"] = draw_both
