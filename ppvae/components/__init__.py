"""Parts by name: name, class, object.

A name is ``VampPrior`` (a class of this package) or ``mypackage.MyPrior`` (one's own). A
constructor is given what it names of what is known already (``latent_dim``, ``data_shape``,
``in_shape``, ...); its other parameters are arguments of the part's own, typed by its signature.
"""
