"""Messages name parameters in Python, and flags in commands."""

import pytest

from ppvae.cli.flags_in_sentences import in_flags


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("`epochs` is 0; it must be at least 1", "--epochs is 0; it must be at least 1"),
        ("`latent_dim` is 0", "--latent-dim is 0"),
        ("`prior.components` is 0", "--prior.components is 0"),
        ("choose `likelihood='Gaussian'`", "choose --likelihood Gaussian"),
        ("`likelihood.total_count=3`", "--likelihood.total_count 3"),
        ("take `model='A', guide='B'`", "take --model A --guide B"),
        ("give `overwrite=True`", "give --overwrite"),
        ("say `trust=['mine', 'yours']`", "say --trust mine --trust yours"),
        ("`out='my runs/a'`", "--out 'my runs/a'"),
        (
            "go on by `resume('runs/a', checkpoint='best')`",
            "go on by --resume runs/a --checkpoint best",
        ),
        ("`encoder.hidden=[16, 16]`", "--encoder.hidden 16,16"),
        ("see `ppvae.data.from_arrays(x, y)`", "see `ppvae.data.from_arrays(x, y)`"),
        ("nothing is marked", "nothing is marked"),
        ("give `drop=['a', 'b c']`", "give --drop 'a,b c'"),
        ("give `kinds={'year': 'category'}`", "give --kinds year=category"),
        ("`kinds='year'` is", "--kinds year is"),
        ("as `size=(20, 30)`", "as --size 20x30"),
        ("`covariates=('a',)` names", "--covariates a names"),
        ("`covariates='Sex'` is", "--covariates Sex is"),
    ],
)
def test_a_parameter_in_backquotes_is_a_flag_in_a_command(sentence: str, told: str) -> None:
    assert in_flags(sentence) == told
