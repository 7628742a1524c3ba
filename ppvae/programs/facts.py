"""Facts about a pair of programs, found before the first step."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.distributions import constraints

from ppvae.errors import InputError
from ppvae.programs.axes import Axes


@dataclass(frozen=True)
class Site:
    """Facts about one sample site.

    Attributes:
        name: the site's name.
        model: family of the model's distribution.
        guide: family of the guide's distribution; ``None`` where x is observed, or the model sums
            over the site.
        kl: ``"exact"``, ``"Monte Carlo"``, ``"enumerated"`` (summed over), ``"point mass"``
            or, where x is observed, ``"-"``.
        shape: batch and event shape of one draw, data first.
        scale: the factor of its log-probability without beta; 1, or N / B in a subsampled plate.
        is_class: whether the guide draws it from finitely many values.
    """

    name: str
    model: str
    guide: str | None
    kl: str
    shape: tuple[int, ...]
    scale: float
    is_class: bool = False


@dataclass(frozen=True)
class Audit:
    """Facts about a pair of programs, as found on one batch.

    Attributes:
        sites: every site, in the model's order.
        is_bound: false where the guide has a point mass, whose density is infinite, so that no
            number computed from it is a bound on log p(x).
        axes: which dimension of a site is the data's (``None`` where no plate defines it, and there
            are no figures per datum), and the number of nested plates.
        data_size: N, where the programs subsample a plate of N data, else ``None``.
        is_local: every latent lies inside the plate of the data, so that log p(x) factorizes.
        vectorizes: several particles can be drawn in one call, in a plate outside all others.
        supports: family and constraint of each observed site whose value is the data itself, in its
            own or another shape.
        notes: sentences that the user should read.
        scaled: sites that the programs scale themselves, so that there is no density p(x, z).
        summed: latents that only the model has, and that the bound sums over.
        mapped: latents computed from auxiliary draws of the guide.
        needs_scores: whether some site of the guide is neither enumerated in one call nor has a
            reparameterized draw, so that a gradient needs the score of its draws.
    """

    sites: tuple[Site, ...]
    is_bound: bool
    axes: Axes
    data_size: int | None
    is_local: bool
    vectorizes: bool
    supports: Mapping[str, tuple[str, constraints.Constraint]]
    notes: tuple[str, ...]
    scaled: tuple[str, ...] = ()
    summed: tuple[str, ...] = ()
    mapped: tuple[str, ...] = ()
    needs_scores: bool = False

    def share(self, rows: int) -> float:
        """B / N of a batch of B rows, where the programs subsample a plate of N data; else 1."""
        return 1.0 if self.data_size is None else rows / self.data_size

    def as_drawn(self, name: str, value: Tensor) -> Tensor:
        """A value with every plate, of one particle, in the shape of the site in the program."""
        value = value[0]
        shape = next((site.shape for site in self.sites if site.name == name), value.shape)
        return value.reshape(value.shape[max(0, value.dim() - len(shape)) :])

    @property
    def has_evidence(self) -> bool:
        """Whether log p(x) of a datum can be estimated, with the guide as proposal."""
        return self.is_bound and self.is_local and not self.scaled and not self.summed

    @property
    def data_site(self) -> str:
        """The site where x is observed.

        Raises:
            InputError: if there is none.
        """
        if not self.supports:
            raise InputError(
                "no site of the model observes x itself; observe all of x, as in pyro.sample('x', "
                "..., obs=x)"
            )
        return next(iter(self.supports))

    @property
    def latents(self) -> tuple[str, ...]:
        """Names of the latent sites, in the model's order."""
        return tuple(site.name for site in self.sites if site.guide is not None)

    @property
    def exact(self) -> frozenset[str]:
        """Names of the latent sites whose KL the bound takes in closed form."""
        return frozenset(site.name for site in self.sites if site.kl == "exact")
