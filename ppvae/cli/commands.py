"""The commands, each with its settings and one sentence."""

from dataclasses import dataclass

from ppvae.settings import Checked, Compare, Diagnose, Encode, Export, FitCommand, Sample


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        name: its module in `ppvae`.
        settings: the dataclass that its flags are made from.
        sentence: what it does.
    """

    name: str
    settings: type[Checked]
    sentence: str


COMMANDS = {
    command.name: command
    for command in (
        Command("fit", FitCommand, "Fit a variational autoencoder, and say how good it is."),
        Command(
            "diagnose", Diagnose, "Ask a fitted run how good its bound is, and where nats are lost."
        ),
        Command(
            "compare",
            Compare,
            "Put runs side by side on the same rows; without runs, two bounds on one program.",
        ),
        Command("encode", Encode, "Write the embedding and log p(x) of each datum."),
        Command("export", Export, "Write the encoder or decoder of a run for use elsewhere."),
        Command("sample", Sample, "Draw from a fitted run, reconstruct, interpolate and impute."),
    )
}
