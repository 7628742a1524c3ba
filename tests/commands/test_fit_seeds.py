"""Fits with several seeds, and fits that start from the weights of a run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ppvae.data import from_arrays
from ppvae.errors import InputError
from ppvae.fit import fit, main
from ppvae.fitted import Run
from tests.support.fits import SMALL, quick, small, small_copy, small_flags, table, table_file

__all__ = ["quick"]  # a fixture: fits without pictures


def weights(run: Run, name: str = "best") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = run.state(name)["weights"]
    return found


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_several_seeds_are_the_fits_of_each_seed(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "data": table_file(tmp_path), "likelihood": "Gaussian", "decoder": SMALL, "encoder": SMALL,
        "latent_dim": 2, "batch_size": 32, "epochs": 1, "device": "cpu", "seed": 4,
    }  # fmt: skip
    runs: Any = fit(**settings, seeds=2, out=tmp_path / "two")
    assert [run.path for run in runs] == [tmp_path / "two" / f"seed-{seed}" for seed in (4, 5)]
    alone = small(tmp_path, epochs=1, seed=5, schedule=..., evaluate_every=...)
    assert_same(weights(runs[1]), weights(alone))
    assert [run.config["seed"] for run in runs] == [4, 5]
    with pytest.raises(InputError, match=r"seed-5 holds a run already.*`overwrite=True`"):
        fit(**settings | {"seed": 5}, seeds=2, out=tmp_path / "two")
    assert not (tmp_path / "two" / "seed-6").exists()
    with pytest.raises(InputError, match="`seeds=2` makes folders of runs in it"):
        fit(**settings, seeds=2, out=alone.path)
    with pytest.raises(InputError, match="last of the seeds"):
        fit(**settings | {"seed": 2**32 - 1}, seeds=2, out=tmp_path / "three")


def test_the_command_fits_by_several_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*small_flags(tmp_path, "two"), "--seeds", "2"])
    assert (tmp_path / "two" / "seed-1" / "summary.json").is_file()
    assert f"2 runs are in {tmp_path / 'two'}" in "".join(capsys.readouterr().out.split("\n"))


@pytest.mark.slow
def test_a_fit_begins_from_the_best_weights_of_a_run(tmp_path: Path) -> None:
    first = Run(small_copy(tmp_path, "first"))
    # With a vanishing learning rate the weights stay the initial ones, also under another bound.
    more = from_arrays(3 + 2 * table(120, seed=1))
    still: dict[str, Any] = {"lr": 1e-30, "elbo": "Trace_ELBO", "data": more}
    for number, start in enumerate((first, str(first.path))):
        second = small(tmp_path, f"second-{number}", **still, start=start, epochs=1)
        assert_same(weights(second, "last"), weights(first))
        assert second.config["start"] == str(first.path)
        assert second.resolved["start"] == first.checkpoint
    # The unit is kept, since the weights depend on it.
    assert second.scaling == first.scaling
    assert small(tmp_path, "other", **still, epochs=1).scaling != first.scaling
    anew = small(tmp_path, "anew", **still, start=first, scale="standardize", epochs=1)
    assert anew.scaling != first.scaling


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"latent_dim": 3}, r"has shape \(.*\) in its programs, but \(.*\) in those of this fit"),
        ({"data": from_arrays(table(columns=4))}, r"fitted on tables of 3 columns"),
        ({"start": "nowhere"}, "there is no run nowhere"),
    ],
    ids=["latents", "columns", "nothing"],
)
def test_a_fit_does_not_begin_from_other_programs(
    tmp_path: Path, settings: dict[str, Any], match: str
) -> None:
    first = small_copy(tmp_path, "first")
    with pytest.raises(InputError, match=match):
        small(tmp_path, **{"start": first} | settings)
    assert not (tmp_path / "run").exists()


def test_labels_of_other_classes_are_refused(tmp_path: Path) -> None:
    x = table(40)
    kinds = from_arrays(x, np.array(["a", "b"] * 20))
    first = small(tmp_path, "first", data=kinds, model="ConditionalVAE", epochs=1)
    others = from_arrays(x, np.array(["b", "c"] * 20))
    with pytest.raises(InputError, match="its labels are a, b, but those of arrays are b, c"):
        small(tmp_path, data=others, model="ConditionalVAE", start=first)


@pytest.mark.slow
def test_a_started_fit_goes_on_bit_by_bit(tmp_path: Path) -> None:
    from ppvae.fit import resume

    first = small_copy(tmp_path, "first")
    whole = small(tmp_path, "whole", start=first, epochs=3)
    half = small(tmp_path, "half", start=first, epochs=2)
    assert_same(weights(resume(half.path, epochs=3), "last"), weights(whole, "last"))


def test_a_started_fit_has_the_programs_of_its_run_where_nobody_says(tmp_path: Path) -> None:
    data = np.load(table_file(tmp_path))
    first = small(tmp_path, "first", data=data, prior="MixtureOfNormals", latent_dim=3)
    second = fit(data=data, start=first, epochs=1, out=tmp_path / "second")
    for part in ("prior", "likelihood", "encoder", "decoder", "latent_dim"):
        assert second.config[part] == first.config[part]
    with pytest.raises(InputError, match="has shape"):
        fit(data=data, start=first, latent_dim=2, out=tmp_path / "third")
