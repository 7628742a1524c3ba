"""Export the encoder or the decoder of a run, as a graph that runs with torch alone.

python -m ppvae.export runs/digits-20260101-120000                 # x to loc and scale of q(z | x)
python -m ppvae.export RUN --what decoder                          # z to the mean of p(x | z)
python -m ppvae.export RUN --what decoder --out decoder.pt2
"""

if __name__ == "__main__":  # before the imports that take seconds
    from ppvae.cli.interruption import leave_on_interrupt

    leave_on_interrupt()
    from ppvae.cli.answering import start

    start("export")

import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ppvae.cli.answering import answer
from ppvae.cli.given import given_settings
from ppvae.encode import check_free
from ppvae.errors import InputError
from ppvae.programs.isolation import alone
from ppvae.run import Run, load, versions
from ppvae.run.store import write_bytes, writing
from ppvae.settings import Export, takes

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from ppvae.compilation.exporting.exporting import Exported

ABOUT = "about.json"
"""The file within the archive that says what goes in and out."""


@dataclass(frozen=True)
class ExportedPart:
    """A part that was written.

    Attributes:
        path: the file.
        program: what is in it.
        about: names, shapes and units of what goes in and out: ``about.json`` in the file.
    """

    path: Path
    program: "ExportedProgram"
    about: Mapping[str, Any]


@alone
@takes(Export)
def export(asked: Export) -> ExportedPart:
    """Write a part of a run for use elsewhere, by ``torch.export``.

    The encoder takes x (and what else the guide takes, such as y or mask) to ``loc`` and ``scale``
    of q(z | x), ``(batch, latent)`` each (``loc_SITE`` and ``scale_SITE`` where there are several
    latents). The decoder takes the latents (and what else the model takes) to the ``mean`` of
    p(x | z), in the model's unit, and ``raw``, in that of the data, where the two differ. The batch
    may be of any size. Each is compared with the programs before it is written, at several sizes.
    The archive holds ``about.json``: names, shapes, scaling, labels and versions::

        about = {"about.json": ""}
        encoder = torch.export.load("encoder.pt2", extra_files=about).module()
        encoder(x)["loc"]

    Raises:
        InputError: for programs that have no such graph: their moments have no closed form, or what
            they compute depends on numbers in the tensors, or on the other rows of a batch.
    """
    from ppvae.compilation.exporting.exporting import export_part
    from ppvae.compilation.exporting.parts import decoder, encoder

    run = asked.run
    if not isinstance(run, Run):
        run = load(str(run), trust=asked.trust, checkpoint=asked.checkpoint)
    target = Path(asked.out) if asked.out is not None else run.path / f"{asked.what}.pt2"
    if target.suffix != ".pt2":
        raise InputError(
            f"`out={str(target)!r}`: a part is written as an archive of torch's, .pt2; name such a "
            "file"
        )
    check_free(target, overwrite=asked.overwrite)
    with writing(target.parent):
        pair, facts, rows = run.pair, run.audit, run.example()
        is_scaled = run.scaling.scale is not None or run.scaling.kind == "8-bit"
        is_as_read = (run.config.get("binarize") or "none") == "none"
        if asked.what == "encoder":
            part = encoder(pair, facts, rows)
        else:
            part = decoder(pair, facts, rows, run.scaling if is_scaled and is_as_read else None)
        exported = export_part(pair, part, asked.what)
        about = _about(run, asked.what, exported)
        archive = io.BytesIO()
        text = json.dumps(about, indent=1) + "\n"
        torch.export.save(exported.program, archive, extra_files={ABOUT: text})
        write_bytes(target, archive.getvalue())
    return ExportedPart(target, exported.program, about)


def _about(run: Run, what: str, exported: "Exported") -> dict[str, Any]:
    """What goes in and out, in words and numbers, for who has the file alone."""

    def told(name: str, value: Tensor) -> dict[str, Any]:
        shape = ["batch", *value.shape[1:]]
        return {"name": name, "shape": shape, "type": str(value.dtype).removeprefix("torch.")}

    return {
        "what": what,
        "inputs": [told(name, value) for name, value in exported.inputs.items()],
        "outputs": [
            told(name, value) | {"meaning": exported.meanings[name]}
            for name, value in exported.outputs.items()
        ],
        "latents": list(run.audit.latents),
        "scaling": run.scaling.to_dict() | {"sentence": run.scaling.sentence()},
        "binarize": run.config.get("binarize") or "none",
        "columns": [asdict(column) for column in run.schema.columns or ()],
        "labels": None if run.label_names is None else list(run.label_names),
        "run": run.path.name,
        "checkpoint": run.checkpoint,
        "versions": versions(),
    }


def show(result: ExportedPart) -> None:
    """Print what goes in and out, and where it is."""
    from ppvae.cli.terminal import say, show_table

    rows = [
        (
            side,
            each["name"],
            f"({', '.join(map(str, each['shape']))})",
            each.get("meaning", each["type"]),
        )
        for side in ("inputs", "outputs")
        for each in result.about[side]
    ]
    show_table(f"the {result.about['what']}", ("", "name", "shape", ""), rows)
    say(f"x: {result.about['scaling']['sentence']}, binarize: {result.about['binarize']}")
    say(f"everything is in {result.path}, its {ABOUT} included; torch.export.load reads it")


def main(argv: Sequence[str]) -> None:
    """The command: export, and show."""
    show(export(**given_settings("export", argv)))


if __name__ == "__main__":
    answer(main, sys.argv[1:])
