"""Zuko, and the checks that it switches off."""

import pytest
from torch.distributions import Distribution

from ppvae.distributions.flows import zuko


@pytest.mark.parametrize("was", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_checks_stay_as_they_were(was: bool, fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def importing(name: str) -> str:
        Distribution.set_default_validate_args(not was)
        if fails:
            raise ImportError(name)
        return name

    monkeypatch.setattr(Distribution, "_validate_args", was)
    monkeypatch.setattr("ppvae.distributions.flows.import_module", importing)
    if fails:
        with pytest.raises(ImportError, match="zuko"):
            zuko()
    else:
        assert zuko() == "zuko"
    assert Distribution._validate_args is was
