"""Checkpoints and settings from strangers: opened without harm, or refused."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

import ppvae
from ppvae.errors import InputError
from ppvae.fit import resume
from tests.support.fits import quick, reseal, rewrite_config, table_file
from tests.support.slow import few
from tests.support.strangers import Exploit, refusal, run

__all__ = ["quick", "run"]  # fixtures


def step_of(run: Path) -> Path:
    return run / "checkpoints" / (run / "checkpoints" / "last").read_text().strip()


def test_a_pickle_is_never_opened(run: Path, tmp_path: Path) -> None:
    marker = tmp_path / "touched"
    (step_of(run) / "tensors.safetensors").write_bytes(pickle.dumps(Exploit(marker)))
    reseal(step_of(run))
    assert "cannot be read as a checkpoint" in refusal(run)
    assert not marker.exists()


@pytest.mark.parametrize("pointer", ["../../etc", "/etc", "step-1/../..", "", "step-999", "\x00"])
def test_a_pointer_stays_in_its_folder(pointer: str, run: Path) -> None:
    for name in ("best", "last"):
        (run / "checkpoints" / name).write_text(pointer)
    assert "no checkpoint" in refusal(run)
    assert "no checkpoint" in refusal(run, checkpoint="last")
    assert "no checkpoint" in refusal(run, checkpoint="../..")


def test_a_newer_format(run: Path) -> None:
    rewrite_config(run, lambda c: c["run"].update(format=99))
    assert "upgrade" in refusal(run)


def test_an_older_format(run: Path) -> None:
    rewrite_config(run, lambda c: c["run"].update(format=1))
    assert "fit again" in refusal(run)


@pytest.mark.parametrize("file", ["tensors.safetensors", "tree.json"])
@pytest.mark.parametrize(
    "content", few([None, b"", b"\x00\xff" * 40, b"[" * 100_000, b"[]", b"3"], 2)
)
def test_broken_checkpoints(file: str, content: bytes | None, run: Path) -> None:
    path = step_of(run) / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert refusal(run)
    reseal(step_of(run))
    assert refusal(run)


@pytest.mark.parametrize(
    "weights",
    [3, None, [], {}, {"a": 1}, {"model.decoder.layers.0.weight": {"$tensor": "no"}}, "text"],
)
def test_weights_that_are_none(weights: Any, run: Path) -> None:
    path = step_of(run) / "tree.json"
    tree = json.loads(path.read_text())
    tree["weights"] = weights
    path.write_text(json.dumps(tree))
    reseal(path.parent)
    assert refusal(run)


@pytest.mark.parametrize("part", ["optimizer", "random", "progress"])
@pytest.mark.parametrize("value", few([None, 3, [], {}, [{}], {"state": 3, "param_groups": []}], 3))
def test_states_that_are_none(part: str, value: Any, run: Path) -> None:
    path = step_of(run) / "tree.json"
    tree = json.loads(path.read_text())
    tree[part] = value
    path.write_text(json.dumps(tree))
    reseal(path.parent)
    with pytest.raises(InputError):
        resume(run, epochs=3)


WRONG: list[Any] = [None, -3, "text", [[]], {"a": [1]}, True, 10**30, float("nan")]
FIELDS = [
    ("latent_dim",), ("model",), ("prior",), ("likelihood",), ("decoder",), ("guide",),
    ("data",), ("data_dir",), ("binarize",), ("precision",), ("run",), ("run", "format"),
    ("run", "data"), ("run", "data", "shape"), ("run", "data", "labels"),
    ("run", "data", "scaling"), ("decoder", "init_args"), ("decoder", "init_args", "hidden"),
    ("decoder", "class_path"),
]  # fmt: skip


@pytest.mark.parametrize("field", few([(field,) for field in FIELDS], 7), ids=".".join)
def test_wrong_types_are_refused_or_of_no_effect(field: tuple[str, ...], run: Path) -> None:
    rewrite_config(run, lambda _: None)
    original = (run / "config.yaml").read_text()
    failures = []
    for value in WRONG:
        (run / "config.yaml").write_text(original)
        config = yaml.safe_load(original)
        place = config
        for key in field[:-1]:
            place = place[key]
        place[field[-1]] = value
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        try:
            opened = ppvae.load(run)
            opened.data()
            opened.new_data(table_file(run.parent))
            _ = opened.audit
        except InputError as error:
            if "\n" in str(error):
                failures.append((value, "more than a line"))
        except Exception as error:  # what a stranger's file must not cause
            failures.append((value, f"{type(error).__name__}: {error}"))
    assert not failures


@pytest.mark.parametrize(
    "field", few(["epochs", "batch_size", "beta", "warm_up", "patience", "clip", "seed", "lr",
                  "particles", "device", "devices", "elbo", "optimizer"], 3),
)  # fmt: skip
def test_settings_of_wrong_types_do_not_go_on(field: str, run: Path) -> None:
    rewrite_config(run, lambda _: None)
    original = (run / "config.yaml").read_text()
    failures = []
    values: list[Any] = ["text", [[]], {"a": [1]}, -3]
    for value in values:
        config = yaml.safe_load(original)
        config[field] = value
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        try:
            resume(run)
        except InputError:
            continue
        except Exception as error:  # what a stranger's file must not cause
            failures.append((value, f"{type(error).__name__}: {error}"))
    assert not failures
