"""Settings from strangers: code that they name runs only if the user trusts it."""

from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest
import yaml

import ppvae
from ppvae.cli.given import given_settings
from ppvae.errors import InputError
from ppvae.fit import main, resume
from tests.support.fits import quick, rewrite_config, small_flags
from tests.support.slow import few
from tests.support.strangers import refusal, run

__all__ = ["quick", "run"]  # fixtures

EVIL = """
from pathlib import Path
Path({marker!r}).touch()
from ppvae.models import StandardNormal
class Prior(StandardNormal):
    def __init__(self, latent_dim):
        super().__init__(latent_dim)
"""


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
    few(
        [
            ("elbo", "TraceMeanField_ELBO", "jit_options"),
            ("optimizer", "Adam", "foreach"),
            ("schedule", "CyclicLR", "scale_fn"),
            ("decoder", "MLP", "hidden"),
        ],
        2,
    ),
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
        rewrite_config(run, methodcaller("update", {part: entry}))
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


def test_flags_of_the_user_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import path on the command line is trusted."""
    marker = evil(tmp_path, monkeypatch, "evil_flag")
    main([*small_flags(tmp_path), "--prior", "evil_flag.Prior", "--epochs", "1"])
    assert marker.exists()


def test_what_is_typed_wins_wherever_it_stands(tmp_path: Path) -> None:
    """A file after a flag neither overrides it nor gets its trust."""
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
        with pytest.raises(InputError, match="sets trust"):
            given_settings("fit", argv)
