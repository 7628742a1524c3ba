"""A prior with heavy tails: codes far out cost little."""

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.distributions.student_t import StudentT as StudentTDistribution
from ppvae.errors import InputError
from ppvae.models.priors.prior import Prior
from ppvae.networks import is_positive


class StudentT(Prior):
    """p(z) = prod_d t(z_d; df): independent, of unit scale, with tails ``|z_d|^-(df + 1)``.

    The smaller df, the sparser the codes and the more aligned to the axes of z; N(0, I) as df grows
    (Mathieu et al., 2019, with this prior). Unlike under a normal prior, the force that pulls a far
    posterior back falls with the distance. Its KL is taken by Monte Carlo.

    Args:
        latent_dim: number of latent dimensions.
        df: degrees of freedom, above zero; the mean exists above 1, the variance above 2.

    Raises:
        InputError: if df is not above zero and finite.
    """

    df: Tensor
    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int, df: float = 5.0) -> None:
        super().__init__(latent_dim)
        if not is_positive(df):
            raise InputError(f"`prior.df` is {df}; it must be above 0 and finite")
        self.register_buffer("df", torch.full((latent_dim,), float(df)), persistent=False)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        fn: dist.TorchDistribution = StudentTDistribution(self.df, self.loc, self.scale).to_event(1)
        return fn
