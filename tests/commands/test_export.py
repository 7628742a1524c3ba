"""The command ``export``: a file that runs without this package and describes its inputs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ppvae.encode import encode
from ppvae.errors import InputError
from ppvae.export import ABOUT, export, main
from ppvae.run import Run
from tests.support.fits import quick, small_copy

__all__ = ["quick"]  # a fixture, used by every test here

ELSEWHERE = """
import sys, torch
about = {"about.json": ""}
encoder = torch.export.load(sys.argv[1], extra_files=about).module()
x = torch.load(sys.argv[2], weights_only=True)
found = {name: value.detach() for name, value in encoder(x).items()}
assert not {"ppvae", "pyro"} & sys.modules.keys()
torch.save(found | {"about": about["about.json"]}, sys.argv[2])
"""


@pytest.mark.slow
def test_an_encoder_runs_where_this_package_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(small_copy(tmp_path))
    main([str(run.path)])
    told = capsys.readouterr().out
    assert "mean of q(z | x)" in told
    assert "standardized by the training rows" in told
    test = run.data().test
    x = test.take(torch.arange(len(test)))["x"]
    torch.save(x, tmp_path / "x.pt")
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ELSEWHERE,
         str(run.path / "encoder.pt2"), str(tmp_path / "x.pt")],
        check=True, cwd=tmp_path,
    )  # fmt: skip
    found = torch.load(tmp_path / "x.pt", weights_only=True)
    wanted = encode(run, samples=0, out=tmp_path / "codes.npz")
    for name in ("loc", "scale"):
        np.testing.assert_allclose(found[name].numpy(), wanted[name], rtol=1e-5, atol=1e-6)
    about = json.loads(found["about"])
    assert about["inputs"] == [{"name": "x", "shape": ["batch", 3], "type": "float32"}]
    assert [each["name"] for each in about["outputs"]] == ["loc", "scale"]
    assert about["scaling"]["kind"] == "standardized"
    assert about["scaling"]["loc"] == list(run.scaling.loc or ())
    assert about["checkpoint"] == run.checkpoint

    with pytest.raises(InputError, match="overwrite=True"):
        export(run)
    with pytest.raises(InputError, match=r"written as a torch archive, \.pt2"):
        export(run, out=tmp_path / "encoder.onnx")


@pytest.mark.slow
def test_a_decoder_gives_means_in_the_unit_of_the_data_too(tmp_path: Path) -> None:
    run = Run(small_copy(tmp_path))
    result = export(run, "decoder", out=tmp_path / "decoder.pt2")
    extra: dict[str, Any] = {ABOUT: ""}
    found = torch.export.load(result.path, extra_files=extra).module()(torch.zeros(4, 2))
    scaling = run.scaling
    assert scaling.loc is not None
    assert scaling.scale is not None
    raw = found["mean"] * torch.tensor(scaling.scale) + torch.tensor(scaling.loc)
    torch.testing.assert_close(found["raw"], raw)
    assert json.loads(extra[ABOUT])["what"] == "decoder"


@pytest.mark.slow
def test_what_cannot_be_exported_leaves_nothing(tmp_path: Path) -> None:
    run = small_copy(tmp_path, guide="Flow", elbo="Trace_ELBO")
    with pytest.raises(InputError, match="no mean and deviation in closed form"):
        export(run)
    assert not (run / "encoder.pt2").exists()
