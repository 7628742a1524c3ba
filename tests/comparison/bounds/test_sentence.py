"""The conclusion of a comparison claims no difference within noise."""

from dataclasses import replace

from ppvae.comparison.bounds.result import ANALYTIC, SAMPLED, Side
from ppvae.comparison.bounds.sentence import conclusion


def test_the_conclusion_claims_nothing_that_noise_could_have_made() -> None:
    side = Side(
        values=(1.0,) * 100, mean=-10.0, standard_error=0.1,
        gradient_variance={"g": 2.0}, gradient_variance_error={"g": 0.1}, snr={"g": 1.0},
        ms_per_step=1.0, curves=(), held_out=(0.0, 0.0, 0.0), blocks=10,
    )  # fmt: skip

    def said(analytic: Side, held_out: tuple[float, float | None]) -> str:
        sides = {SAMPLED: side, ANALYTIC: analytic}
        return conclusion(sides, (0.9, 0.1), held_out, 60, ["z"])

    alike = said(replace(side, mean=-10.1, gradient_variance={"g": 1.8}), (0.1, 0.05))
    assert "have the same expectation; the estimates differ by -0.1 +- 0.1 nats" in alike
    assert "same within noise in g" in alike
    assert "which noise could have made" in alike
    assert "higher" not in alike
    told = said(replace(side, mean=-12.0, gradient_variance={"g": 0.5}), (-0.5, 0.05))
    # An identity is not tested: the difference is given with its error.
    assert "have the same expectation; the estimates differ by -2 +- 0.1 nats" in told
    assert "standard errors" not in alike + told
    assert "4 +- 0.8 times less variance in g" in told
    assert "higher with Trace_ELBO, by 0.50 +- 0.05 nats" in told
    assert "one seed" in said(side, (0.1, None))
    other = replace(side, gradient_variance={"g": 0.5})
    none = conclusion({SAMPLED: side, ANALYTIC: other}, (1, None), (-0.5, 0.05), 60, [])
    assert none.startswith("No KL of this pair has a closed form")
    assert "less variance" not in none
    assert "higher" not in none
