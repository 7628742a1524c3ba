"""The figure of the inference gaps."""

import numpy as np

from ppvae import plots
from ppvae.diagnostics.gap.figure import draw_gaps
from tests.support.drawings import NATS, bars, legend, said, ticks


def test_gaps_lead_from_the_bound_to_log_p() -> None:
    figure = draw_gaps([1.0, 3.0], [0.5, 1.5], elbo=[-90.0, -92.0], log_p=-88.0)
    steps, shares = figure.axes
    np.testing.assert_allclose(bars(steps), [(-91.0, 1.0), (-90.0, 2.0)])
    assert ticks(steps, "y") == ["ELBO", "+ amortization gap", "+ approximation gap", "log p(x)"]
    assert said(steps)[0] == "\N{MINUS SIGN}91"
    assert steps.get_xlabel() == NATS
    curves = {
        line.get_color(): line for line in shares.get_lines() if len(np.ravel(line.get_xdata())) > 2
    }
    for colour, gap in ((plots.VERMILLION, [0.5, 1.5]), (plots.BLUE, [1.0, 3.0])):
        x, y = (np.asarray(axis) for axis in curves[colour].get_data())
        np.testing.assert_array_equal(np.unique(x), gap)
        assert y.max() == 1
    assert legend(figure)[0] == "amortization gap, mean 1.0 ± 0.5"
    own = draw_gaps([1.0, 3.0], [0.5, 1.5], errors={"amortization": 0.25})
    assert legend(own)[0] == "amortization gap, mean 1.00 ± 0.25"
    assert len(own.axes) == 1
