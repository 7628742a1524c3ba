"""Parts by name: from a name to a class to an object.

A name is ``VampPrior`` (a class of this package) or ``mypackage.MyPrior`` (your own). A constructor
gets those of the known values that it names (``latent_dim``, ``data_shape``, ``in_shape``, ...);
its other parameters are the part's own arguments, typed by its signature.
"""
