"""A pair of Pyro programs, seen through its traces.

`pair` makes one module of the two programs, and `facts` holds what is known of them before the
first step. The rest of the package builds on these, each in one place:

==================== ==================================================================
`sites`              the random variables of a trace, and their distributions
`plates`, `axes`     which dimension of a site is data, plate, particle or event
`streams`            random numbers: named streams, seeds, the generators' state
`densities`          log p(x, z), log q(z | x), and log-weights by draw and datum
`failures`           errors of programs, as sentences
==================== ==================================================================

`generation`, `imputation` and `classification` are built from these.
"""

from ppvae.networks.evaluation_mode import evaluating
from ppvae.programs.pair import Pair
from ppvae.programs.signatures import Program, named_arguments

__all__ = ["Pair", "Program", "evaluating", "named_arguments"]
