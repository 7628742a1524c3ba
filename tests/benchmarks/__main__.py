"""``uv run python -m tests.benchmarks``; what it does is said in the package's docstring."""

import argparse
from pathlib import Path
from typing import get_args

from . import __doc__ as description
from .contenders import CONTENDERS
from .epoch import epoch
from .evidence import evidence
from .imports import imports
from .job import Job, Shape
from .scaling import scaling
from .speed import speed


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    table = parser.add_mutually_exclusive_group()
    for name, text in (
        ("scaling", "cost of ours by batch size, latent size and particles"),
        ("imports", "what starting the commands costs"),
        ("epoch", "an epoch of ppvae.fit against its steps"),
        ("evidence", "log p(x) by importance sampling against its matrix products"),
    ):
        table.add_argument(
            f"--{name}", action="store_const", const=name, dest="table", help=f"instead: {text}"
        )
    parser.add_argument("--shape", choices=get_args(Shape), help="one network; default: both")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=15, help="default: 15")
    parser.add_argument("--steps", type=int, default=60, help="of a round; default: 60")
    parser.add_argument("--rows", type=int, default=10_000,
                        help="images of --evidence; default: 10,000")  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, metavar="NAME",
                        help=f"contenders, of {', '.join(CONTENDERS)}; default: all")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="CSV",
                        help="default: the table's name, or benchmarks.csv")  # fmt: skip
    return parser.parse_args()


def main() -> None:
    """Make one of the tables."""
    given = _arguments()
    out = given.out or Path(f"{given.table or 'benchmarks'}.csv")
    shapes = [given.shape] if given.shape else get_args(Shape)
    jobs = [Job(shape, given.device) for shape in shapes]
    if given.table == "imports":
        imports(given.rounds, out)
    elif given.table == "epoch":
        epoch(given.rounds, out)
    elif given.table == "evidence":
        evidence(given.rounds, given.rows, out)
    elif given.table == "scaling":
        scaling(jobs, given.rounds, given.steps, out)
    else:
        here = [name for name, c in CONTENDERS.items() if c.device in (None, given.device)]
        names = [name for name in here if not given.only or name in given.only]
        speed(jobs, names, given.rounds, given.steps, out)


if __name__ == "__main__":
    main()
