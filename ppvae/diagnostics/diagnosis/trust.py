"""Can the guide be trusted, datum by datum?"""

from typing import Any

import torch

from ppvae.diagnostics.calibration import JOINT, Calibration, calibrate
from ppvae.diagnostics.chains import Chains, posterior_chains
from ppvae.diagnostics.diagnosis.case import Case
from ppvae.diagnostics.diagnosis.finding import Answers, Finding
from ppvae.diagnostics.reliability import Reliability, reliability
from ppvae.programs.generation import reconstruct

__all__ = ["ask"]

WORST = 8
"""How many of the worst data are shown."""


def ask(case: Case) -> Finding:
    """Weigh its draws, rank latents of the model among them, and sample the posterior itself."""
    answers = Answers("Can the guide be trusted, datum by datum?")
    weights = case.weights
    if isinstance(weights, torch.Tensor):
        with answers.trying("Pareto k-hat"):
            _reliability(case, answers, reliability(weights))
    else:
        answers.refusals["Pareto k-hat"] = weights
    with (
        case.progress("calibration", case.effort.simulations) as count,
        answers.trying("calibration"),
    ):
        found = calibrate(
            case.pair, case.facts, case.data, simulations=case.effort.simulations, seed=case.seed,
            device=case.device, on_rows=count,
        )  # fmt: skip
        _calibration(answers, found)
    _chains(case, answers)
    return answers.finding()


def _reliability(case: Case, answers: Answers, found: Reliability) -> None:
    answers.result("reliability", found)
    worst = found.worst(WORST)
    answers.figures["pareto_k"] = {
        "threshold": found.threshold, "share_below": found.good, "samples": found.samples,
        "rows": len(found.khat), "largest": float(found.khat.max()),
        "worst_rows": case.order[worst].tolist(), "worst_k": found.khat[worst].tolist(),
    }  # fmt: skip
    answers.figures["effective_sample_size"] = {
        "median": float(found.ess.median()), "smallest": float(found.ess.min()),
    }  # fmt: skip
    answers.rows += [
        (
            f"Pareto k-hat below {found.threshold:.2f}", f"{found.good:.0%}",
            f"of {len(found.khat):,} data, {found.samples:,} draws each",
        ),
        (
            "effective sample size, median", f"{float(found.ess.median()):,.0f}",
            f"smallest {float(found.ess.min()):,.1f}",
        ),
    ]  # fmt: skip

    def draw() -> Any:
        from ppvae import plots

        return plots.reliability(
            found.khat.numpy(), found.ess.numpy(), samples=found.samples, threshold=found.threshold
        )

    answers.pictures["reliability"] = draw
    if not case.facts.supports:
        return
    batch = case.data.take(case.order[worst])
    batch = {name: value.to(case.device) for name, value in batch.items()}
    means, _ = reconstruct(case.pair, case.facts, batch)
    captions = [
        f"#{int(row)}  k {float(k):.2f}"
        for row, k in zip(case.order[worst], found.khat[worst], strict=True)
    ]
    x, rebuilt = batch["x"].cpu().numpy(), means.cpu().numpy()

    def draw_worst() -> Any:
        from ppvae import plots

        return plots.worst_data(x, rebuilt, captions)

    answers.pictures["worst_data"] = draw_worst


def _calibration(answers: Answers, found: Calibration) -> None:
    answers.result("calibration", found)
    answers.figures["calibration"] = {
        "simulations": found.simulations, "draws": found.draws, "p_value": found.p_value,
        "is_calibrated": found.is_calibrated, "verdict": found.verdict,
        "off": {n: s for n, s in zip(found.names, found.shapes, strict=True) if s != "uniform"},
    }  # fmt: skip
    off = sum(shape != "uniform" for shape in found.shapes)
    answers.rows.append(
        (
            "calibrated to the model's posterior", "yes" if found.is_calibrated else "no",
            f"{off} of {len(found.names)} quantities off, {found.simulations:,} simulations",
        )
    )  # fmt: skip

    def draw() -> Any:
        from ppvae import plots

        return plots.calibration(
            found.pit.numpy(), found.names, found.p_values.numpy(),
            joint=[name for name in JOINT if name in found.names],
        )  # fmt: skip

    answers.pictures["calibration"] = draw


def _chains(case: Case, answers: Answers) -> None:
    """NUTS on the median datum, and on the worst ones."""
    effort, found = case.effort, answers.results.get("reliability")
    rows = min(effort.sampled_rows, len(case.data))
    if found is None or not rows:
        answers.refusals["NUTS"] = "it is shown beside a guide whose k-hats choose the data"
        return
    by_khat = found.khat.argsort(descending=True)
    chosen = torch.cat([by_khat[len(by_khat) // 2][None], by_khat[: rows - 1]])[:rows]
    numbers = case.order[chosen]
    batch = {k: v.to(case.device) for k, v in case.data.take(numbers).items()}
    with (
        case.progress("NUTS", rows * 2 * 2 * effort.nuts_draws) as count,
        answers.trying("NUTS"),
    ):
        chains = posterior_chains(
            case.pair, case.facts, batch, draws=effort.nuts_draws, warmup=effort.nuts_draws,
            seed=case.seed, on_draw=count,
        )  # fmt: skip
        _posterior(answers, chains, numbers.tolist(), found.khat[chosen].tolist(), batch)


def _posterior(
    answers: Answers, chains: Chains, numbers: list[int], khats: list[float], batch: Any
) -> None:
    answers.result("chains", chains)
    against = chains.against_guide()
    ratio = against.ratio
    answers.figures["nuts"] = {
        "rows": numbers,
        "largest_rhat": float(chains.rhat.max()),
        "smallest_ess": float(chains.ess.min()),
        "divergences": chains.divergences.tolist(),
        "scale_of_guide_over_posterior": ratio.median(-1).values.tolist(),
        "largest_shift_in_scales": against.shift.abs().max(-1).values.tolist(),
    }
    answers.rows += [
        (
            f"NUTS on row {number}, k-hat {khat:.2f}",
            f"{float(ratio[i].median()):.2f}",
            "guide's scale / posterior's, median; largest shift "
            f"{float(against.shift[i].abs().max()):.1f} scales; "
            f"r-hat {float(chains.rhat[i].max()):.2f}",
        )
        for i, (number, khat) in enumerate(zip(numbers, khats, strict=True))
    ]
    if len(chains.sites) < 2:
        return
    # The two dimensions in which the posterior is the narrowest: what the datum decides.
    first, second = chains.scale.mean(0).argsort()[:2].sort().values.tolist()
    columns = [first, second]
    names = [f"{site}[{index}]" for site, index in (chains.sites[c] for c in columns)]

    def draw() -> Any:
        from ppvae import plots

        return plots.posterior_against_guide(
            chains.draws[..., columns].flatten(1, 2).numpy(),
            chains.guide_loc[:, columns].numpy(),
            chains.guide_scale[:, columns].numpy(),
            names=names,
            titles=[f"row {n}, k {k:.2f}" for n, k in zip(numbers, khats, strict=True)],
            images=batch["x"].cpu().numpy(),
        )

    answers.pictures["posterior"] = draw
