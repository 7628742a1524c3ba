"""A stranger's run directory: opened without running what it names, or refused in a sentence."""

import inspect
import json
import os
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import ppvae
from ppvae.cli.given import given_settings
from ppvae.data.vision import makers, unpickles
from ppvae.encode import encode
from ppvae.errors import InputError
from ppvae.fit import main, resume
from tests.support.fits import quick, reseal, rewrite_config, small_copy, small_flags, table_file

__all__ = ["quick"]  # a fixture, used by every test here

EVIL = """
from pathlib import Path
Path({marker!r}).touch()
from ppvae.models import StandardNormal
class Prior(StandardNormal):
    def __init__(self, latent_dim):
        super().__init__(latent_dim)
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return small_copy(tmp_path, epochs=1)


def refusal(run: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        ppvae.load(run, **options).data()
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
    marker = tmp_path / "touched"
    home = tmp_path / "home"
    home.mkdir()
    (home / f"{name}.py").write_text(EVIL.format(marker=str(marker)))
    monkeypatch.syspath_prepend(home)
    return marker


@pytest.mark.parametrize("part", ["model", "prior", "likelihood", "decoder", "guide", "encoder"])
def test_a_function_of_the_system_is_not_called(part: str, run: Path, tmp_path: Path) -> None:
    marker = tmp_path / "touched"
    args = {"command": f"touch {marker}"}
    rewrite_config(run, lambda c: c.update({part: {"class_path": "os.system", "init_args": args}}))
    assert "os.system" in refusal(run)
    assert not marker.exists()


@pytest.mark.parametrize("part", ["elbo", "optimizer", "schedule"])
def test_nor_by_going_on(part: str, run: Path, tmp_path: Path) -> None:
    marker = tmp_path / "touched"
    args = {"command": f"touch {marker}"}
    rewrite_config(run, lambda c: c.update({part: {"class_path": "os.system", "init_args": args}}))
    with pytest.raises(InputError, match=r"os\.system"):
        resume(run)
    assert not marker.exists()


def test_code_is_imported_only_if_trusted(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = evil(tmp_path, monkeypatch, "evil_part")
    rewrite_config(
        run, lambda c: c.update(prior={"class_path": "evil_part.Prior", "init_args": {}})
    )
    assert "`trust=['evil_part']`" in refusal(run)
    assert "`trust=['evil_part']`" in refusal(run, trust=["evil"])  # a prefix is not the module
    assert not marker.exists()
    ppvae.load(run, trust=["evil_part"])
    assert marker.exists()


def test_a_config_cannot_vouch_for_itself(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = evil(tmp_path, monkeypatch, "evil_config")
    entry = {"class_path": "evil_config.Prior", "init_args": {}}
    rewrite_config(run, lambda c: c.update(prior=entry))
    argv = ["--config", str(run / "config.yaml"), "--out", str(tmp_path / "new")]
    with pytest.raises(InputError, match=r"`trust=\['evil_config'\]`"):
        main(argv)
    rewrite_config(run, lambda c: c.update(prior=entry, trust=["evil_config"]))
    with pytest.raises(InputError, match="trust"):
        main(argv)
    rewrite_config(run, lambda c: c.update(prior="evil_config.Prior"))
    with pytest.raises(InputError, match="trust"):
        main(argv)
    assert not marker.exists()
    assert not (tmp_path / "new").exists()
    rewrite_config(run, lambda c: (c.update(prior=entry), c.pop("trust")))
    main([*argv, "--trust", "evil_config"])
    assert marker.exists()


@pytest.mark.parametrize(
    ("part", "name", "argument"),
    [
        ("elbo", "TraceMeanField_ELBO", "jit_options"),
        ("optimizer", "Adam", "foreach"),
        ("schedule", "CyclicLR", "scale_fn"),
        ("decoder", "MLP", "hidden"),
    ],
)
def test_arguments_cannot_name_code(
    part: str, name: str, argument: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = evil(tmp_path, monkeypatch, "evil_argument")
    code: list[Any] = [
        "evil_argument.Prior", {"class_path": "evil_argument.Prior"},
        "{class_path: evil_argument.Prior}", [{"class_path": "evil_argument.Prior"}],
        '{"class_path": "evil_argument.Prior", "init_args": {"latent_dim": 2}}',
    ]  # fmt: skip
    for value in code:
        entry = {"class_path": name, "init_args": {argument: value}}
        rewrite_config(run, lambda c, entry=entry: c.update({part: entry}))  # type: ignore[misc]  # mypy infers no defaulted lambda
        with pytest.raises(InputError):
            resume(run)
        with pytest.raises(InputError):
            main(["--config", str(run / "config.yaml"), "--out", str(tmp_path / "new")])
        assert not marker.exists()


@pytest.mark.parametrize("field", ["data", "run", "latent_dim", "data_dir", "label", "trusty"])
def test_other_settings_cannot_name_code(
    field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = evil(tmp_path, monkeypatch, "evil_setting")
    config = tmp_path / "stranger.yaml"
    for value in ({"class_path": "evil_setting.Prior"}, "evil_setting.Prior"):
        config.write_text(yaml.safe_dump({field: value, "epochs": 0}))
        with pytest.raises(InputError):
            main(["--config", str(config), "--out", str(tmp_path / "new")])
        assert not marker.exists()


def test_tags_of_python_are_harmless(run: Path, tmp_path: Path) -> None:
    marker = tmp_path / "touched"
    tag = f"!!python/object/apply:os.system ['touch {marker}']"
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(f"{config}\nextra: {tag}\n")
    assert "config.yaml" in refusal(run)
    stranger = tmp_path / "stranger.yaml"
    stranger.write_text(f"epochs: {tag}\n")
    with pytest.raises(InputError):
        main(["--config", str(stranger), "--out", str(tmp_path / "new")])
    assert not marker.exists()
    assert not (tmp_path / "new").exists()


class Exploit:
    """What runs ``touch`` when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.target}",)


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
    assert "fit it anew" in refusal(run)


