"""Numbers to draw, a figure of each kind, and what is looked up in one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppvae import plots

type Array = npt.NDArray[np.float64]
type Rows = list[dict[str, float | str | None]]

NATS = "nats per datum"


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
CODES = rng().normal(size=(60, 5))
CLASSES = np.arange(60) % 10

FIGURES: dict[str, Callable[[], Figure]] = {
    "history": lambda: plots.history(fit(warm_up=10), best_epoch=12),
    "reconstructions": lambda: plots.reconstructions(IMAGES, IMAGES * 0.9),
    "reconstructions of a table": lambda: plots.reconstructions(TABLE, TABLE * 0.9),
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
    "compare_bounds": lambda: plots.compare_bounds({"one": summary(0), "two": summary(1)}),
}


def panel(figure: Figure, title: str) -> Axes:
    (found,) = [a for a in figure.axes if a.get_title(loc="left").startswith(title)]
    return found


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def picture(figure: Figure) -> Array:
    """The one image of a figure, as it is handed to matplotlib."""
    (image,) = figure.axes[0].get_images()
    return np.asarray(image.get_array(), dtype=np.float64)
