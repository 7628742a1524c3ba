"""Settings: each is one field, which defines keyword, check, flag and YAML key."""

import inspect
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from ppvae.cli.answering import start
from ppvae.cli.commands import COMMANDS
from ppvae.cli.parsing import parse
from ppvae.compare import compare_bounds, compare_runs
from ppvae.components.names import DEFAULTS, NAMES
from ppvae.diagnose import diagnose
from ppvae.diagnostics.questions import QUESTIONS
from ppvae.encode import encode
from ppvae.errors import InputError
from ppvae.export import export
from ppvae.fit import fit, resume
from ppvae.sample import sample
from ppvae.settings import (
    Class,
    CompareBounds,
    CompareRuns,
    Diagnose,
    Encode,
    Export,
    Resume,
    Sample,
    Settings,
    flagged,
    settings_of,
)  # fmt: skip
from tests.support.settings_page import PAGE, page
from tests.support.slow import few

FUNCTIONS: dict[Any, Any] = {
    fit: Settings, resume: Resume, compare_bounds: CompareBounds, compare_runs: CompareRuns,
    diagnose: Diagnose, encode: Encode, export: Export,
    sample: Sample,
}  # fmt: skip

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_a_function_takes_its_settings_and_tells_of_each(function: Any) -> None:
    kind = FUNCTIONS[function]
    parameters = inspect.signature(function).parameters
    assert list(parameters) == [each.name for each in fields(kind)]
    for each in fields(kind):
        parameter = parameters[each.name]
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert f"\n    {each.name}: " in function.__doc__
    assert "Raises:" in function.__doc__.partition("\nArgs:\n")[2]
    with pytest.raises(TypeError, match=r"no argument 'sed' \(did you mean seed\?\)"):
        fit(sed=3)  # type: ignore[call-arg]  # what a type checker would refuse


@pytest.mark.slow
def test_an_editor_sees_each_keyword_with_its_type_and_default(tmp_path: Path) -> None:
    (tmp_path / "asks.py").write_text(
        "from ppvae.fit import fit, resume\n"
        "from ppvae.encode import encode\n"
        "reveal_type(fit)\nreveal_type(resume)\nreveal_type(encode)\n"
        "fit('digits', epochs='many')\nfit(epoch=3)\nencode()\n"
    )
    told = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"),
         str(tmp_path / "asks.py")],
        capture_output=True, text=True, cwd=ROOT, env={"MYPYPATH": str(ROOT), "PATH": ""},
    ).stdout  # fmt: skip
    assert "epochs: int | None =" in told
    assert "patience: int | None =" in told
    assert "Literal['bf16-mixed']" in told
    assert "def (run: str | " in told
    assert "-> ppvae.fitted.Run" in told
    for mistake in ('"epochs" to "fit" has incompatible', 'argument "epoch" for "fit"',
                    'Missing positional argument "run"'):  # fmt: skip
        assert mistake in told, told


@pytest.mark.parametrize(
    ("name", "argv", "code"),
    few(
        [
            ("fit", ["--help"], 0),
            ("fit", ["--epocs", "3"], 2),
            ("fit", ["--epochs", "many"], 2),
            ("fit", ["--config", "nowhere.yaml"], 2),
            ("encode", ["runs/x", "--data", "nowhere.csv"], 2),
            ("fit", ["--prior", "VampPrior", "--prior.components", "9", "--print_config"], 0),
            *((name, ["--help"], 0) for name in COMMANDS if name != "fit"),
            *((name, ["runs/x", "--sed", "3"], 2) for name in COMMANDS if name != "fit"),
            ("encode", ["runs/x", "--samples", "-1"], 2),
            ("fit", ["--elbo", "TraceELBO"], 2),
            ("fit", ["--optimizer", "Adem", "--print_config"], 2),
            ("diagnose", ["runs/x", "--only", "evidense"], 2),
        ],
        4,
    ),
)
def test_help_and_mistakes_are_answered_without_torch(
    name: str, argv: list[str], code: int
) -> None:
    """Also by ``ppvae COMMAND``."""
    for module, words in ((f"ppvae.{name}", argv), ("ppvae", [name, *argv])):
        ask = (
            "import runpy, sys\n"
            f"sys.argv[1:] = {words!r}\n"
            f"try: runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
            "except SystemExit as left: code = left.code or 0\n"
            "heavy = {'torch', 'numpy', 'pyro', 'jsonargparse', 'rich'} & sys.modules.keys()\n"
            f"assert (code, heavy) == ({code}, set()), (code, heavy)\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", ask], capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


