"""Export the encoder or the decoder of a run, as a graph that needs only torch.

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
"""The file in the archive that describes inputs and outputs."""


@dataclass(frozen=True)
class ExportedPart:
    """A written part.

    Attributes:
        path: the file.
        program: its content.
        about: names, shapes and units of inputs and outputs: ``about.json`` in the file.
    """

    path: Path
    program: "ExportedProgram"
    about: Mapping[str, Any]


@alone
@takes(Export)
def export(asked: Export) -> ExportedPart:
    """Write a part of a run with ``torch.export``.

    The encoder maps x (and other inputs of the guide, such as y or mask) to ``loc`` and ``scale``
    of q(z | x), ``(batch, latent)`` each (``loc_SITE`` and ``scale_SITE`` for several latents). The
    decoder maps the latents (and other inputs of the model) to the ``mean`` of p(x | z), in the
    unit of the model, and ``raw``, in that of the data, if the two differ. The batch may have any
    size. Each is compared with the programs at several sizes before it is written. The archive
    holds ``about.json``: names, shapes, scaling, labels and versions::

        about = {"about.json": ""}
        encoder = torch.export.load("encoder.pt2", extra_files=about).module()
        encoder(x)["loc"]

    Raises:
        InputError: for programs without such a graph: their moments have no closed form, or they
            depend on tensor values, or on the other rows of a batch.
    """
    from ppvae.compilation.exporting.exporting import export_part
    from ppvae.compilation.exporting.parts import decoder, encoder

    run = asked.run
    if not isinstance(run, Run):
        run = load(str(run), trust=asked.trust, checkpoint=asked.checkpoint)
    target = Path(asked.out) if asked.out is not None else run.path / f"{asked.what}.pt2"
    if target.suffix != ".pt2":
        raise InputError(
            f"`out={str(target)!r}`: a part is written as a torch archive, .pt2; name such a file"
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
    """Description of inputs and outputs for users of the file."""

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
    """Print inputs and outputs, and the file."""
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
    say(f"everything, with {ABOUT}, is in {result.path}; torch.export.load reads it")


def main(argv: Sequence[str]) -> None:
    """The command: export, and show the result."""
    show(export(**given_settings("export", argv)))


if __name__ == "__main__":
    answer(main, sys.argv[1:])
