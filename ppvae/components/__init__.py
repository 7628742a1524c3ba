"""A part by its name: name, class, object.

A choice is ``VampPrior`` (a class of this package), ``mypackage.MyPrior`` (one's own), or in
Python the class, function or object itself. Whatever a constructor names of what is known already
(``latent_dim``, ``data_shape``, ``in_shape``, ...) it is given; the rest are the choice's own
arguments, read by the types of its signature.
"""
