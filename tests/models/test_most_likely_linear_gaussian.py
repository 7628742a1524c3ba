"""The maximum likelihood linear Gaussian: in closed form, and by fits that converge to it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from ppvae.diagnose import diagnose
from ppvae.diagnostics.effort import Effort
from ppvae.fit import main
from ppvae.guides import ExactPosterior
from ppvae.models import LinearGaussian
from ppvae.run import Run
from tests.support.fits import table_file
from tests.support.linear_gaussian import COLUMNS, climb, most, numbers, random_model, some, spread


@pytest.mark.parametrize("latent_dim", [1, 2, 4])
def test_at_its_optimum_the_mean_evidence_is_the_closed_form(latent_dim: int) -> None:
    x = spread()
    model = LinearGaussian.optimum(x, latent_dim)
    mean = model.evidence(x).mean()
    assert float(mean.detach()) == pytest.approx(most(x, latent_dim), rel=1e-12)
    slopes = torch.autograd.grad(mean, list(model.parameters()))
    assert all(float(slope.abs().max()) < 1e-12 for slope in slopes)
    gram = (model.weight.mT @ model.weight).detach()
    torch.testing.assert_close(gram, gram.diagonal().diag())


@pytest.mark.parametrize("latent_dim", [1, 2, 4])
@pytest.mark.parametrize("noise", ["learned", 0.3, 2.0])
def test_nothing_near_the_optimum_is_more_likely(latent_dim: int, noise: Any) -> None:
    x = spread()
    model = LinearGaussian.optimum(x, latent_dim, noise)
    with torch.no_grad():
        best = float(model.evidence(x).mean())
        for seed in range(30):
            torch.manual_seed(seed)
            other = LinearGaussian(latent_dim, (COLUMNS,), noise).double()
            for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
                theirs.copy_(mine + 10 ** -(seed % 4) * torch.randn_like(mine))
            assert float(other.evidence(x).mean()) < best


@pytest.mark.parametrize("latent_dim", [COLUMNS, COLUMNS + 2])
def test_where_nothing_is_discarded_the_covariance_is_the_datas(latent_dim: int) -> None:
    x = spread()
    model = LinearGaussian.optimum(x, latent_dim, floor=1e-3)
    _, mu, covariance = numbers(model)
    np.testing.assert_allclose(covariance, np.cov(x.numpy().T, bias=True), rtol=1e-7)
    np.testing.assert_allclose(mu, x.mean(0).numpy())
    assert float(model.noise().detach()) == pytest.approx(1e-3, rel=1e-5)
    assert float(model.evidence(x).mean().detach()) == pytest.approx(most(x, COLUMNS), rel=1e-9)


def test_data_in_a_plane_stop_at_the_floor() -> None:
    x = spread() @ torch.diag(torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])).double()
    model = LinearGaussian.optimum(x, 3, floor=0.1)
    assert float(model.noise().detach()) == pytest.approx(0.1, rel=1e-6)
    assert bool(model.evidence(x).isfinite().all())
    gram = (model.weight.mT @ model.weight).detach().diagonal()
    assert int((gram > 1e-12).sum()) == 2  # below the floor is noise


def test_the_optimum_of_images_is_that_of_their_elements() -> None:
    x = spread(columns=6)
    flat, image = (LinearGaussian.optimum(t, 2) for t in (x, x.unflatten(1, (1, 2, 3))))
    assert tuple(image.loc.shape) == (1, 2, 3)
    torch.testing.assert_close(image.evidence(x.unflatten(1, (1, 2, 3))), flat.evidence(x))
    narrow = LinearGaussian.optimum(x.float(), 2)
    assert {p.dtype for p in narrow.parameters()} == {torch.float32}
    torch.testing.assert_close(
        narrow.evidence(x.float()).double(), flat.evidence(x), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("is_holed", [False, True])
def test_a_fit_by_the_exact_posterior_climbs_to_the_most_likely(is_holed: bool) -> None:
    x = spread()
    mask = some(x.shape) if is_holed else None
    extras = {} if mask is None else {"mask": mask}
    model = random_model(2, noise="learned", seed=5)
    guide = ExactPosterior(model)
    elbo: Any = Trace_ELBO(max_plate_nesting=1)
    seen = climb(
        lambda: -elbo.differentiable_loss(model, guide, x, **extras) / len(x),
        list(model.parameters()),
        300,
    )
    if mask is None:
        assert max(seen) <= most(x, 2) + 1e-9
        assert seen[-1] == pytest.approx(most(x, 2), abs=1e-7)
        return
    # There is no closed form, but the gradient of the evidence is 0 there.
    level = torch.autograd.grad(model.evidence(x, mask).mean(), list(model.parameters()))
    assert all(float(slope.abs().max()) < 1e-5 for slope in level)
    complete = LinearGaussian.optimum(x, 2)
    assert seen[-1] >= float(complete.evidence(x, mask).mean().detach())


# From the command line

TINY = Effort(
    climbed_steps=6, climbed_rows=9, climbed_draws=2,
    rows=9, evidence_rows=9, samples=10, trusted_rows=9, trusted_samples=10, refined_rows=4,
    refine_steps=60, annealed_rows=9, temperatures=4, chains=2, sampled_rows=2, nuts_draws=20,
    simulations=40, replications=5, estimates=6, particles=(1, 2), kept_rows=3, kept_draws=5,
)  # fmt: skip


def everything(split: Any) -> Tensor:
    x: Tensor = split.take(torch.arange(len(split)))["x"]
    return x.double()


@pytest.mark.slow
def test_the_command_climbs_to_the_most_likely_and_reports_the_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    main([
        "--data", str(table_file(tmp_path)), "--model", "LinearGaussian",
        "--guide", "ExactPosterior", "--elbo", "Trace_ELBO", "--latent-dim", "1",
        "--epochs", "30", "--batch-size", "24", "--lr", "0.2", "--device", "cpu",
        "--precision", "64", "--out", str(out),
    ])  # fmt: skip
    run = Run(out)
    train, test = (everything(split) for split in (run.data().train, run.data().test))
    climbed: Any = Run(out, checkpoint="last").model
    with torch.no_grad():
        found = float(climbed.evidence(train).mean())
    assert most(train, 1) - 0.02 < found <= most(train, 1)

    summary = json.loads((out / "summary.json").read_text())
    best: Any = run.model
    with torch.no_grad():
        want = float(best.evidence(test).mean())
    assert summary["elbo"] == pytest.approx(want, rel=1e-6)
    assert summary["log_p"]["mean"] == pytest.approx(want, rel=1e-6)

    monkeypatch.setattr("ppvae.diagnostics.effort.QUICK", TINY)
    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    monkeypatch.setattr("ppvae.diagnostics.evidence.annealing.PILOT_WARM_UP", 2)
    monkeypatch.setattr("ppvae.diagnostics.evidence.annealing.PILOT_TEMPERATURES", 4)
    diagnose(run, quick=True, only=["evidence"], out=tmp_path / "diagnosis")
    record = json.loads((tmp_path / "diagnosis" / "diagnostics.json").read_text())
    evidence = record["answers"]["evidence"]
    assert evidence["rows"] == len(test)
    for name in ("exact", "importance_sampled", "annealed"):
        assert evidence[name]["value"] == pytest.approx(want, rel=1e-5)
    assert evidence["curve"]["bound"] == pytest.approx([want] * len(evidence["curve"]["bound"]))
