"""Sizes of a tree: the usual number of rows, and the limit."""

from ppvae.arviz.sites import Sites
from ppvae.errors import InputError

ROWS = 100
"""Largest number of rows of a run's own data, by default."""

USUAL = 100 * 2**20
"""Largest number of bytes of draws for the default rows."""

LIMIT = 2**30
"""Bytes of draws beyond which a tree is refused."""


def usual_rows(sites: Sites, count: int) -> int:
    """The default number of rows, with ``count`` draws for each."""
    return min(ROWS, _affordable(sites, count, USUAL))


def check_size(sites: Sites, chains: int, draws: int, rows: int) -> None:
    """Refuse draws beyond the limit.

    Raises:
        InputError: with the number of rows that would fit, if any.
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
    """The number of rows that fit in ``limit`` bytes; at least one."""
    shared = _bytes(sites, count, 0)
    return max(1, (limit - shared) // (_bytes(sites, count, 1) - shared))


def _bytes(sites: Sites, count: int, rows: int) -> int:
    """The bytes of the draws: each site's in posterior and prior, and two log-densities."""
    each = sum(site.bytes(rows) for site in (*sites.latent, *sites.observed))
    return count * (2 * each + 16 * rows)
