"""Figures of the question, with their alt texts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from ppvae.diagnostics.answer import Picture
from ppvae.diagnostics.shared.wording import as_sentence, decimals
from ppvae.diagnostics.trust.calibration import Calibration
from ppvae.diagnostics.trust.chains import Chains
from ppvae.diagnostics.trust.pareto_k import Reliability
from ppvae.diagnostics.trust.ranks import JOINT
from ppvae.run import Run
from ppvae.run.pictured import columns_of, in_units

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class WorstData:
    """The data with the largest k-hat, the worst first.

    Attributes:
        rows: their row numbers.
        khat: their k-hat.
        x: the data, ``(rows, *shape)``, NaN where nothing was observed; ``None`` if the model does
            not observe x itself.
        rebuilt: their reconstructions, in the same shape.
        run: the run of the data.
    """

    rows: list[int]
    khat: list[float]
    x: Tensor | None
    rebuilt: Tensor | None
    run: Run


@dataclass(frozen=True)
class SampledPosterior:
    """The posterior of a few data by NUTS.

    Attributes:
        rows: which rows of the data they are.
        khat: their k-hat.
        x: the data, ``(rows, *shape)``.
        chains: the draws.
        warmup: warm-up transitions of each chain.
    """

    rows: list[int]
    khat: list[float]
    x: Tensor
    chains: Chains
    warmup: int


def reliability_picture(tails: Reliability) -> Picture:
    """k-hat and effective sample sizes."""

    def draw() -> "Figure":
        from ppvae.diagnostics.trust.pareto_k_figure import draw_reliability

        return draw_reliability(
            tails.khat.numpy(), tails.ess.numpy(), samples=tails.samples, threshold=tails.threshold
        )

    alt = (
        "Pareto k-hat of the data as a histogram, and their effective sample sizes as the share "
        "of data below each: k-hat is below "
        f"{decimals(tails.threshold)} for {tails.good:.0%} of the data, and "
        f"{decimals(float(tails.khat.max()))} at most; the median effective sample size is "
        f"{decimals(float(tails.ess.median()), 0)}."
    )
    return Picture("reliability", alt, draw)


def worst_picture(worst: WorstData, x: Tensor, rebuilt: Tensor) -> Picture:
    """The data with the largest k-hat."""

    def draw() -> "Figure":
        from ppvae import plots

        named = zip(worst.rows, worst.khat, strict=True)
        captions = [f"#{row}  k {khat:.2f}" for row, khat in named]
        columns = columns_of(worst.run)
        data, means = (in_units(worst.run, each) for each in (x, rebuilt))
        return plots.worst_data(data, means, captions, columns=columns)

    alt = (
        "The data with the largest Pareto k-hat, each with its reconstruction: first row "
        f"{worst.rows[0]}, with {decimals(worst.khat[0])}."
    )
    return Picture("worst_data", alt, draw)


def calibration_picture(calibration: Calibration) -> Picture:
    """Ranks of simulated latents."""

    def draw() -> "Figure":
        from ppvae.diagnostics.trust.calibration_figure import draw_calibration

        return draw_calibration(
            calibration.pit.numpy(), calibration.names, calibration.p_values.numpy(),
            joint=[name for name in JOINT if name in calibration.names],
        )  # fmt: skip

    alt = "Ranks of simulated latents among draws of the guide: "
    return Picture("calibration", as_sentence(alt + calibration.verdict), draw)


def posterior_picture(sampled: SampledPosterior) -> Picture:
    """The guide compared with NUTS."""
    chains = sampled.chains
    # The two dimensions with the narrowest posterior, which the datum determines best.
    columns: list[int] = chains.scale.mean(0).argsort()[:2].sort().values.tolist()

    def draw() -> "Figure":
        from ppvae.diagnostics.trust.chains_figure import draw_posterior_against_guide
        from ppvae.plots.arrays import as_images

        named = zip(sampled.rows, sampled.khat, strict=True)
        data = sampled.x.numpy()
        return draw_posterior_against_guide(
            chains.draws[..., columns].flatten(1, 2).numpy(),
            chains.guide_loc[:, columns].numpy(),
            chains.guide_scale[:, columns].numpy(),
            names=[f"{site}[{index}]" for site, index in (chains.sites[c] for c in columns)],
            titles=[f"row {row}, k {khat:.2f}" for row, khat in named],
            images=data if as_images(data, 1) is not None else None,
        )

    rows = ", ".join(str(row) for row in sampled.rows)
    alt = f"Draws of NUTS from the posterior of single data, and the guide's ellipses: rows {rows}."
    return Picture("posterior", alt, draw)
