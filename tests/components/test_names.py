"""The table of names is that of the classes, and needs none of them."""

import subprocess
import sys

from ppvae.components.kinds import KINDS
from ppvae.components.names import NAMES


def test_the_table_of_names_is_that_of_the_classes() -> None:
    assert {kind: tuple(sorted(KINDS[kind].names())) for kind in KINDS} == NAMES


def test_the_table_is_read_without_torch() -> None:
    code = "import sys, ppvae.components.names; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
