"""Malicious run directories, and objects that run code if they are unpickled."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ppvae
from ppvae.errors import InputError
from tests.support.fits import small_copy


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return small_copy(tmp_path, epochs=1)


def refusal(run: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        ppvae.load(run, **options).data()
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


class Exploit:
    """An object that runs ``touch`` when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.target}",)
