"""A pair of Pyro programs, seen through its traces.

The two programs as one module (`pair`), what is known of them before the first step (`facts`), and
what all else is made of, each in one place:

==================== ==================================================================
`sites`              the random variables of a trace, and their distributions
`plates`, `axes`     which dimension of a site is data, plate, particle or event
`streams`            random numbers: named streams, seeds, the generators' state
`densities`          log p(x, z), log q(z | x), and log-weights by draw and datum
`failures`           what programs raise, as sentences
==================== ==================================================================

On these rest `generation`, `imputation` and `classification`.
"""

from ppvae.networks.evaluation_mode import evaluating
from ppvae.programs.pair import Pair
from ppvae.programs.signatures import Program, named_arguments

__all__ = ["Pair", "Program", "evaluating", "named_arguments"]
