"""Zuko, and what it switches off."""

import subprocess
import sys

import pytest
from torch.distributions import Distribution

from ppvae.distributions.flows import zuko


def test_importing_the_package_does_not_import_zuko_and_zuko_leaves_torchs_checks_alone() -> None:
    code = """
import sys, torch
import ppvae, ppvae.fit, ppvae.models, ppvae.guides, ppvae.distributions.flows
assert not any(name.split(".")[0] == "zuko" for name in sys.modules)
from ppvae.models.priors import FlowPrior
prior = FlowPrior(2)
assert "zuko.distributions" in sys.modules
for refused in (
    lambda: torch.distributions.Normal(0.0, -1.0),
    lambda: prior().log_prob(torch.full((2,), torch.nan)),
    lambda: prior().log_prob(torch.zeros(3)),
):
    try:
        refused()
    except ValueError:
        continue
    raise SystemExit("torch's checks are off")
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


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
