"""How many rows does a tree have room for?"""

from ppvae.arviz.sites import Sites
from ppvae.errors import InputError

ROWS = 100
"""Most rows of a run's own data that are taken where nobody says how many."""

USUAL = 100 * 2**20
"""Bytes that the draws for these take at most."""

LIMIT = 2**30
"""Bytes of draws beyond which a tree is refused."""


def usual_rows(sites: Sites, count: int) -> int:
    """How many rows are taken, with ``count`` draws of each, where nobody says how many."""
    return min(ROWS, _affordable(sites, count, USUAL))


def check_size(sites: Sites, chains: int, draws: int, rows: int) -> None:
    """Refuse draws that take more than the limit.

    Raises:
        InputError: with the number of rows that it has room for, if it has any.
    """
    size = _bytes(sites, chains * draws, rows)
    if size > LIMIT:
        fit = _affordable(sites, chains * draws, LIMIT)
        way_out = "draws" if fit >= rows or fit == 1 else f"draws, or no more than rows={fit}"
        raise InputError(
            f"{chains} chains of {draws} draws for {rows} rows take {size / 2**30:.2g} GiB, and a "
            f"tree has room for {LIMIT / 2**30:g}; take fewer {way_out}"
        )


def _affordable(sites: Sites, count: int, limit: int) -> int:
    """How many rows stay within ``limit`` bytes; at least one."""
    shared = _bytes(sites, count, 0)
    return max(1, (limit - shared) // (_bytes(sites, count, 1) - shared))


def _bytes(sites: Sites, count: int, rows: int) -> int:
    """What the draws take: each site's from posterior and prior, and two log-densities."""
    each = sum(site.bytes(rows) for site in (*sites.latent, *sites.observed))
    return count * (2 * each + 16 * rows)
