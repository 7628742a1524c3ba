"""Mixed tables: each column is scored by its own family, and a latent links them."""

from functools import partial
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from scipy import special, stats
from torch import Tensor, nn

from ppvae.components.building import build_programs
from ppvae.components.spec import Spec
from ppvae.distributions.support import first_outside_support
from ppvae.errors import InputError
from ppvae.models import likelihoods
from ppvae.networks import MLP
from ppvae.networks.column_features import ColumnFeatures
from ppvae.networks.columns import Column
from tests.support.penguins import COLUMNS, as_modelled, mixed_penguins

MIXED = (
    Column("mass", "real"), Column("age", "count"), Column("kind", "category", ("a", "b", "c")),
    Column("height", "real"), Column("sex", "category", ("f", "m")), Column("eggs", "count"),
)  # fmt: skip
CHOSEN = {"mass": "Laplace", "eggs": "Poisson", "sex": "Bernoulli"}


def made(families: dict[str, str] | None = None) -> likelihoods.PerColumn:
    return likelihoods.PerColumn((len(MIXED),), MIXED, families).double()


def rows(count: int = 50) -> Tensor:
    rng = np.random.default_rng(0)
    each = [
        rng.normal(3, 2, count), rng.negative_binomial(2, 0.2, count), rng.integers(0, 3, count),
        rng.normal(-1, 0.5, count), rng.integers(0, 2, count), rng.poisson(4, count),
    ]  # fmt: skip
    return torch.from_numpy(np.stack(each, 1).astype(np.float64))


def test_the_joint_density_is_the_product_of_the_families_of_scipy() -> None:
    likelihood, x = made(CHOSEN), rows(40)
    h = torch.randn(40, *likelihood.decoder_shape, generator=torch.Generator().manual_seed(0))
    h = h.double()
    # One number each of mass, age, height, eggs and sex, three of kind, in the order of the groups.
    at = {name: i for i, name in enumerate(("mass", "age", "kind", "height", "sex", "eggs"))}
    assert list(likelihood.names.values()) == [
        "Laplace", "NegativeBinomial", "Categorical", "Gaussian", "Bernoulli", "Poisson"
    ]  # fmt: skip
    mass, age, a, b, c, height, sex, eggs = h.numpy().T
    n = x.numpy()
    unit = np.log1p(np.exp(np.log(np.expm1(1.0))))  # the start of softplus
    log_p = special.log_softmax(np.stack([a, b, c], 1), 1)
    want = (
        stats.laplace.logpdf(n[:, at["mass"]], mass, unit + 0.01)
        + stats.nbinom.logpmf(n[:, at["age"]], 1, 1 / (1 + np.exp(20 * np.tanh(age / 20))))
        + log_p[np.arange(40), n[:, at["kind"]].astype(int)]
        + stats.norm.logpdf(n[:, at["height"]], height, np.sqrt(unit + 1e-4))
        + stats.bernoulli.logpmf(n[:, at["sex"]], special.expit(sex))
        + stats.poisson.logpmf(n[:, at["eggs"]], np.exp(20 * np.tanh(eggs / 20)))
    )
    np.testing.assert_allclose(likelihood(h).log_prob(x).detach().numpy(), want, rtol=1e-6)


def test_columns_of_one_family_are_one_group_wherever_they_stand() -> None:
    likelihood = made()
    assert [type(group).__name__ for group in likelihood.groups] == [
        "Gaussian", "NegativeBinomial", "Categorical", "Categorical"
    ]  # fmt: skip
    assert likelihood.decoder_shape == (2 + 2 + 3 + 2,)
    fn: Any = likelihood(torch.zeros(5, 9).double()).base_dist
    at = fn.support.check(torch.tensor([[-1.0, 1.0, 2.0, 0.5, 1.0, 0.0], [0, 0.5, 3, 0, 2, -1]]))
    assert at.tolist() == [[True] * 6, [True, False, False, True, False, False]]
    rows = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 3.0, 0.5, 0.0, 0.0]])
    outside = first_outside_support(fn.support, rows)
    assert outside == (1, 3.0, "integers from 0 to 2 in column 'kind'")
    assert first_outside_support(fn.support, rows, rows != 3) is None
    assert not fn.support.is_discrete
    with pytest.raises(ValueError, match="within the support"):
        fn.log_prob(torch.tensor([0.0, 0.5, 0.0, 0.0, 0.0, 0.0]).double())


