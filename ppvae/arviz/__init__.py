"""Export of a fitted run to ArviZ: its draws, data and evidence in one labelled tree.

One step per file: the tree from top to bottom (`tree`); the rows of data in it (`rows`), the sites
(`sites`), their names (`names`) and sizes (`sizes`); the draws (`drawing`, and of x `redrawing`),
put together (`arrays`); their groups and descriptions (`groups`, `provenance`).
"""

from ppvae.arviz.tree import to_datatree

__all__ = ["to_datatree"]
