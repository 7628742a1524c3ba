"""What does ArviZ make of a fitted run? Its draws, data and evidence in one labelled tree.

One step a file: the tree from top to bottom (`tree`); which data are in it (`rows`), at which sites
the programs draw and observe (`sites`), by which names (`names`) and at what size (`sizes`); the
draws (`drawing`, and of x `redrawing`), put together (`arrays`); and what is said with them
(`groups`, `provenance`).
"""

from ppvae.arviz.tree import to_datatree

__all__ = ["to_datatree"]
