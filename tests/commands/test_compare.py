"""Laws of the command: its files, refusals and result."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ppvae.compare import compare, main
from ppvae.comparison.bounds.result import ANALYTIC, SAMPLED
from ppvae.data import from_arrays
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.networks import MLP, Shape
from tests.support.snapshots import changes, snapshot

C, D, K = 0.3, 5, 2  # variance of x given z, dimensions of x and z


def affine(in_shape: Shape, out_shape: Shape) -> MLP:
    return MLP(in_shape, out_shape, hidden=[])


@pytest.fixture
def programs() -> tuple[VAE, MeanField]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VAE(StandardNormal(K), Gaussian((D,), variance=C), affine)
        return model, MeanField(K, (D,), affine)


@pytest.mark.slow
def test_comparing_objects_leaves_them_and_the_generators_alone(
    programs: tuple[VAE, MeanField], tmp_path: Path
) -> None:
    model, guide = programs
    x = torch.randn(120, D, generator=torch.Generator().manual_seed(1))
    before = [p.detach().clone() for part in programs for p in part.parameters()]
    process = snapshot()
    result = compare(
        data=from_arrays(x), model=model, guide=guide, epochs=2, seeds=1, draws=8,
        batch_size=32, device="cpu", out=tmp_path / "c",
    )  # fmt: skip
    after = [p.detach() for part in programs for p in part.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert not changes(process)
    assert result.steps == 2 * 3
    assert result.held_out_difference[1] is None
    first = result.sides[SAMPLED].curves[0][1]
    assert first[0] != first[1]  # the fit has made progress


def test_the_command_leaves_numbers_and_a_figure_and_takes_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ppvae.fit import fit

    out = tmp_path / "comparison"
    small = ["--epochs", "2", "--draws", "10", "--device", "cpu", "--out", str(out)]
    main(["--seeds", "2", "--decoder.hidden", "8", "--encoder.hidden", "8", *small])
    record = json.loads((out / "comparison.json").read_text())
    assert (out / "figures" / "compare.png").stat().st_size > 10_000
    assert list(record["sides"]) == [SAMPLED, ANALYTIC]
    for side in record["sides"].values():
        assert len(side["values"]) == 10
        assert len(side["held_out"]) == len(side["curves"]) == 2
        assert (
            set(side["gradient_variance"]) == set(side["snr"]) == {"model.decoder", "guide.encoder"}
        )
        assert side["ms_per_step"] > 0
    a, b = (record["sides"][name] for name in (ANALYTIC, SAMPLED))
    assert a["curves"][0][0] == b["curves"][0][0] == [12, 24]
    assert a["curves"][0][1] != b["curves"][0][1]
    assert record["exact"] == ["z"]
    assert " ".join(record["sentence"].split()) in " ".join(capsys.readouterr().out.split())

    with pytest.raises(InputError, match="overwrite=True"):
        main(["--seeds", "1", *small])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="other files than a comparison"):
        compare(out=tmp_path / "mine", overwrite=True)

    monkeypatch.setattr("ppvae.fit._conclude", lambda *_: None)  # the slow end of a fit
    run = fit(latent_dim=2, epochs=1, device="cpu", out=tmp_path / "run")
    main(["--run", str(run.path), "--seeds", "1", "--overwrite", *small])
    record = json.loads((out / "comparison.json").read_text())
    assert "run" in record["weights"]
    assert record["settings"]["latent_dim"] == 2
    assert np.mean(record["sides"][ANALYTIC]["values"]) > -45  # of the fitted weights
    with pytest.raises(InputError, match="`prior` cannot change"):
        compare(run=run.path, prior="StandardNormal")


def test_a_point_mass_has_no_bound_to_compare() -> None:
    with pytest.raises(InputError, match="point mass at 'z'"):
        compare(guide="Delta", device="cpu")
