"""The commands, each with its settings and a one-line description."""

from dataclasses import dataclass

from ppvae.settings import Checked, Compare, Diagnose, Encode, Export, FitCommand, Sample


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        name: its module in `ppvae`.
        settings: the dataclass from which its flags are made.
        sentence: its description in ``--help``.
    """

    name: str
    settings: type[Checked]
    sentence: str


COMMANDS = {
    command.name: command
    for command in (
        Command("fit", FitCommand, "Fit a variational autoencoder, and say how good it is."),
        Command(
            "diagnose", Diagnose, "Measure how good a run's bound is, and where nats are lost."
        ),
        Command(
            "compare",
            Compare,
            "Compare runs on the same rows; without runs, compare two bounds on one program.",
        ),
        Command("encode", Encode, "Write the embedding and log p(x) of each datum."),
        Command("export", Export, "Write the encoder or decoder of a run for use elsewhere."),
        Command("sample", Sample, "Draw from a fitted run, reconstruct, interpolate and impute."),
    )
}
