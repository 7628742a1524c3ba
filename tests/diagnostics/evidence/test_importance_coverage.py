"""Coverage of the error of one datum's log p(x), and its mention where the error is shown."""

import re
from typing import Any

import pytest
import torch

import ppvae
from ppvae.diagnostics import log_evidence
from ppvae.diagnostics.evidence.importance_sampling import CAUTION, COVERAGE
from ppvae.encode import encode, main
from tests.support.fits import quick, small
from tests.support.pca import pca

__all__ = ["quick"]  # a fixture, used by every test here

CASES: tuple[dict[str, Any], ...] = (
    {"shift": 0.3},
    {"rotated": True},
    {"rotated": True, "shift": 0.5},
    {"rotated": True, "latent": 4, "columns": 6, "variance": 0.3},
    {"widen": 0.7},
    {"rotated": True, "widen": 2.0},
)
ROWS = 600
SIGMAS = 3.0


def misses(case: dict[str, Any], samples: int) -> tuple[float, float]:
    """Shares of the data whose log p(x) lies above and below of +-1.96 errors."""
    known = pca(rows=ROWS, **case)
    found = log_evidence(known.pair, known.facts, known.rows, samples=samples, batch_size=ROWS)
    off = (known.log_p - found.log_p) / found.error
    return float((off > 1.96).double().mean()), float((off < -1.96).double().mean())


@pytest.mark.parametrize("samples", [50, 200, pytest.param(1000, marks=pytest.mark.slow)])
def test_the_error_of_a_datum_covers_what_is_said_of_it(samples: int) -> None:
    least, most, seldom = (int(number) / 100 for number in re.findall(r"(\d+)(?: to| %)", COVERAGE))
    shares = [misses(case, samples) for case in CASES]
    noise = [SIGMAS * (share * (1 - share) / ROWS) ** 0.5 for share in (least, most, seldom)]
    above, below = zip(*shares, strict=True)
    assert min(above) >= least - noise[0]
    assert max(above) <= most + noise[1]
    assert max(below) <= seldom + noise[2]
    # The worst is close to the stated coverage, and far from 95 %.
    assert max(above) >= most - 0.05 - noise[1]


def test_it_is_said_where_the_error_is_shown(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small(tmp_path)
    main([str(run.path), "--samples", "5"])
    said = " ".join(" ".join(capsys.readouterr()).split())
    assert CAUTION in said
    tree = ppvae.to_datatree(run, draws=2, chains=1, samples=5)
    assert COVERAGE in tree["log_evidence"]["error"].attrs["long_name"]
    text = " ".join(str(encode.__doc__).split())
    assert all(f"{number} %" in text for number in (4, 36))


def test_an_error_is_none_for_one_sample() -> None:
    known = pca()
    assert bool(
        torch.isnan(log_evidence(known.pair, known.facts, known.rows, samples=1).error).all()
    )