def test_a_missing_path_is_refused_before_the_command_is_imported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for flags in (["--data", "no/where.csv"], ["--data", "digits", "--valid", "nowhere.csv"]):
        with pytest.raises(SystemExit, match="2"):
            start("fit", flags)
        said = " ".join(flags[-2:])
        assert f"error: {said}: there is no such file or folder" in capsys.readouterr().err
    start("fit", ["--data", "digits", "--valid", "none"])


def test_help_is_sentences_with_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in COMMANDS.items():
        with pytest.raises(SystemExit):
            parse(name, ["--help"])
        told = capsys.readouterr().out
        for strange in ("Union", "type:", "null", "None", "ignored", "class '", "Optional"):
            assert strange not in told
        for _, about in flagged(command.settings).values():
            assert about.sentence.endswith(".")
            assert about.sentence.split()[0] in told


def test_what_is_printed_is_read_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    argv = ["--epochs", "7", "--compile", "on", "--precision", "32", "--guide", "Flow"]
    argv += ["--guide.transforms", "2", "--clip", "1e-3", "--data-dir", "there"]
    argv += ["--likelihood.variance", "0.5", "--optimizer.eps", "1e-6"]
    with pytest.raises(SystemExit):
        parse("fit", [*argv, "--print_config"])
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["guide"] == {
        "class_path": "Flow", "init_args": {"transforms": "2"},
    }  # fmt: skip
    assert yaml.safe_load(printed)["likelihood"] == {"init_args": {"variance": "0.5"}}
    (tmp_path / "settings.yaml").write_text(printed)
    with pytest.raises(SystemExit):
        parse("fit", ["--config", str(tmp_path / "settings.yaml"), "--print_config"])
    assert capsys.readouterr().out == printed
    given = parse("fit", ["--config", str(tmp_path / "settings.yaml"), "--epochs", "8"]).given
    assert (given["epochs"], given["clip"], given["compile"]) == (8, 1e-3, "on")
    assert given["likelihood"].is_default
    argv = ["--config", str(tmp_path / "settings.yaml"), "--likelihood.families", "{u: Laplace}"]
    families = parse("fit", argv).given["likelihood"]
    assert (families.is_default, [*families.init_args]) == (True, ["variance", "families"])


def test_the_default_parts_are_those_of_the_sentences() -> None:
    for name, (_, about) in settings_of(Settings).items():
        assert isinstance(about.values, Class) == (name in NAMES)
        if name in DEFAULTS:
            assert DEFAULTS[name].class_path in about.unset
    told = settings_of(Diagnose)["only"][1].sentence
    assert all(question in told for question in QUESTIONS)


def test_what_a_person_alone_may_set_is_not_recorded() -> None:
    kept = Settings().recorded()
    for name, (_, about) in settings_of(Settings).items():
        assert (name in kept) == about.is_recorded
        assert not (about.is_recorded and about.is_for_people)
    changeable = {n for n, (_, about) in settings_of(Settings).items() if about.may_change}
    assert changeable == settings_of(Resume).keys() & settings_of(Settings).keys() - {
        "model", "guide", "data",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epochs": 0}, "`epochs` is 0; it must be at least 1"),
        ({"epochs": 1.5}, "`epochs` is 1.5; it must be a whole number, at least 1"),
        ({"epochs": True}, "`epochs` is True; it must be a whole number, at least 1"),
        ({"lr": 1e-40}, "`lr` is 1e-40; it must be above 0 and finite"),
        ({"beta": "full"}, "`beta` is 'full'; it must be a number 0 or more, and finite"),
        ({"device": "gpu"}, "`device` is 'gpu'; it must be one of auto, cpu, cuda, mps"),
        ({"seed": 2**32}, r"from 0 to 4294967295 \(2\*\*32 - 1\)"),
        ({"overwrite": 1}, "`overwrite` is 1; it must be true or false"),
        ({"trust": 3}, "`trust` is 3; it must be a name or a list of names"),
        ({"warm_up": 3, "epochs": 3}, "`warm_up` is 3, so none of the 3 epochs"),
    ],
)
def test_a_value_that_is_none_is_a_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Settings(**settings)


