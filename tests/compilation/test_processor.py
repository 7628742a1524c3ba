"""Features of a processor, also with versions of torch that do not report all of them."""

from collections.abc import Iterator

import pytest
import torch

from ppvae.compilation import processor


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    processor.is_of_intel.cache_clear()
    processor.instructions.cache_clear()


@pytest.mark.parametrize(("name", "of_intel"), [("Intel(R) Xeon(R)", True), ("AMD EPYC", False)])
def test_its_maker_is_read_from_its_name(
    name: str, of_intel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor.is_of_intel.cache_clear()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name}, raising=False)
    assert processor.is_of_intel() == of_intel


def test_a_torch_that_does_not_say_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    processor.is_of_intel.cache_clear()
    processor.instructions.cache_clear()
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not processor.is_of_intel()
    assert torch.backends.cpu.get_cpu_capability() in processor.instructions()
