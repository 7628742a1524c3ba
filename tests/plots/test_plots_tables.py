"""Figures of tables: by name, in units, and by the kind of each column."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from ppvae import plots
from ppvae.errors import InputError
from tests.support.drawings import COUNTED, GENES, MIXED, PARTS, Array


def test_each_column_has_its_own_panel_and_units() -> None:
    figure = plots.marginals(MIXED, MIXED, PARTS)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(PARTS.names)
    low, high = figure.axes[0].get_xlim()
    assert low < MIXED[:, 0].min() < MIXED[:, 0].max() < high
    shares = [bar.get_height() for bar in figure.axes[4].patches if isinstance(bar, Rectangle)]
    want = [(MIXED[:, 4] == level).mean() for level in range(3)]
    np.testing.assert_allclose(shares, want * 2)


def test_many_columns_are_points_of_their_moments_and_counts_are_on_log1p() -> None:
    figure = plots.marginals(GENES, 2 * GENES, COUNTED)
    mean, _ = figure.axes
    offsets = np.asarray(mean.collections[0].get_offsets())
    np.testing.assert_allclose(offsets[:, 0], np.log1p(GENES).mean(0))
    np.testing.assert_allclose(offsets[:, 1], np.log1p(2 * GENES).mean(0))
    assert "log(1 + count)" in mean.get_xlabel()


def test_columns_stand_against_their_reconstructions() -> None:
    wrong = MIXED.copy()
    wrong[:4, 4] = (wrong[:4, 4] + 1) % 3
    figure = plots.rebuilt_columns(MIXED, wrong, PARTS)
    points = np.asarray(figure.axes[0].collections[0].get_offsets())
    np.testing.assert_allclose(points, np.stack([MIXED[:, 0]] * 2, axis=1))
    assert figure.axes[4].get_xlabel() == "60% right"


def test_what_was_not_observed_has_no_point() -> None:
    holed: Array = MIXED.copy()
    holed[0, 0] = np.nan
    figure = plots.rebuilt_columns(holed, MIXED, PARTS)
    assert len(np.asarray(figure.axes[0].collections[0].get_offsets())) == 9


def test_no_line_joins_columns_that_have_names() -> None:
    named = plots.reconstructions(MIXED, MIXED, columns=PARTS)
    assert {line.get_linestyle() for line in named.axes[0].get_lines()} == {"None"}
    plain = plots.reconstructions(MIXED, MIXED)
    assert "-" in {line.get_linestyle() for line in plain.axes[0].get_lines()}


def test_pairs_need_two_columns_of_real_numbers() -> None:
    with pytest.raises(InputError, match="two columns of real numbers"):
        plots.pairs(GENES, GENES, COUNTED)


def test_tables_must_have_the_columns_that_are_named() -> None:
    with pytest.raises(InputError, match="5 named columns"):
        plots.marginals(GENES, GENES, PARTS)
