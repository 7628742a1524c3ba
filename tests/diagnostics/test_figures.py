"""Figures of a diagnosis are legible for any data, or refused in a sentence."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from ppvae import plots
from ppvae.diagnostics.bound.figures import draw_kl_by_dimension, draw_surgery
from ppvae.diagnostics.estimator.figure import draw_estimators
from ppvae.diagnostics.evidence.figures import draw_bound_curve, draw_sandwich
from ppvae.diagnostics.gap.figure import draw_gaps
from ppvae.diagnostics.model.figure import draw_predictive
from ppvae.diagnostics.trust.calibration_figure import draw_calibration
from ppvae.diagnostics.trust.chains_figure import draw_posterior_against_guide
from ppvae.diagnostics.trust.pareto_k_figure import draw_reliability
from ppvae.errors import InputError
from ppvae.run.figures import save
from tests.plots.test_plots import saved
from tests.support.drawings import (
    AMORTIZATION,
    APPROXIMATION,
    CAPTIONS,
    ESS,
    FIGURES,
    IMAGES,
    INF,
    KHAT,
    LONG,
    NAN,
    TABLE,
    WIDE,
    noise_of_estimators,
    ranks,
    rng,
)
from tests.support.slow import few


def one_row(**given: Any) -> list[dict[str, Any]]:
    return [{"name": "one", "particles": 8, **given}]


def long_estimators() -> list[dict[str, Any]]:
    return [
        {
            "name": f"{name} {row['name']}",
            "particles": particles,
            "variance": {LONG: v, WIDE: 0.0},
            "variance_error": {LONG: 3 * v},
            "relative_cost": 1e-7 * particles,
        }
        for row in noise_of_estimators()[::4]
        for name in (LONG, WIDE)
        for particles, v in ((1, 1e-9), (3, 1e5), (4, INF), (100, NAN))
    ]


HARD: dict[str, Callable[[], Figure]] = {
    "budget, long names": lambda: plots.budget(
        [(LONG, 123456.7, 3.2), (WIDE, -0.4, None), ("x", NAN, NAN)], title=LONG
    ),
    "budget, nothing lost": lambda: plots.budget([("none", 0.0, 0.0)]),
    "one dimension": lambda: draw_kl_by_dimension([0.0], [0.0]),
    "300 dimensions": lambda: draw_kl_by_dimension(
        rng().exponential(0.1, 300), rng().random(300) ** 9, error=np.full(300, 0.01)
    ),
    "dimensions, long names": lambda: draw_kl_by_dimension(
        np.linspace(-0.5, 900, 12), np.geomspace(1e-12, 1e3, 12), names=[LONG, WIDE] * 6
    ),
    "surgery, long names": lambda: draw_surgery(
        {LONG: (NAN, None), WIDE: (-1.0, 5.0), "a": (1e-9, 1e-12)}, total=(1e6, 10.0), capped=[WIDE]
    ),
    "one count": lambda: draw_bound_curve([7], [-1e6], [0.5]),
    "bound, long names": lambda: draw_bound_curve(
        [100, 101, 102, 5000],
        [NAN, -86.30512, -86.30511, -86.3051],
        [NAN, 0.0, 1e-5, NAN],
        references={
            LONG: (-86.3, 1e-4),
            WIDE: (NAN, None),
            **{f"r{i}": (-86.4, 0.1) for i in "abcdefg"},
        },
    ),
    "sandwich of one": lambda: draw_sandwich([-3.0], [-3.0]),
    "sandwich the wrong way": lambda: draw_sandwich(
        [-3.0, 1.0, NAN], [-4.0, 1e4, 0.0], truth=[-3.5, 0, 0]
    ),
    "gaps of one": lambda: draw_gaps([1.3], [0.2], elbo=-90.0, log_p=-88.5),
    "no gaps": lambda: draw_gaps([0.0, 0.0], [0.0, 0.0], elbo=-9.0, log_p=-9.0),
    "negative gaps, one far out": lambda: draw_gaps(
        [-0.5, *APPROXIMATION, 900.0, NAN],
        [-3.0, *AMORTIZATION, 1.0, 1.0],
        elbo=-1e6,
        log_p=-1e6 + 4,
    ),
    "one datum's weights": lambda: draw_reliability([NAN], [1.0], samples=10, threshold=0.0),
    "no finite khat": lambda: draw_reliability(
        np.full(9, -INF), np.full(9, 5000.0), samples=5000, threshold=0.7
    ),
    "khat far out": lambda: draw_reliability(
        [*KHAT, 12.5, NAN, INF], [*ESS, NAN, 1.0, 0.0], samples=5000, threshold=0.65
    ),
    "one worst datum": lambda: plots.worst_data(IMAGES[:1], IMAGES[:1], [LONG]),
    "wide worst data": lambda: plots.worst_data(
        rng().normal(size=(3, 6, 50)), np.full((3, 6, 50), NAN), [LONG, WIDE, ""], title=WIDE
    ),
    "tall worst data": lambda: plots.worst_data(
        rng().random((2, 3, 50, 6)), np.zeros((2, 3, 50, 6)), [f"{LONG}  {WIDE}", WIDE]
    ),
    "worst rows of one column": lambda: plots.worst_data(TABLE[:1, :1], TABLE[:1, :1], [WIDE]),
    "one chain": lambda: draw_posterior_against_guide(
        np.zeros((1, 1, 2)), [[0.0, 0.0]], [[0.0, 0.0]], names=[LONG, WIDE], titles=[WIDE]
    ),
    "seven chains": lambda: draw_posterior_against_guide(
        1e4 + 1e-3 * rng().normal(size=(7, 9, 2)),
        np.full((7, 2), 1e4),
        np.full((7, 2), 1e-3),
        names=[WIDE, LONG],
        titles=[LONG, WIDE] * 3 + ["a"],
        images=TABLE[:7],
    ),
    "two simulations": lambda: draw_calibration([[0.5], [0.5]], [WIDE], [NAN]),
    "three quantities, long names": lambda: draw_calibration(
        ranks(30, 3), [LONG, WIDE, "$"], [0.5, 1e-12, 0.3]
    ),
    "statistics that are all alike": lambda: draw_predictive(
        {LONG: 1e17, WIDE: NAN, "c": -1.0},
        {LONG: np.full(50, 1e17), WIDE: [NAN, 1.0], "c": [1e-12, 2e-12]},
        {LONG: 0.0},
    ),
    "many statistics": lambda: draw_predictive(
        {str(i): 0.0 for i in range(13)}, {str(i): [float(i)] for i in range(13)}
    ),
    "one estimator": lambda: draw_estimators(one_row(variance={"all": 0.0})),
    "one estimator's cost": lambda: draw_estimators(one_row(relative_cost=1.0, value=INF)),
    "estimators, long names": lambda: draw_estimators(long_estimators()),
}


def written(figure: Figure) -> Iterator[tuple[str, Any]]:
    """All texts, with their places."""
    unseen = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            slack = 1e-6 * (high - low)
            unseen |= {
                label
                for place, label in zip(
                    axis.get_majorticklocs(), axis.get_ticklabels(), strict=False
                )
                if not low - slack <= place <= high + slack
            }
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_visible() and text.get_text().strip() and text not in unseen:
            yield text.get_text(), text.get_window_extent()


def check_that_all_can_be_read(figure: Figure) -> None:
    texts = list(written(figure))
    assert texts
    page = figure.bbox.padded(1)
    for text, box in texts:
        assert all(page.contains(x, y) for x, y in box.corners()), text
    for (one, a), (other, b) in itertools.combinations(texts, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        up = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, up) <= 1, (one, other)


DRAWN = list(FIGURES)[list(FIGURES).index("budget") : list(FIGURES).index("compare_bounds")]


@pytest.mark.parametrize("name", few(DRAWN, 4))
def test_no_text_lies_on_another(name: str) -> None:
    check_that_all_can_be_read(saved(name)[0])


@pytest.mark.parametrize("name", few(HARD, 6))
def test_no_text_lies_on_another_or_is_cut_off_whatever_the_data(name: str, tmp_path: Path) -> None:
    figure = HARD[name]()
    save(figure, tmp_path / "figure.png")
    check_that_all_can_be_read(figure)


@pytest.mark.parametrize(
    ("draw", "reason"),
    [
        (lambda: plots.budget([]), "no loss"),
        (lambda: draw_kl_by_dimension([]), r"shape is \(0,\)"),
        (lambda: draw_kl_by_dimension([1.0, NAN]), "nan for dimension 1"),
        (lambda: draw_kl_by_dimension([1.0], [1.0, 2.0]), "active_variance must be"),
        (lambda: draw_kl_by_dimension([1.0], names=["a", "b"]), "2 names, for 1"),
        (lambda: draw_surgery({}), "terms is empty"),
        (lambda: draw_surgery({"a": (1.0, None)}, capped=["b"]), "'b', which is not among a"),
        (lambda: draw_bound_curve([1, 2], [-1.0], [0.1]), r"\(2,\), \(1,\) and \(1,\)"),
        (lambda: draw_bound_curve([1], [NAN], [0.1]), "none of 1 is finite"),
        (lambda: draw_bound_curve([0], [-1.0], [0.1]), "the minimum is 0"),
        (lambda: draw_sandwich([1.0], [1.0, 2.0]), "one number per datum"),
        (lambda: draw_sandwich([NAN], [1.0]), "none of 1 data"),
        (lambda: draw_gaps([1.0], [1.0, 2.0]), "one number per datum"),
        (lambda: draw_gaps([NAN], [1.0]), "none of 1 data"),
        (lambda: draw_reliability([], [], samples=5, threshold=0.7), "per datum"),
        (lambda: plots.worst_data(IMAGES, IMAGES[:1], CAPTIONS), "the same shape"),
        (lambda: plots.worst_data(IMAGES, IMAGES, CAPTIONS[:2]), "one per datum, 10, not 2"),
        (lambda: draw_posterior_against_guide(np.zeros((2, 5, 3)), [0], [0]), "must be"),
        (
            lambda: draw_posterior_against_guide(np.zeros((1, 5, 2)), [[0, 0]], [[1, -1]]),
            "scale at least 0",
        ),
        (
            lambda: draw_posterior_against_guide(np.full((1, 5, 2), NAN), [[0, 0]], [[1, 1]]),
            "datum 1 has no finite draw",
        ),
        (lambda: draw_calibration([[0.5]], ["a"], [0.5]), "at least 2"),
        (lambda: draw_calibration([[0.5], [1.5]], ["a"], [0.5]), r"in \[0, 1\]"),
        (lambda: draw_calibration([[0.5], [NAN]], ["a"], [0.5]), r"in \[0, 1\]"),
        (lambda: draw_calibration([[0.5], [0.5]], ["a", "b"], [0.5]), "2 names"),
        (lambda: draw_predictive({}, {}), "at least one"),
        (lambda: draw_predictive({"a": 1.0}, {"b": [1.0]}), "a, b"),
        (lambda: draw_predictive({"a": 1.0}, {"a": [NAN]}), "'a' has no finite"),
        (lambda: draw_estimators([]), "nothing to draw"),
        (lambda: draw_estimators([{"name": "a", "particles": 0}]), "'a' and 0"),
        (lambda: draw_estimators(one_row()), "nothing to draw"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw: Callable[[], Figure], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        draw()
