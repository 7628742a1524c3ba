"""Training curves show all values, and where they settle."""

import csv
import io

import numpy as np
import pytest

from ppvae import plots
from ppvae.errors import InputError
from tests.support.drawings import NATS, Rows, fit, legend, panel


def test_history_draws_each_number_in_nats() -> None:
    rows = fit()
    figure = plots.history(rows)
    for title, name in (
        ("Bound", "elbo"),
        ("Reconstruction", "reconstruction"),
        ("KL", "kl"),
    ):
        axes = panel(figure, title)
        assert axes.get_ylabel() == NATS
        train, valid = axes.get_lines()
        for line, split in ((train, "train"), (valid, "valid")):
            expected = [row[name] for row in rows if row["split"] == split]
            np.testing.assert_array_equal(line.get_ydata(), np.array(expected, dtype=float))
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 41))
    assert figure.axes[-1].get_xlabel() == "epoch"
    assert legend(figure) == ["train", "valid"]


def test_history_reads_rows_as_csv_gives_them() -> None:
    rows = fit(12)
    sheet = io.StringIO()
    writer = csv.DictWriter(sheet, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    sheet.seek(0)
    text: Rows = [dict(row) for row in csv.DictReader(sheet)]
    for numbers, strings in zip(plots.history(rows).axes, plots.history(text).axes, strict=True):
        for a, b in zip(numbers.get_lines(), strings.get_lines(), strict=True):
            np.testing.assert_allclose(np.asarray(a.get_xydata()), np.asarray(b.get_xydata()))


@pytest.mark.parametrize("absent", [None, ""])
def test_a_point_mass_has_a_reconstruction_and_no_bound(absent: str | None) -> None:
    rows = fit(point_mass=True)
    for row in rows:
        row["elbo"] = row["kl"] = absent
    figure = plots.history(rows)
    assert [a.get_title(loc="left") for a in figure.axes] == ["Reconstruction"]
    assert "no bound" in figure.get_suptitle()
    assert "point mass" in figure.get_suptitle()


def test_a_bound_that_diverged_is_not_called_a_point_mass() -> None:
    rows = fit()
    for row in rows:
        row["elbo"] = float("nan")
    said = plots.history(rows).get_suptitle()
    assert "point mass" not in said
    assert "finite" in said


def test_a_wild_start_neither_hides_the_rest_nor_is_hidden() -> None:
    rows = fit()
    rows[0]["elbo"], rows[1]["elbo"] = -1e6, -5e5
    axes = panel(plots.history(rows), "Bound")
    low, high = axes.get_ylim()
    settled = [float(r["elbo"] or 0) for r in rows if float(r["epoch"] or 0) > 10]
    assert low < min(settled)
    assert max(settled) < high
    assert high - low < 20
    below = sum(float(r["elbo"] or 0) < low for r in rows)
    assert axes.get_title(loc="right") == f"{below} points below, to \u22121e+06"


def test_a_tame_history_is_shown_whole_without_remark() -> None:
    rows = fit(5)
    axes = panel(plots.history(rows), "Bound")
    values = [float(r["elbo"] or 0) for r in rows]
    assert axes.get_ylim()[0] < min(values)
    assert max(values) < axes.get_ylim()[1]
    assert axes.get_title(loc="right") == ""


def test_the_best_epoch_is_marked_even_where_it_is_far_down() -> None:
    rows = fit()
    figure = plots.history(rows, best_epoch=1)
    assert "best epoch, 1" in legend(figure)
    for axes in figure.axes:
        marks = [line for line in axes.get_lines() if set(np.ravel(line.get_xdata())) == {1}]
        assert len(marks) == 2  # the dashed line and the dot
        dot = next(m for m in marks if m.get_marker() == "o")
        low, high = axes.get_ylim()
        assert low < float(np.ravel(dot.get_ydata())[0]) < high


def test_the_warm_up_is_shaded_to_the_epoch_that_ends_it() -> None:
    figure = plots.history(fit(warm_up=10))
    assert "warm-up, β from 0.1 to 1" in legend(figure)
    assert panel(figure, "Bound").get_title(loc="left") == "Bound (ELBO, at β = 1)"
    for axes in figure.axes:
        (shade,) = axes.patches
        extent = shade.get_extents().transformed(axes.transData.inverted())
        assert (extent.x0, extent.x1) == pytest.approx((1, 10))
    assert not plots.history(fit()).axes[0].patches


def test_a_constant_weight_on_the_kl_is_said() -> None:
    rows = fit()
    for row in rows:
        row["beta"] = 4.0
    figure = plots.history(rows)
    assert "trained at β = 4" in legend(figure)
    assert not figure.axes[0].patches


@pytest.mark.parametrize("rows", [[], [{"epoch": 1, "split": "test", "elbo": -3.0}]])
def test_a_history_of_nothing_is_refused(rows: Rows) -> None:
    with pytest.raises(InputError, match="no history"):
        plots.history(rows)
