"""Numbers to draw, a figure of each kind, and helpers to inspect figures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from ppvae import plots
from ppvae.comparison.bounds.figure import draw_comparison, draw_glance
from ppvae.comparison.held_out.figure import draw_runs
from ppvae.comparison.held_out.result import OneRun, Row
from ppvae.comparison.held_out.statistics import rows_of
from ppvae.diagnostics.bound.figures import draw_kl_by_dimension, draw_surgery
from ppvae.diagnostics.estimator.figure import draw_estimators
from ppvae.diagnostics.evidence.figures import draw_bound_curve, draw_sandwich
from ppvae.diagnostics.gap.figure import draw_gaps
from ppvae.diagnostics.model.figure import draw_predictive
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.diagnostics.trust.calibration_figure import draw_calibration
from ppvae.diagnostics.trust.chains_figure import draw_posterior_against_guide
from ppvae.diagnostics.trust.pareto_k_figure import draw_reliability

type Array = npt.NDArray[np.float64]
type Rows = list[dict[str, float | str | None]]

NATS = "nats per datum"
NAN, INF = float("nan"), float("inf")
LONG = "the first of several names that are far longer than there is room for, and end in $5 or $6"
WIDE = "W" * 60


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def fit(epochs: int = 40, *, point_mass: bool = False, warm_up: int = 0) -> Rows:
    rows: Rows = []
    for epoch in range(1, epochs + 1):
        for split, worse in (("train", 0.0), ("valid", 1.5)):
            reconstruction = -80 - worse - 30 / epoch
            kl = 20 - 5 / epoch
            rows.append(
                {
                    "epoch": epoch,
                    "split": split,
                    "elbo": None if point_mass else reconstruction - kl,
                    "reconstruction": reconstruction,
                    "kl": None if point_mass else kl,
                    "beta": min(1.0, epoch / warm_up) if warm_up else 1.0,
                }
            )
    return rows


def summary(offset: float) -> dict[str, Any]:
    noise = rng()
    steps = np.arange(0, 500, 50)
    return {
        "values": -90 + offset + noise.normal(size=20),
        "gradient_variance": {"encoder": 1e-3, "decoder": 1e-5},
        "snr": {"encoder": 0.5, "decoder": 3.0},
        "ms_per_step": 5.0 + offset,
        "held_out": [-91.0 + offset, -92.0 + offset, -93.0 + offset],
        "curves": [(steps, -100 + steps / 50.0) for _ in range(3)],
    }


IMAGES = rng().random((10, 1, 8, 8))
COLOURED = rng().random((10, 3, 6, 5))
TABLE = rng().normal(size=(10, 7))
KINDS = ("real", "real", "real", "count", "category")
PARTS = plots.Columns(
    ["bill_length_mm", "depth", "mass", "dives", "island"],
    is_mixed=True, kinds=KINDS, levels=[(), (), (), (), ("Biscoe", "Dream", "Torgersen")],
)  # fmt: skip
MIXED = np.column_stack(
    [200 + 9 * rng().normal(size=(10, 3)), rng().poisson(40, 10), rng().integers(0, 3, 10)]
)
COUNTED = plots.Columns([f"gene{i}" for i in range(20)], kinds=["count"] * 20)
GENES = rng().poisson(8, (10, 20)).astype(np.float64)
CODES = rng().normal(size=(60, 5))
CLASSES = np.arange(60) % 10

# A diagnosis on the scale of MNIST: 20 dimensions of which 13 are used, and 400 data.
KL = np.where(np.arange(20) < 13, 3.2 * 0.82 ** np.arange(20), 4e-4)[rng().permutation(20)]
VARIANCE = np.where(KL > 0.01, 1 - np.exp(-2 * KL), 2e-5 * (1 + np.arange(20)))
APPROXIMATION = rng().gamma(2.0, 0.7, size=400) - 0.1
AMORTIZATION = rng().gamma(0.8, 1.6, size=400)
KHAT = 0.25 + 0.22 * rng().standard_t(4, size=400)
ESS = np.clip(5000 * np.exp(-5.5 * KHAT.clip(min=0)), 1, 5000)


def chains(data: int = 4) -> tuple[Array, Array, Array]:
    """Draws of correlated, curved posteriors, and a mean-field guide that is too narrow."""
    centre = rng().normal(size=(data, 1, 2))
    noise = rng().normal(size=(data, 500, 2)) * np.array([0.3, 0.12])
    bent = (
        noise[..., 1] + np.linspace(-0.8, 0.8, data)[:, None] * noise[..., 0] + noise[..., 0] ** 2
    )
    draws = centre + np.stack([noise[..., 0], bent], axis=-1)
    return draws, draws.mean(1) + 0.05, 0.6 * draws.std(1)


def ranks(simulations: int = 300, quantities: int = 5) -> Array:
    """Ranks for a guide that is too narrow in the first dimension and shifted in the second."""
    uniform = rng().random((simulations, quantities))
    uniform[:, 0] = rng().beta(0.5, 0.5, size=simulations)
    uniform[:, 1:2] **= 1.4
    return uniform


def compared_runs() -> tuple[Row, ...]:
    """Three settings on the same rows, one of them with three seeds and a long name."""

    def one(seed: int, shift: float) -> OneRun:
        noise = np.random.default_rng(seed).normal(size=200)
        log_p = torch.from_numpy(20 * rng().normal(size=200) - 90 + shift + noise)
        of = Estimate.of(log_p)
        return OneRun(Path(f"{seed}"), seed, log_p, 500.0, of, of, None, 10_000, 60.0)

    groups = [[one(0, 0.0), one(1, 0.4), one(2, 0.1)], [one(3, -0.4)], [one(4, -2.0)]]
    names = ["digits-20260101-120000-vamp-prior (3 seeds)", "wide", "narrow"]
    return rows_of(groups, names, [{}, {}, {}])


def noise_of_estimators() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, scale in (("Trace_ELBO", 40.0), ("TraceMeanField_ELBO", 9.0), ("PathELBO", 1.5)):
        for particles in (1, 4, 16, 64):
            variance = {"guide.encoder": scale / particles, "model.decoder": 6 * scale / particles}
            rows.append(
                {
                    "name": name,
                    "particles": particles,
                    "variance": variance,
                    "variance_error": {group: 0.1 * v for group, v in variance.items()},
                    "snr": {group: 2 / v**0.5 for group, v in variance.items()},
                    "relative_cost": 1 + 0.4 * particles + 0.01 * scale,
                    "value": -90 - scale / 400 + 0.1 / particles,
                    "value_error": 0.05 / particles**0.5,
                }
            )
    return rows


CAPTIONS = [f"#{512 - 37 * i}  k {0.93 - i / 20:.2f}  gap {4.1 + i / 3:.1f}" for i in range(10)]
LOSSES = [
    ("amortization gap", 1.31, 0.06),
    ("approximation gap", 1.42, 0.05),
    ("generalization: train less test", 0.62, 0.31),
    ("KL of unused dimensions", 0.004, None),
    ("estimator's bias", -0.02, 0.03),
]
REFERENCES: dict[str, tuple[float, float | None]] = {
    "ELBO": (-89.4, 0.06),
    "AIS, lower bound": (-86.5, 0.08),
    "log p(x), exact": (-86.3, None),
}
COUNTS = [1, 5, 10, 50, 100, 500, 1000, 5000]
CURVE = [-86.35 - 3 * k**-0.35 for k in COUNTS]

FIGURES: dict[str, Callable[[], Figure]] = {
    "history": lambda: plots.history(fit(warm_up=10), best_epoch=12),
    "reconstructions": lambda: plots.reconstructions(IMAGES, IMAGES * 0.9),
    "reconstructions of a table": lambda: plots.reconstructions(TABLE, TABLE * 0.9),
    "marginals": lambda: plots.marginals(MIXED, MIXED[::-1] * 1.0, PARTS),
    "marginals of many columns": lambda: plots.marginals(GENES, GENES[::-1], COUNTED),
    "rebuilt columns": lambda: plots.rebuilt_columns(MIXED, MIXED, PARTS),
    "rebuilt counts": lambda: plots.rebuilt_columns(GENES, GENES, COUNTED),
    "pairs": lambda: plots.pairs(MIXED, MIXED, PARTS),
    "reconstructions by name": lambda: plots.reconstructions(MIXED, MIXED, columns=PARTS),
    "walks by name": lambda: plots.interpolation(MIXED.reshape(2, 5, 5), columns=PARTS),
    "samples": lambda: plots.samples(COLOURED),
    "samples of a table": lambda: plots.samples(TABLE),
    "interpolation": lambda: plots.interpolation(IMAGES.reshape(2, 5, 1, 8, 8)),
    "interpolation of a table": lambda: plots.interpolation(TABLE.reshape(2, 5, 7)),
    "latent": lambda: plots.latent(CODES, CLASSES),
    "latent with a covariate": lambda: plots.latent(CODES, CODES[:, 0]),
    "one latent": lambda: plots.latent(CODES[:, :1], CLASSES, prior_circles=True),
    "manifold": lambda: plots.manifold(
        IMAGES[:9].reshape(3, 3, 1, 8, 8), np.array([-1.0, 0.0, 1.0])
    ),
    "manifold of a table": lambda: plots.manifold(
        TABLE[:9].reshape(3, 3, 7), np.array([-1.0, 0.0, 1.0])
    ),
    "budget": lambda: plots.budget(LOSSES),
    "kl_by_dimension": lambda: draw_kl_by_dimension(KL, VARIANCE, error=0.02 + 0.02 * KL),
    "surgery": lambda: draw_surgery(
        {
            "mutual information of data and codes": (18.42, 0.08),
            "total correlation": (2.11, 0.15),
            "dimension-wise KL": (0.37, 0.02),
        },
        capped=["mutual information of data and codes"],
    ),
    "bound_curve": lambda: draw_bound_curve(COUNTS, CURVE, [0.07] * 8, references=REFERENCES),
    "sandwich": lambda: draw_sandwich(-86 + CODES[:, 0], -85.6 + CODES[:, 0] + CODES[:, 1] ** 2),
    "gaps": lambda: draw_gaps(
        APPROXIMATION,
        AMORTIZATION,
        elbo=-89.1,
        log_p=-89.1 + float((APPROXIMATION + AMORTIZATION).mean()),
    ),
    "reliability": lambda: draw_reliability(KHAT, ESS, samples=5000, threshold=0.7),
    "worst_data": lambda: plots.worst_data(IMAGES, IMAGES * 0.9, CAPTIONS),
    "worst_data of a table": lambda: plots.worst_data(TABLE, TABLE * 0.9, CAPTIONS),
    "posterior_against_guide": lambda: draw_posterior_against_guide(
        *chains(), names=["z[3]", "z[7]"], images=IMAGES[:4], titles=CAPTIONS[:4]
    ),
    "calibration": lambda: draw_calibration(
        ranks(),
        ["z[0]", "z[1]", "z[2]", "log p(x, z)", "log p(x | z)"],
        [1e-9, 0.002, 0.6, 0.3, 0.04],
        joint=["log p(x, z)", "log p(x | z)"],
    ),
    "predictive": lambda: draw_predictive(
        {"mean": 0.131, "share of zeros": 0.806, "variance of row sums": 61.0},
        {
            "mean": 0.13 + 0.002 * CODES[:, 0],
            "share of zeros": 0.80 + 0.002 * CODES[:, 1],
            "variance of row sums": 55 + 3 * CODES[:, 2],
        },
        {"mean": 0.41, "share of zeros": 0.003, "variance of row sums": 0.09},
    ),
    "estimators": lambda: draw_estimators(noise_of_estimators()),
    "compare_runs": lambda: draw_runs(compared_runs()),
    "glance_of_bounds": lambda: draw_glance({"one": summary(0), "two": summary(1)}),
    "compare_bounds": lambda: draw_comparison({"one": summary(0), "two": summary(1)}),
}


def panel(figure: Figure, title: str) -> Axes:
    (found,) = [a for a in figure.axes if a.get_title(loc="left").startswith(title)]
    return found


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def colours(figure: Figure) -> list[Any]:
    """Colours of the lines in the only legend of a figure."""
    (found,) = figure.legends
    return [line.get_color() for line in found.legend_handles if isinstance(line, Line2D)]


def picture(figure: Figure) -> Array:
    """The only image of a figure, as passed to matplotlib."""
    (image,) = figure.axes[0].get_images()
    return on_white(np.asarray(image.get_array(), dtype=np.float64))


def bars(axes: Axes) -> list[tuple[float, float]]:
    """Start and length of each horizontal bar."""
    found = [p for p in axes.patches if isinstance(p, Rectangle)]
    return [(p.get_x(), p.get_width()) for p in found]


def heights(axes: Axes) -> list[float]:
    return [p.get_height() for p in axes.patches if isinstance(p, Rectangle)]


def said(axes: Axes) -> list[str]:
    return [t.get_text() for t in axes.texts]


def ticks(axes: Axes, which: str) -> list[str]:
    axis = axes.xaxis if which == "x" else axes.yaxis
    return [t.get_text().replace("\n", " ") for t in axis.get_ticklabels()]


def on_white(sheet: Array) -> Array:
    """A picture ``(height, width, 4)`` on a white background."""
    return sheet if sheet.shape[-1] != 4 else 1 - sheet[..., 3:] * (1 - sheet[..., :3])
