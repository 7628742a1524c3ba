"""Command ``python -m tests.benchmarks``; the package's docstring describes it."""

import argparse
import sys
from pathlib import Path
from typing import get_args

from . import __doc__ as description
from .all_tables import all_tables
from .contenders import CONTENDERS
from .job import Job, Shape
from .machine import load
from .plan import Plan, Table

TABLES = (
    Table("speed", "cost of a step, compared with the peers (default)", briefly=("--shape", "mlp")),
    Table("scaling", "cost of a step by batch, latent size and particles", briefly=None),
    Table("processes", "a fit in one and in two processes, with estimates for several machines",
          rounds=3),
    Table("imports", "start-up of the commands, in time and memory", rounds=5),
    Table("epoch", "an epoch of ppvae.fit against its steps", rounds=5),
    Table("whole_fit", "the seconds of a fit by part, from start to report", rounds=3),
    Table("encode", "encoding of all of MNIST by ppvae.encode", rounds=5),
    Table("time_to_bound", "seconds to a held-out bound, compared with the peers",
          briefly=("--limit", "120")),
    Table("evidence", "log p(x) by importance sampling against its matrix products",
          briefly=("--rounds", "7", "--rows", "2000")),
    Table("annealing", "log p(x) by annealing, compiled and eager", rounds=5),
    Table("compiling", "seconds to compile a step, in a first and a second process"),
    Table("larger_than_memory", "a fit on 10 GiB read from disk, compared with one in memory",
          rounds=3, briefly=None),
    Table("diagnose", "a diagnosis by question, in full and quick"),
)  # fmt: skip
"""Tables of the command: modules of this folder."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group()
    for table in TABLES:
        which.add_argument(table.flag, action="store_const", const=table, dest="table",
                           default=TABLES[0], help=table.help)  # fmt: skip
    which.add_argument("--all", action="store_true",
                       help="all but --scaling and --larger-than-memory, shortened")  # fmt: skip
    parser.add_argument("--shape", choices=get_args(Shape), help="network; default: both")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, help="default: depends on the table, often 15")
    parser.add_argument("--steps", type=int, default=60, help="steps per round; default: 60")
    parser.add_argument("--rows", type=int, default=10_000,
                        help="images of --evidence, rows of --larger-than-memory to encode; "
                             "default: 10,000")  # fmt: skip
    parser.add_argument("--limit", type=float, default=300.0,
                        help="seconds per contender of --time-to-bound; default: 300")  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, metavar="NAME",
                        help=f"contenders, from {', '.join(CONTENDERS)}; default: all")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="CSV file, of --all a folder; default: the table's name")  # fmt: skip
    return parser.parse_args()


def main() -> None:
    """Make one table, or all."""
    given = _arguments()
    if given.all:
        flags = [word for word in sys.argv[1:] if word not in ("--all", "--out", str(given.out))]
        sys.exit(all_tables(TABLES, given.out or Path("benchmarks"), flags))
    table: Table = given.table
    here = [name for name, c in CONTENDERS.items() if c.device in (None, given.device)]
    plan = Plan(
        out=given.out or Path(f"{table.name}.csv"),
        rounds=given.rounds or table.rounds,
        steps=given.steps,
        rows=given.rows,
        limit=given.limit,
        jobs=[
            Job(shape, given.device)
            for shape in ([given.shape] if given.shape else get_args(Shape))
        ],
        only=[name for name in here if not given.only or name in given.only],
        load=load(),
    )
    table.maker()(plan)


if __name__ == "__main__":
    main()
