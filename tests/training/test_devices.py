"""The precision that a device is given."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from ppvae.errors import FitWarning, InputError
from ppvae.fit import resume
from ppvae.training.devices import fabric_precision
from tests.support.fits import quick, small

__all__ = ["quick"]  # a fixture: fits without pictures

CPU = torch.device("cpu")


def _has(monkeypatch: pytest.MonkeyPatch, *, amx: bool = False, avx512: bool = False) -> None:
    found = {"avx2": True, "amx_bf16": amx, "avx512_bf16": avx512}
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: found, raising=False)


@pytest.mark.parametrize("own", [{"amx": True}, {"avx512": True}])
def test_auto_is_bfloat16_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, own: dict[str, bool]
) -> None:
    _has(monkeypatch, **own)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fabric_precision("auto", CPU) == "bf16-mixed"
        assert fabric_precision("bf16-mixed", CPU) == "bf16-mixed"
    assert fabric_precision("32", CPU) == "32-true"


def test_auto_is_single_precision_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    _has(monkeypatch)
    assert fabric_precision("auto", CPU) == "32-true"
    assert fabric_precision("auto", torch.device("mps")) == "32-true"
    assert fabric_precision("64", CPU) == "64-true"


def test_bfloat16_that_a_processor_lacks_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    _has(monkeypatch)
    with pytest.warns(FitWarning, match=r"no instructions for bfloat16.*`precision='auto'` or 32"):
        assert fabric_precision("bf16-mixed", CPU) == "bf16-mixed"


@pytest.mark.parametrize(("emulated", "word"), [(False, "bf16-mixed"), (True, "32-true")])
def test_auto_on_a_card(monkeypatch: pytest.MonkeyPatch, emulated: bool, word: str) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: not emulated)
    assert fabric_precision("auto", torch.device("cuda")) == word


def test_metal_has_no_double_precision() -> None:
    with pytest.raises(InputError, match="Metal has no float64"):
        fabric_precision("64", torch.device("mps"))


def test_what_auto_came_out_as_holds_on_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    _has(monkeypatch)
    run = small(tmp_path, precision="auto", epochs=1, schedule="none")
    assert (run.config["precision"], run.resolved["precision"]) == ("auto", "32")
    _has(monkeypatch, amx=True)
    asked: list[str] = []
    real = fabric_precision

    def noted(precision: Any, device: torch.device) -> str:
        asked.append(precision)
        return real(precision, device)

    monkeypatch.setattr("ppvae.training.processes.fabric_precision", noted)
    resume(run.path, epochs=2)
    assert asked == ["32"]
