"""A pair of Pyro programs, seen through its traces.

The two programs as one module (`pair`), the sites of their traces (`sites`) and what is known of
them (`facts`), random streams (`streams`), densities by datum and draw (`densities`), and what a
pair is asked for: `generation`, `imputation`, `classification`.
"""

from ppvae.programs.evaluation_mode import evaluating
from ppvae.programs.pair import Pair, Program, named_arguments

__all__ = ["Pair", "Program", "evaluating", "named_arguments"]
