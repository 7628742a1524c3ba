"""The columns of a table: see `ppvae.networks.columns`, which models and networks read too."""

from ppvae.networks.columns import Column, ColumnKind

__all__ = ["Column", "ColumnKind"]
