"""Scaling of whole numbers and pixels: by type, range and likelihood, or as chosen."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from ppvae import data, load
from ppvae.data import Scaling
from ppvae.data.rescaling import suited
from ppvae.encode import encode
from ppvae.errors import InputError
from ppvae.fit import fit, main, resume
from ppvae.networks import MLP
from ppvae.networks.log_counts import LogCounts
from ppvae.run import Run
from tests.support.fits import SMALL, quick, small
from tests.support.refusals import refusal
from tests.support.slow import few

__all__ = ["quick"]  # a fixture, used by every test here

NOISE = np.random.default_rng(0)
CENSUS = np.stack([NOISE.integers(18, 90, 60), NOISE.integers(0, 100_000, 60)], 1)
SIGNED = CENSUS - 40_000
PIXELS = NOISE.integers(0, 256, (60, 6, 4), dtype=np.uint8)
DEEP = NOISE.integers(0, 4096, (60, 6, 4), dtype=np.uint16)
FRACTIONS = NOISE.normal(5, 2, (60, 3))


@pytest.mark.parametrize(
    ("x", "values", "kind"),
    [
        # Tables of whole numbers of any type.
        (CENSUS, "real", "standardized"),
        (CENSUS.astype(np.float64), "real", "standardized"),
        (CENSUS.astype(np.float32), "counts", "counts"),
        (CENSUS, "positive", "counts"),
        (CENSUS, None, "counts"),
        (SIGNED, "real", "standardized"),
        (CENSUS[:, :1].astype(np.uint8), "real", "standardized"),
        (CENSUS[:, :1].astype(np.uint8), "counts", "counts"),
        (CENSUS[:, :1].astype(np.uint8), "unit", "8-bit"),
        (CENSUS[:, :1].astype(np.uint8), "binary", "counts"),
        (CENSUS > 50, "real", "as-is"),
        # Images.
        (PIXELS, "real", "8-bit"),
        (PIXELS, "unit", "8-bit"),
        (PIXELS, "binary", "8-bit"),
        (PIXELS, "counts", "counts"),
        (PIXELS.astype(np.float32), "real", "8-bit"),
        (PIXELS.astype(np.int64), "real", "8-bit"),
        (PIXELS * 0.99, "real", "8-bit"),
        (PIXELS.astype(np.float32), "counts", "counts"),
        (PIXELS.astype(np.float32), "unit", "counts"),
        (PIXELS / 255, "real", "as-is"),
        (PIXELS / 127.5 - 1, "real", "as-is"),
        (DEEP, "real", "standardized"),
        (DEEP, "counts", "counts"),
        # Tables of fractions.
        (FRACTIONS, "real", "standardized"),
        (FRACTIONS, None, "standardized"),
        (FRACTIONS.clip(0), "positive", "as-is"),
        (FRACTIONS, "positive", "standardized"),
        (FRACTIONS, "unit", "as-is"),
    ],
)
def test_type_range_and_likelihood_decide(
    x: NDArray[Any], values: data.Values | None, kind: str
) -> None:
    found = suited(data.from_arrays(x), values)
    assert found.scaling.kind == kind
    batch = next(found.train.chunks(99))["x"]
    if kind == "standardized":
        columns = batch if x.ndim == 2 else batch.reshape(-1, 1)
        torch.testing.assert_close(
            columns.mean(0), torch.zeros(columns.shape[1]), atol=1e-5, rtol=0
        )
        assert "standardized" in found.describe()
    if kind == "8-bit":
        assert batch.max() <= 1
        assert batch.max() == pytest.approx(x.max() / 255, abs=0.05)


@pytest.mark.parametrize(
    ("x", "scale", "expected"),
    [
        (CENSUS, "none", Scaling("counts")),
        (FRACTIONS, "none", Scaling("as-is")),
        (PIXELS, "none", Scaling("counts")),
        (PIXELS, "unit", Scaling("8-bit")),
        (PIXELS * 0.99, "unit", Scaling("8-bit")),
        (PIXELS / 255, "unit", Scaling("as-is")),
        (DEEP, "unit", Scaling("unit", scale=(float(DEEP.max()),))),
        (FRACTIONS.clip(0), "unit", Scaling("unit", scale=(float(FRACTIONS.max()),))),
    ],
)
def test_what_somebody_says_goes_before(
    x: NDArray[Any], scale: data.Scale, expected: Scaling
) -> None:
    said = data.from_arrays(x, scale=scale)
    assert said.scaling == expected
    assert suited(said, "real") is said
    assert suited(data.from_arrays(x), "real", scale).scaling == expected
    assert Scaling.from_dict(expected.to_dict()) == expected


@pytest.mark.parametrize("x", [PIXELS, DEEP, PIXELS / 255])
def test_images_are_standardized_as_a_whole(x: NDArray[Any]) -> None:
    found = data.from_arrays(x, scale="standardize")
    batch = next(found.train.chunks(99))["x"]
    assert batch.mean().item() == pytest.approx(0, abs=1e-5)
    assert batch.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_what_was_not_observed_of_bytes_is_zero_once_standardized() -> None:
    ages = CENSUS[:, :1].astype(np.uint8)
    found = data.from_arrays(ages, mask=CENSUS[:, :1] > 40, scale="standardize")
    batch = next(found.train.chunks(99))
    assert (batch["x"][~batch["mask"]] == 0).all()


def test_negative_values_have_no_unit() -> None:
    with pytest.raises(InputError, match=r"`scale='unit'` divides values from 0 .* holds -"):
        data.from_arrays(SIGNED, scale="unit")


def test_a_census_is_standardized_and_its_run_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "census.npy", CENSUS)
    run = small(tmp_path, data=tmp_path / "census.npy", epochs=1)
    assert "whole numbers are standardized" in capsys.readouterr().out.replace("\n", " ")
    assert run.scaling.kind == "standardized"
    assert run.data().scaling == run.scaling
    assert run.config["scale"] is None
    # Rows of the same table that were read without the likelihood are refused.
    unscaled = data.from_arrays(CENSUS)
    with pytest.raises(InputError, match=r"counts as they are, but .* standardized"):
        encode(run, unscaled.test, out=tmp_path / "codes.npz")
    encode(run, data.scaled_as(unscaled, run.scaling).test, samples=2, out=tmp_path / "codes.npz")


def test_the_flag_is_recorded_and_kept_by_what_goes_on(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", CENSUS % 7)
    run = small(tmp_path, data=tmp_path / "x.npy", epochs=1, scale="none")
    assert run.config["scale"] == "none"
    assert run.scaling == Scaling("counts")
    went_on = resume(run.path, epochs=2)
    assert went_on.scaling == run.scaling
    assert went_on.data().scaling == run.scaling


def test_pixels_as_floats_are_told_to_be_divided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", PIXELS.astype(np.float32))
    said = refusal(main, capsys, "--data", tmp_path / "x.npy", "--out", tmp_path / "r")
    assert "choose --scale unit --binarize dynamic (it divides pixels from 0 to 255 by 255" in said
    said = refusal(
        main, capsys, "--data", tmp_path / "x.npy", "--out", tmp_path / "r",
        "--likelihood", "ContinuousBernoulli",
    )  # fmt: skip
    assert "choose --scale unit (it divides" in said
    said = refusal(main, capsys, "--data", tmp_path / "x.npy", "--scale", "half")
    assert "none" in said
    assert "standardize" in said


def test_a_table_of_several_kinds_is_not_told_to_be_pixels(tmp_path: Path) -> None:
    rows = np.arange(90)
    table = pd.DataFrame({"age": 60 + rows / 7, "visits": rows % 5, "ward": rows % 2 == 0})
    with pytest.raises(InputError, match=r"0 and 1: choose `likelihood='PerColumn'`"):
        small(tmp_path, data=table, likelihood="Bernoulli")


def test_pixels_under_a_likelihood_of_counts_are_counts(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "likelihood": "Binomial", "decoder": SMALL, "encoder": SMALL, "latent_dim": 2,
    }  # fmt: skip
    settings["likelihood"] = {"class_path": "Binomial", "init_args": {"total_count": 255}}
    run = fit(data.from_arrays(PIXELS), epochs=1, compile="off", out=tmp_path / "run", **settings)
    assert run.scaling == Scaling("counts")
    assert run.resolved["log_counts"] is False


# Inputs of encoders of counts.


def test_an_encoder_reads_logarithms_of_counts_alone() -> None:
    made = LogCounts.before(lambda a, b: MLP(a, b, hidden=()), (3,))
    x = torch.tensor([[0.0, 4.0, 6000.0], [-2.0, 1.0, 0.5]])
    logs = torch.tensor([[0.0, 5.0, 6001.0], [0.0, 2.0, 1.5]]).log()
    logs[0, 0], logs[1, 0] = 0.0, -2.0
    network = made((3,), (2,))
    assert isinstance(network, LogCounts)
    torch.testing.assert_close(network(x), network.network(logs))
    # Covariates, which may be negative, are unchanged.
    joined = made((5,), (2,))
    assert isinstance(joined, LogCounts)
    y = torch.tensor([[-7.0, 1.0], [3.0, -0.5]])
    torch.testing.assert_close(
        joined(torch.cat([x, y], -1)), joined.network(torch.cat([logs, y], -1))
    )


def test_logarithms_have_a_slope_at_zero() -> None:
    """Most counts are 0, and pseudo-inputs that start at 0 need a gradient."""
    network = LogCounts.before(lambda a, b: MLP(a, b, hidden=()), (2,))((2,), (1,))
    x = torch.zeros(1, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(network(x).sum(), x)
    assert (slope != 0).all()


COUNTS = NOISE.poisson(NOISE.gamma(1.0, 50.0, (90, 4)))


@pytest.mark.parametrize(
    "settings",
    few(
        [
            {"likelihood": "NegativeBinomial"},
            {"likelihood": "Poisson", "guide": "Mixture", "elbo": "Trace_ELBO"},
            {"likelihood": "ZeroInflated", "guide": "Flow", "elbo": "Trace_ELBO"},
            {
                "likelihood": "Poisson",
                "prior": {"class_path": "VampPrior", "init_args": {"components": 3}},
            },
            {"likelihood": "Poisson", "model": "ConditionalVAE", "y": True},
            {"likelihood": "Poisson", "model": "HierarchicalVAE", "guide": "Ladder"},
        ],
        3,
    ),
    ids=lambda settings: "-".join(str(value) for value in settings.values())[:40],
)
def test_a_run_on_counts_reads_logarithms_when_it_is_opened(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    chosen = dict(settings)
    y = np.arange(90) % 3 if chosen.pop("y", False) else None
    handed = data.from_arrays(COUNTS, y)
    run = small(tmp_path, data=handed, epochs=1, decoder=..., **chosen)
    assert run.resolved["log_counts"] is True
    opened = load(run.path)
    readers = [part for part in opened.pair.modules() if isinstance(part, LogCounts)]
    assert readers
    rows = handed.test.take(torch.arange(5))
    more = {"y": rows["y"]} if y is not None else {}
    draws = []
    for guide in (run.guide, opened.guide):
        torch.manual_seed(0)
        draws.append(guide(rows["x"], **more))
    torch.testing.assert_close(*draws)


@pytest.mark.parametrize(
    ("x", "settings"),
    [
        (FRACTIONS, {"likelihood": "Gaussian"}),
        (CENSUS % 17, {"likelihood": "Binomial"}),
        (COUNTS, {"likelihood": "Gaussian", "scale": "none"}),
    ],
)
def test_other_data_is_read_as_it_is(
    x: NDArray[Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    run = small(tmp_path, data=data.from_arrays(x), epochs=1, **settings)
    assert run.resolved["log_counts"] is False
    assert not any(isinstance(part, LogCounts) for part in run.pair.modules())


class OwnNetwork(MLP):
    """A user-defined network reads x itself."""


def test_a_network_of_ones_own_reads_x_itself(tmp_path: Path) -> None:
    run = small(
        tmp_path, data=data.from_arrays(COUNTS), epochs=1, likelihood="Poisson", encoder=OwnNetwork
    )
    assert run.resolved["log_counts"] is False


# The data of a run.


def written(path: Path, rows: int = 90, shift: float = 0.0) -> Path:
    x = np.random.default_rng(rows).normal(size=(rows, 3)) + shift
    if path.suffix == ".csv":
        lines = [",".join(map(str, row)) for row in x.tolist()]
        path.write_text("\n".join(["a,b,c", *lines]) + "\n")
    elif path.suffix == ".npz":
        np.savez(path, x=x)
    else:
        np.save(path, x)
    return path


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.csv"])
def test_a_file_that_was_replaced_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / name)
    run = small(tmp_path, data=path, epochs=1)
    record = run.resolved["data"]["fingerprint"]
    assert record["size"] == path.stat().st_size
    path.touch()  # a new time stamp, the same bytes
    assert len(run.data().train) == 72
    written(path, shift=100.0)
    says = (
        f"{path} is not the data that {run.path} was fitted to: that was {record['size']:,} bytes"
    )
    for opening in (
        lambda: encode(run, out=tmp_path / "c.npz"),
        lambda: resume(run.path, epochs=2),
        lambda: Run(run.path).data(),
    ):
        with pytest.raises(InputError, match=re.escape(says)):
            opening()
    # As new data it is accepted, with the scaling of the fit.
    new = encode(run, data=path, samples=2, out=tmp_path / "c.npz")
    assert len(new["loc"]) == 90
    assert np.abs(new["loc"]).max() > 0


def test_the_same_size_and_another_content_is_told_by_the_digest(tmp_path: Path) -> None:
    path = written(tmp_path / "x.npy")
    run = small(tmp_path, data=path, epochs=1)
    x = np.load(path)
    np.save(path, x + 1e-3)
    with pytest.raises(InputError, match="is not the data that"):
        run.data()


def test_arrays_handed_in_are_told_apart_by_their_values(tmp_path: Path) -> None:
    run = small(tmp_path, data=data.from_arrays(FRACTIONS), epochs=1)
    with pytest.raises(InputError, match="values of SHA-256"):
        resume(run.path, data=data.from_arrays(FRACTIONS + 1), patience=3)
    resume(run.path, data=data.from_arrays(FRACTIONS.copy()), patience=3)
