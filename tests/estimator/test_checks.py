"""All checks of scikit-learn, and a fast import of the estimator."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from ppvae.sklearn import VAE
from tests.support.fits import SMALL
from tests.support.slow import few

CHECKS = list(
    estimator_checks_generator(VAE(max_iter=2, n_samples=5, encoder=SMALL, decoder=SMALL))
)


@pytest.mark.parametrize(
    ("estimator", "check"), few(CHECKS, 3), ids=lambda value: getattr(value, "func", VAE).__name__
)
def test_of_scikit_learn(estimator: VAE, check: Callable[[VAE], None]) -> None:
    check(estimator)


IMPORT = """
import sys
import ppvae.sklearn
estimator = ppvae.sklearn.VAE(n_components=3).set_params(beta=2.0)
heavy = {"torch", "pyro", "matplotlib"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_importing_and_setting_up_imports_no_torch() -> None:
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-W", "error", "-c", IMPORT], check=True, cwd=root)
