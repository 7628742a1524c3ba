"""All checks of scikit-learn, and a fast import of the estimator."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sklearn.utils.estimator_checks import parametrize_with_checks

from ppvae.sklearn import VAE
from tests.support.fits import SMALL


@parametrize_with_checks([VAE(max_iter=2, n_samples=5, encoder=SMALL, decoder=SMALL)])  # type: ignore[untyped-decorator]  # scikit-learn states no types
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