@pytest.mark.parametrize("file", ["tensors.safetensors", "tree.json"])
@pytest.mark.parametrize("content", [None, b"", b"\x00\xff" * 40, b"[" * 100_000, b"[]", b"3"])
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
@pytest.mark.parametrize("value", [None, 3, [], {}, [{}], {"state": 3, "param_groups": []}])
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


@pytest.mark.parametrize("field", FIELDS, ids=".".join)
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
    "field", ["epochs", "batch_size", "beta", "warm_up", "patience", "clip", "seed", "lr",
              "particles", "device", "devices", "elbo", "optimizer"],
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


def test_flags_of_the_user_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed is meant: an import path on the command line needs no further word."""
    marker = evil(tmp_path, monkeypatch, "evil_flag")
    main([*small_flags(tmp_path), "--prior", "evil_flag.Prior", "--epochs", "1"])
    assert marker.exists()


def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder of data; nothing comes from the net."""
    home = tmp_path / "cache"
    monkeypatch.setenv("PPVAE_DATA", str(home))
    return home


def cifar(folder: Path, marker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that torchvision takes for CIFAR-10, with a batch that touches ``marker``."""
    from torchvision.datasets import CIFAR10

    batches = folder / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    for name, _ in CIFAR10.train_list + CIFAR10.test_list:
        (batches / name).write_bytes(pickle.dumps(Exploit(marker)))
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda _: True)


def test_a_run_does_not_have_its_data_unpickled(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker, stranger = tmp_path / "touched", tmp_path / "stranger"
    home = at_home(tmp_path, monkeypatch)
    for folder in (stranger, home):
        cifar(folder, marker, monkeypatch)
    for data_dir in (str(stranger), None):
        rewrite_config(run, lambda c, d=data_dir: c.update(data="CIFAR10", data_dir=d))  # type: ignore[misc]  # mypy infers no defaulted lambda
        calls: list[Callable[[], Any]] = [
            lambda: ppvae.load(run).data(),
            lambda: ppvae.load(run, trust=["evil"]).data(),
            lambda: resume(run, epochs=3),
            lambda: encode(run, split="train"),
        ]
        if data_dir:
            calls.append(lambda: encode(run, data="cifar10"))
        for call in calls:
            with pytest.raises(InputError, match=r"`trust=\['torchvision'\]`"):
                call()
        argv = ["--config", str(run / "config.yaml"), "--out", str(tmp_path / "new")]
        for more in ([], ["--data", "cifar10"] if data_dir else []):
            with pytest.raises(InputError, match=r"`trust=\['torchvision'\]`"):
                main([*argv, *more])
    assert not marker.exists()
    # What the user names is read, however unwise.
    with pytest.raises(InputError, match="cifar10"):
        ppvae.load(run, trust=["torchvision"]).data()
    assert marker.exists()
    marker.unlink()
    with pytest.raises(InputError, match="cifar10"):
        main([*argv, "--data", "cifar10"])
    assert marker.exists()


def test_readers_that_unpickle_are_known() -> None:
    """By what torchvision's sources say, whichever version is installed."""
    unsafe = re.compile(r"pickle\.load|allow_pickle=True|weights_only=False|[^.\w]eval\(")
    for name, maker in makers().items():
        source = inspect.getsource(sys.modules[maker.__module__])
        is_ours = maker.__module__.startswith("ppvae")
        assert is_ours or unpickles(maker) == bool(unsafe.search(source)), name


@pytest.mark.parametrize("name", ["mnist", "omniglot", "binarized-mnist", "svhn", "emnist"])
def test_nothing_is_written_where_a_stranger_says(
    name: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither downloads nor folders, in a data_dir that is there or not."""
    home, asked = at_home(tmp_path, monkeypatch), []
    argv = ["--config", str(run / "config.yaml"), "--out", str(tmp_path / "new")]
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **_: asked.append(a))
    for stranger in (tmp_path / "not there", tmp_path):
        rewrite_config(run, lambda c, s=stranger: c.update(data=name, data_dir=str(s)))  # type: ignore[misc]  # as above
        before = sorted(tmp_path.rglob("*"))
        for call in (
            lambda: ppvae.load(run).data(),
            lambda: ppvae.load(run).new_data(name),
            lambda: resume(run, epochs=3),
            lambda: main(argv),
        ):
            with pytest.raises(InputError, match="you did not name") as caught:
                call()
            assert "`data_dir`" in str(caught.value) or "`trust=" in str(caught.value)
        assert sorted(tmp_path.rglob("*")) == before
    assert not home.exists()
    assert not asked


def test_what_is_typed_wins_wherever_it_stands(tmp_path: Path) -> None:
    """A file after a flag does not take its place, nor the trust that the typed word has."""
    config = tmp_path / "stranger.yaml"
    config.write_text("prior: evil_part.Prior\ndata: kmnist\nepochs: 3\n")
    typed = ["--prior", "VampPrior", "--data", "digits", "--epochs", "5"]
    for argv in ([*typed, "--config", str(config)], [f"--config={config}", *typed]):
        given = given_settings("fit", argv)
        assert (given["prior"].class_path, given["data"], given["epochs"]) == (
            "VampPrior", "digits", 5
        )  # fmt: skip
    config.write_text("trust: [evil_part]\n")
    for argv in (["--trust", "mine", "--config", str(config)], ["--config", str(config)]):
        with pytest.raises(InputError, match="says trust"):
            given_settings("fit", argv)