def test_a_decoder_starts_at_the_marginal_of_each_column() -> None:
    likelihood, x = made(CHOSEN), rows(400)
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.8
    h = likelihood.fit_marginal(x.where(mask, torch.nan), mask)
    assert h is not None
    fn: Any = likelihood(h).base_dist
    seen = x.where(mask, torch.nan)
    mean, variance = seen.nanmean(0), (seen - seen.nanmean(0)).square().nanmean(0)
    torch.testing.assert_close(fn.mean[3], mean[3])
    torch.testing.assert_close(fn.variance[3], variance[3])
    torch.testing.assert_close(fn.mean[[1, 2, 4, 5]], mean[[1, 2, 4, 5]], rtol=0.02, atol=0)
    torch.testing.assert_close(fn.variance[1], variance[1], rtol=0.05, atol=0)
    torch.testing.assert_close(fn.mean[0], seen[:, 0].nanmedian())


SENTENCES: dict[str, tuple[Any, ...]] = {
    "these data have no columns with kinds": ((3,), None),
    r"has 6 columns, and a datum has shape \(2, 3\)": ((2, 3), MIXED),
    r"column 'heigt', which the table does not have \(did you mean height\?\); its columns: "
    "mass, age": ((6,), MIXED, {"heigt": "Laplace"}),
    r"'age' the family 'Poison' \(did you mean Poisson\?\), and it is a count": (
        (6,), MIXED, {"age": "Poison"},
    ),
    "'mass' the family 'Poisson', and it is a real, which takes Gaussian or Laplace or StudentT; "
    "to read it in another way, give `kinds={'mass': 'count'}`": ((6,), MIXED, {"mass": "Poisson"}),
    "'kind' the family 'Bernoulli', and it is a category of 3 levels, which takes Categorical": (
        (6,), MIXED, {"kind": "Bernoulli"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("sentence", SENTENCES)
def test_what_does_not_go_with_a_column_is_refused(sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        likelihoods.PerColumn(*SENTENCES[sentence])


def test_an_encoder_reads_logarithms_of_counts_and_one_hot_levels() -> None:
    seen: list[Tensor] = []

    class Reads(MLP):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return super().forward(x)

    network = ColumnFeatures.before(partial(Reads, hidden=()), MIXED)((8,), (2,))
    x = torch.tensor([[-1.5, 7.0, 2.0, 0.5, 0.0, 0.0, 8.0, 9.0], [0, 0, -1, 0, 1, 3, 0, 0]])
    network(x)
    want = [
        [-1.5, 0.5, np.log(8), 0, 0, 0, 1, 1, 0, 8, 9],
        [0, 0, 0, np.log(4), 0, 0, 0, 0, 1, 0, 0],  # a missing level is no level
    ]
    torch.testing.assert_close(seen[0], torch.tensor(want, dtype=torch.float32))


def programs(parts: dict[str, Spec], x: Tensor, mask: Tensor, columns: Any = COLUMNS) -> Any:
    torch.manual_seed(0)
    small = {part: Spec("MLP", {"hidden": [32]}) for part in ("encoder", "decoder")}
    shape = tuple(x.shape[1:])
    return build_programs(
        small | parts, latent_dim=2, data_shape=shape, examples=x, mask=mask, columns=columns,
        classes=3,
    )  # fmt: skip


def test_encoders_of_the_package_read_features_of_columns_and_those_of_ones_own_read_x() -> None:
    x, mask = as_modelled(mixed_penguins(30))
    mixed = programs({"likelihood": Spec("PerColumn")}, x, mask)
    assert isinstance(mixed.guide.encoder, ColumnFeatures)
    inner: Any = mixed.guide.encoder.network
    assert inner.layers[0].in_features == 3 + 3 + 4 + 1 + 2
    own = {"likelihood": Spec("PerColumn"), "encoder": Spec(f"{__name__}.Own")}
    assert isinstance(programs(own, x, mask).guide.encoder, Own)
    assert not isinstance(programs({"likelihood": Spec("Gaussian")}, x, mask).guide.encoder, Own)
    vamp = {"likelihood": Spec("PerColumn"), "prior": Spec("VampPrior", {"components": 20})}
    prior = programs(vamp, x, mask).model.prior
    (slope,) = torch.autograd.grad(prior().log_prob(torch.ones(2)), prior.pseudo_inputs)
    assert bool(slope[:, 2:7].any(0).all())


@pytest.mark.parametrize(
    ("model", "guide"),
    [("VAE", "MeanField"), ("VAE", "SemiAmortized"), ("HierarchicalVAE", "BottomUp"),
     ("HierarchicalVAE", "Ladder"), ("HierarchicalVAE", "TopDown"),
     ("SemiSupervisedVAE", "SemiSupervised")],
)  # fmt: skip
def test_of_a_missing_level_a_guide_reads_nothing(model: str, guide: str) -> None:
    x, mask = as_modelled(mixed_penguins(30, missing=0.2))
    parts = {"model": Spec(model), "guide": Spec(guide), "likelihood": Spec("PerColumn")}
    made = programs(parts, x, mask).guide.eval()
    read: list[Tensor] = []
    features = next(m for m in made.modules() if isinstance(m, ColumnFeatures))
    features.network.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    with torch.no_grad(), pyro.poutine.block():
        made(x, mask=mask)
    missing = ~mask[:, 0]
    assert bool(missing.any())
    species = read[0][:, 5:8]  # after the real columns and the count
    assert bool((species[missing] == 0).all())
    assert bool((species[~missing].sum(1) == 1).all())


class Own(MLP):
    """A user-defined network."""


def test_families_are_recorded_as_they_were_given() -> None:
    x, mask = as_modelled(mixed_penguins(30))
    chosen = Spec("PerColumn", {"families": "{body_mass_g: Laplace, dives: Poisson}"})
    made = programs({"likelihood": chosen}, x, mask)
    families = {"body_mass_g": "Laplace", "dives": "Poisson"}
    assert made.parts["likelihood"]["init_args"] == {"families": families}
    assert {n: made.model.likelihood.names[n] for n in families} == families
    dotted = tuple(Column(f"a.{c.name}", c.kind, c.levels) for c in COLUMNS)
    of_file = Spec("PerColumn", {"families": {"a.dives": "Poisson"}}, trusted=False)
    again = programs({"likelihood": of_file}, x, mask, dotted)
    assert again.model.likelihood.names["a.dives"] == "Poisson"
    with pytest.raises(InputError, match="these data have no columns with kinds"):
        programs({"likelihood": Spec("PerColumn")}, x, mask, None)


@pytest.mark.slow
def test_a_latent_explains_a_mixed_table_better_than_independent_columns() -> None:
    from pyro.infer import TraceMeanField_ELBO

    x, mask = as_modelled(mixed_penguins(700))
    train, test = slice(0, 500), slice(500, 700)
    found = programs({"likelihood": Spec("PerColumn")}, x[train], mask[train])
    likelihood = found.model.likelihood
    with torch.no_grad():
        h = likelihood.fit_marginal(x[train], mask[train]).float()
        each = likelihood(h).base_dist.log_prob(x[test].where(mask[test], 0))
        alone = float(each.where(mask[test], 0).sum(1).mean())
    programs_ = nn.ModuleList([found.model, found.guide])
    optimizer, elbo = torch.optim.Adam(programs_.parameters(), lr=2e-2), TraceMeanField_ELBO()

    def bound(part: slice) -> Tensor:
        total: Tensor = elbo.differentiable_loss(
            lambda x, mask: found.model(x, mask=mask),
            lambda x, mask: found.guide(x, mask=mask),
            x[part], mask[part],
        )  # fmt: skip
        return -total / len(x[part])

    for _ in range(100):
        optimizer.zero_grad()
        (-bound(train)).backward()
        optimizer.step()
    assert float(bound(test).detach()) > alone + 3


def test_a_family_of_all_columns_of_a_kind() -> None:
    real = [column.name for column in MIXED if column.kind == "real"]
    some = made({"real": "StudentT", real[0]: "Laplace"}).names
    assert some[real[0]] == "Laplace"
    assert all(some[name] == "StudentT" for name in real[1:])
    plain = made().names
    assert all(some[name] == plain[name] for name in plain if name not in real)
