"""One vocabulary for command line, YAML and Python: a part by its class name, and its arguments.

A choice is ``VampPrior`` (a class of this package), ``mypackage.MyPrior`` (one's own), or in
Python the class, function or object itself. Whatever a constructor names of what is known already
(``latent_dim``, ``data_shape``, ``in_shape``, ...) it is given; the rest are the choice's own
arguments, read by the types of its signature.
"""

from ppvae.choices.arguments import arguments_parser, code_paths, expectation
from ppvae.choices.choice import Choice
from ppvae.choices.kinds import KINDS, Kind
from ppvae.choices.maker import Maker, made
from ppvae.choices.resolving import nearest, owner_of, resolve

__all__ = [
    "KINDS",
    "Choice",
    "Kind",
    "Maker",
    "arguments_parser",
    "code_paths",
    "expectation",
    "made",
    "nearest",
    "owner_of",
    "resolve",
]
