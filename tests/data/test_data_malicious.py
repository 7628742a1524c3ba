"""Data chosen by a stranger's config: nothing is unpickled or written to its folder."""

import inspect
import pickle
import re
import sys
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest

import ppvae
from ppvae.data.vision import makers, unpickles
from ppvae.encode import encode
from ppvae.errors import InputError
from ppvae.fit import main, resume
from tests.support.fits import quick, rewrite_config
from tests.support.slow import few
from tests.support.strangers import Exploit, run

__all__ = ["quick", "run"]  # fixtures


def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data folder, without downloads."""
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
        rewrite_config(run, methodcaller("update", data="CIFAR10", data_dir=data_dir))
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
    # Data that the user names are read.
    with pytest.raises(InputError, match="cifar10"):
        ppvae.load(run, trust=["torchvision"]).data()
    assert marker.exists()
    marker.unlink()
    with pytest.raises(InputError, match="cifar10"):
        main([*argv, "--data", "cifar10"])
    assert marker.exists()


def test_readers_that_unpickle_are_known() -> None:
    """By the sources of the installed torchvision."""
    unsafe = re.compile(r"pickle\.load|allow_pickle=True|weights_only=False|[^.\w]eval\(")
    for name, maker in makers().items():
        source = inspect.getsource(sys.modules[maker.__module__])
        is_ours = maker.__module__.startswith("ppvae")
        assert is_ours or unpickles(maker) == bool(unsafe.search(source)), name


@pytest.mark.parametrize("name", few(["mnist", "omniglot", "binarized-mnist", "svhn", "emnist"], 3))
def test_nothing_is_written_where_a_stranger_says(
    name: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No downloads and no folders, whether the data_dir exists or not."""
    home, asked = at_home(tmp_path, monkeypatch), []
    argv = ["--config", str(run / "config.yaml"), "--out", str(tmp_path / "new")]
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **_: asked.append(a))
    for stranger in (tmp_path / "not there", tmp_path):
        rewrite_config(run, methodcaller("update", data=name, data_dir=str(stranger)))
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
