"""Sentences and numbers of a page: signs, code, and short measurements."""

from ppvae.diagnostics.shared.wording import decimals
from ppvae.report.rendering import typeset


def test_a_sentence_is_set_with_signs_and_code_and_is_escaped() -> None:
    said = "log p(x) is -24.1 +- 0.27 (from -25 on), of 1-2 <b>; take `encoder.hidden`, or `k=3`."
    assert typeset(said) == (
        "log p(x) is \u221224.1 \u00b1\u00a00.27 (from \u221225 on), of 1-2 &lt;b&gt;; take "
        "<code>encoder.hidden</code>, or <code>k=3</code>."
    )


def test_numbers_have_a_true_minus_and_zero_no_sign() -> None:
    assert decimals(-1234.567) == "\u22121,234.57"
    assert decimals(-0.001) == "0.00"
    assert decimals(None) == decimals("many") == "\u2013"


def test_measurements_are_short_however_large_and_counts_are_in_full() -> None:
    assert decimals(-26930587.46) == "\u22122.69\u00d710\u2077"
    assert decimals(12345.67) == "12,346"
    assert decimals(1234567, 0) == "1,234,567"
