"""The page of settings, ``docs/reference/settings.md``, from the dataclasses.

``python -m tests.support.settings_page`` writes it.
"""

from dataclasses import MISSING
from pathlib import Path

from ppvae.cli.commands import COMMANDS
from ppvae.cli.flags_in_sentences import flag
from ppvae.settings import Sources, settings_of, told

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"

HEAD = """# Settings

Each command of ppvae and the function of the same name take these settings: on the command line as
flags, in Python as keyword arguments, in a file of `--config` as YAML. `config.yaml` of a run keeps
those of its fit. This page is made by
`python -m tests.support.settings_page` from `ppvae.settings`, as `--help` is.
"""


def page() -> str:
    """A table for each command, its settings by group."""
    parts = [HEAD]
    for command in COMMANDS.values():
        parts += [
            f"## {command.name.capitalize()}\n",
            f"`ppvae.{command.name}`: {command.sentence}\n",
            "| group | flag | in Python | what it is |\n|---|---|---|---|",
        ]
        for name, (each, about) in settings_of(command.settings).items():
            word = name.upper() if each.default is MISSING else flag(name)
            if isinstance(about.values, Sources):
                word = f"{name.upper()[:-1]} ..."
            word = "" if about.is_for_python else f"`{word}`"
            sentence = told(each, about).replace("|", "\\|")
            parts.append(f"| {about.group} | {word} | `{name}` | {sentence} |")
        parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
