"""``uv run python -m tests.benchmarks``; what it does is said in the package's docstring."""

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
    Table("speed", "cost of a step beside its peers (the default)", briefly=("--shape", "mlp")),
    Table("scaling", "cost of ours by batch, latent size and particles", briefly=None),
    Table("processes", "a fit in one and in two processes, and on paper on several machines",
          rounds=3),
    Table("imports", "what starting the commands costs, in time and memory", rounds=5),
    Table("epoch", "an epoch of ppvae.fit against its steps", rounds=5),
    Table("whole_fit", "where the seconds of a fit go, from start to report", rounds=3),
    Table("encode", "all of MNIST encoded by ppvae.encode", rounds=5),
    Table("time_to_bound", "seconds to a held-out bound, beside the peers",
          briefly=("--limit", "120")),
    Table("evidence", "log p(x) by importance sampling against its matrix products",
          briefly=("--rounds", "7", "--rows", "2000")),
    Table("annealing", "log p(x) by annealing, as a graph and as the programs are", rounds=5),
    Table("compiling", "seconds to compile a step, in a first and a second process"),
    Table("larger_than_memory", "a fit on 10 GiB that stay on disk, beside one in memory",
          rounds=3, briefly=None),
    Table("diagnose", "a diagnosis by question, in full and quick"),
)  # fmt: skip
"""A new table is a module of this folder, and its line here."""


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
                       help="all of them but --scaling, briefly")  # fmt: skip
    parser.add_argument("--shape", choices=get_args(Shape), help="one network; default: both")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, help="default: the table's own, often 15")
    parser.add_argument("--steps", type=int, default=60, help="of a round; default: 60")
    parser.add_argument("--rows", type=int, default=10_000,
                        help="images of --evidence; default: 10,000")  # fmt: skip
    parser.add_argument("--limit", type=float, default=300.0,
                        help="seconds of a contender of --time-to-bound; default: 300")  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, metavar="NAME",
                        help=f"contenders, of {', '.join(CONTENDERS)}; default: all")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="the CSV; of --all a folder; default: the table's name")  # fmt: skip
    return parser.parse_args()


def main() -> None:
    """Make one of the tables, or all."""
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
