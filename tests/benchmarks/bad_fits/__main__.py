"""Command ``python -m tests.benchmarks.bad_fits``; the package's docstring describes it."""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ppvae.diagnostics.shared.wording import plus_minus, with_error

from ..provenance import provenance
from . import __doc__ as description
from .cases import CASES, SIBLINGS
from .judged import ASKED, Judged, judge


def main(arguments: Sequence[str] | None = None, **settings: Any) -> None:
    """Judge the verdict of each case, and write the table after each.

    Args:
        arguments: those of the command line.
        settings: settings of `ppvae.fit.fit` that override those of the fits.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.bad_fits",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--siblings", action="store_true", help="add more cases")
    parser.add_argument("--full", action="store_true", help="diagnose in full")
    parser.add_argument("--fits", nargs="+", metavar="NAME", help="bad fits; default: the seven")
    parser.add_argument("--only", nargs="+", default=ASKED, help="questions of the diagnosis")
    parser.add_argument("--out", type=Path, default=Path("runs/bad-fits"))
    parser.add_argument("--table", type=Path, default=Path(__file__).parent / "verdicts.md")
    given = parser.parse_args(arguments)
    cases = [*CASES, *SIBLINGS] if given.siblings or given.fits else CASES
    source = provenance(parser.prog, arguments)
    found: list[Judged] = []
    for case in cases:
        if given.fits and case.bad not in given.fits:
            continue
        found.append(judge(case, given.out, quick=not given.full, only=given.only, **settings))
        _write(found, given.table, source)
    print(given.table.read_text())


def _write(found: Sequence[Judged], table: Path, source: str) -> None:
    lines = [
        "# Verdicts on bad fits",
        "",
        f"{source}. Nats per datum, test rows, +- one standard "
        "error. True loss: the bound of the good fit minus that of the bad one.",
        "",
        "| bad fit | true loss | the verdict's first part | its size | ratio | |",
        "|---|---:|---|---:|---:|---|",
    ]
    for each in found:
        size = "-" if each.nats is None else plus_minus(each.nats, each.error)
        ratio = "-" if each.ratio is None else f"{each.ratio:.2f}"
        right = "right" if each.is_right else "named, size off" if each.is_named else "wrong"
        lines.append(
            f"| {each.case.what} | {with_error(each.loss)} | {each.part} | {size} | {ratio} "
            f"| {right} |"
        )
    table.write_text("\n".join(lines) + "\n")
    with table.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["bad_fit", "loss", "loss_error", "part", "nats", "error", "ratio", "right", "sentence"]
        )
        for each in found:
            writer.writerow(
                [
                    each.case.bad, each.loss.mean, each.loss.standard_error, each.part, each.nats,
                    each.error, each.ratio, each.is_right, each.sentence,
                ]
            )  # fmt: skip


if __name__ == "__main__":
    main()