def test_one_name_is_a_list_of_it() -> None:
    assert Diagnose("runs/x", only="gap").only == ("gap",)
    assert Settings(trust="mine").trust == ("mine",)
    assert Settings(covariates="age").covariates == ("age",)
    assert CompareRuns("runs/x").runs == ("runs/x",)
    with pytest.raises(InputError, match=r"names among bound.* \(did you mean gap") as refused:
        Diagnose("runs/x", only="gapp")
    assert refused.value.__suppress_context__  # one sentence, without Python's own error before it


def test_numbers_of_numpy_are_pythons_own() -> None:
    import numpy as np

    settings = Settings(epochs=np.int64(3), lr=np.float64(0.5))  # type: ignore[arg-type]  # not int
    assert yaml.safe_dump(settings.recorded())
    assert (type(settings.epochs), type(settings.lr)) == (int, float)


def test_the_commands_by_one_name(capsys: pytest.CaptureFixture[str]) -> None:
    def ask(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "ppvae", *words], capture_output=True, text=True, cwd=ROOT
        )

    listed = ask()
    assert listed.returncode == 0
    assert all(f"  {name} " in listed.stdout for name in COMMANDS)
    unknown = ask("fti", "--epochs", "2")
    assert unknown.returncode == 2
    assert unknown.stderr.startswith("error: there is no command fti (did you mean fit?)")
    assert unknown.stderr.count("\n") == 1


def test_the_page_of_settings_is_made_of_them() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.support.settings_page"


@pytest.mark.parametrize(
    "scalar", ["2024-13-45", "0b_", "1" * 5000, '!!int ""', "!!bool x", "!!timestamp x"]
)
def test_a_scalar_that_yaml_cannot_make_is_refused_by_its_place(
    scalar: str, tmp_path: Path
) -> None:
    (tmp_path / "f.yaml").write_text(f"epochs: {scalar}\n")
    with pytest.raises(
        InputError, match=r"f.yaml cannot be read as YAML.* is not a valid .*line 1"
    ):
        parse("fit", ["--config", str(tmp_path / "f.yaml")])


@pytest.mark.parametrize(
    ("settings", "must"),
    [
        ({"seed": 10**5000}, "thousands of digits; it must be from 0"),
        ({"data": ""}, "a name or a path"),
        ({"out": ""}, "a path"),
        ({"device": [1, 2]}, "one of auto"),
        ({"batch_size": 10**30}, "from 1 to"),
    ],
)
def test_strange_values_from_python_are_refused(settings: dict[str, Any], must: str) -> None:
    with pytest.raises(InputError, match=must):
        Settings(**settings)


def test_words_that_yaml_and_python_spell_otherwise_are_taken() -> None:
    assert Settings(precision=32).precision == "32"  # type: ignore[arg-type]  # as YAML has it
    assert Settings(compile=True).compile == "on"  # type: ignore[arg-type]  # likewise


def test_a_printed_file_gives_the_command_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the run and the checkpoint."""
    words = ["runs/x", "--checkpoint", "last", "--samples", "3"]
    with pytest.raises(SystemExit):
        parse("encode", [*words, "--print_config"])
    (tmp_path / "f.yaml").write_text(capsys.readouterr().out)
    again = parse("encode", ["--config", str(tmp_path / "f.yaml")]).given
    assert again["run"] == "runs/x"
    assert again["checkpoint"] == "last"
    assert again["samples"] == 3
    with pytest.raises(InputError, match="the run is missing"):
        parse("encode", ["--samples", "3"])


def test_few_rows_are_passed_over_more_often_unless_epochs_are_given() -> None:
    for steps, anew, still in ((400, 100, 100), (20, 220, 100), (11, 400, 100), (3, 400, 134)):
        assert Settings().laid_out(steps, is_anew=True).epochs == anew
        assert Settings().laid_out(steps, is_anew=False).epochs == still
    assert Settings().laid_out(1, is_anew=False).epochs == 400
    assert Settings(epochs=5).laid_out(3, is_anew=True).epochs == 5
    assert Settings().passes == 100
