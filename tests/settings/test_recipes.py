"""Recipes by name in the command line, a file and Python; other settings override them."""

from pathlib import Path

import pytest
import yaml

from ppvae.cli.parsing import parse
from ppvae.data import from_arrays
from ppvae.errors import InputError
from ppvae.fit import fit
from ppvae.settings import Settings, settings_of
from ppvae.settings.recipes import FOLDER, recipe, recipes
from ppvae.settings.setting import BOUND, PROGRAMS, TRAINING
from ppvae.training.chosen_parts import chosen_parts
from tests.support.fits import quick, table

__all__ = ["quick"]  # a fixture


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_has_a_source_figures_and_settings_that_a_fit_takes(name: str) -> None:
    known = recipe(name)
    assert known.source
    assert known.differs
    assert known.measure in ("log p(x)", "accuracy")
    assert (known.samples > 0) == (known.measure == "log p(x)")
    assert (known.ours is None) == (known.measured == "")
    assert known.settings.keys() <= settings_of(Settings).keys()
    missing = {
        name
        for name, (_, about) in settings_of(Settings).items()
        if about.group in (PROGRAMS, BOUND, TRAINING) and name not in known.settings
    }
    # Unset, these mean none or concern data with y; other defaults may change.
    assert missing <= {
        "patience",
        "evaluate_every",
        "labelled",
        "clip",
        "seed",
        "seeds",
        "accumulate",
        "start",
        "trust",
        "encode_covariates",
    }
    assert {"data", "binarize", "precision"} <= known.settings.keys()
    assert "seed" not in known.settings
    chosen = chosen_parts(Settings.of_arguments(recipe=name))
    (in_a_file,) = (yaml.safe_load(file.read_text()) for file in FOLDER.glob(f"{name}.yaml"))
    assert chosen.programs["encoder"].class_path == in_a_file["encoder"]["class_path"]  # type: ignore[union-attr]  # a part by name


def test_flags_a_file_and_keywords_override_a_recipe(tmp_path: Path) -> None:
    by_flags = parse("fit", ["--recipe", "vae-400", "--epochs", "3", "--encoder.hidden", "8"]).given
    assert (by_flags["recipe"], by_flags["epochs"], by_flags["batch_size"]) == ("vae-400", 3, 100)
    assert by_flags["encoder"].init_args == {"hidden": "8", "activation": "relu"}
    (tmp_path / "own.yaml").write_text("recipe: vae-400\nepochs: 4\n")
    by_file = parse("fit", ["--config", str(tmp_path / "own.yaml"), "--lr", "0.5"]).given
    assert (by_file["epochs"], by_file["lr"], by_file["latent_dim"]) == (4, 0.5, 40)
    by_config = parse("fit", ["--config", "vae-400"]).given
    assert by_config == parse("fit", ["--recipe", "vae-400"]).given
    by_keywords = Settings.of_arguments("digits", recipe="vae-400", epochs=5)
    assert (by_keywords.data, by_keywords.epochs, by_keywords.lr) == ("digits", 5, 1e-4)


def test_none_unsets_a_number_of_a_recipe() -> None:
    assert parse("fit", ["--recipe", "m2-100"]).given["labelled"] == 16
    assert parse("fit", ["--recipe", "m2-100", "--labelled", "none"]).given["labelled"] is None
    with pytest.raises(InputError, match="`batch_size` is 'none'"):  # it has a default
        parse("fit", ["--batch-size", "none"])


def test_a_file_of_the_same_name_comes_before_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vae-400").write_text("epochs: 4\n")
    assert parse("fit", ["--config", "vae-400"]).given == {"epochs": 4}


def test_a_run_records_its_recipe_and_what_it_came_to(tmp_path: Path) -> None:
    small = {"class_path": "MLP", "init_args": {"hidden": [4]}}
    run = fit(
        from_arrays((table(columns=4) > 0).astype("float32")), recipe="vae-400", encoder=small,
        decoder=small, latent_dim=2, epochs=1, compile="off", schedule="none", out=tmp_path / "run",
    )  # fmt: skip
    assert (run.config["recipe"], run.config["batch_size"], run.config["lr"]) == (
        "vae-400", 100, 1e-4
    )  # fmt: skip
    assert run.config["latent_dim"] == 2


def test_list_shows_each_recipe_with_its_source_and_figures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse("fit", ["--recipe", "list"])
    shown = capsys.readouterr().out
    for name, known in recipes().items():
        (block,) = (b for b in shown.split("\n\n") if b.startswith(f"{name}: "))
        assert known.source in block
        assert known.differs in block
        assert f"published  {known.published:.2f}" in block
        assert known.ours is None or f"{known.ours:.2f}" in block


def test_a_wrong_name_is_answered_with_all_and_the_nearest() -> None:
    for ask in (lambda: parse("fit", ["--recipe", "vae-fxed"]), lambda: fit(recipe="vae-fxed")):
        with pytest.raises(InputError, match=r"'vae-fxed'.*iwae-1, .*did you mean vae-fixed\?"):
            ask()
