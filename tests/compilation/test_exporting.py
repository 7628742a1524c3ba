"""Exported parts: equal to the programs for any number of rows; impossible ones are refused."""

import builtins
import io
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from ppvae.bounds.audit import audit
from ppvae.compilation.exporting.exporting import Exported, export_part
from ppvae.compilation.exporting.parts import decoder, encoder
from ppvae.data import Scaling
from ppvae.diagnostics.bound.embedding import embed_batch
from ppvae.errors import InputError
from ppvae.guides import (
    BottomUp,
    Delta,
    Flow,
    FullRank,
    LowRank,
    MeanField,
    Mixture,
    SemiAmortized,
    TopDown,
)
from ppvae.models import (
    VAE,
    Bernoulli,
    ConditionalVAE,
    Gaussian,
    HierarchicalVAE,
    PerColumn,
    StandardNormal,
    VampPrior,
)
from ppvae.networks import MLP, ConvDecoder, ConvEncoder, Shape
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.generation import decode
from tests.support.columns import mixed
from tests.support.pages import own_guide, own_model
from tests.support.slow import few

D, K, ROWS = (1, 8, 8), 3, 7

Subject = tuple[Pair, Audit, dict[str, Tensor]]


def small(in_shape: Shape, out_shape: Shape) -> MLP:
    return MLP(in_shape, out_shape, hidden=[6])


def batch(rows: int = ROWS, shape: Shape = D) -> dict[str, Tensor]:
    chance = torch.Generator().manual_seed(rows)
    x = (torch.rand(rows, *shape, generator=chance) < 0.4).float()
    return {"x": x, "y": torch.arange(rows) % 4}


def subject(model: Any, guide: Any, example: dict[str, Tensor] | None = None) -> Subject:
    example = batch() if example is None else example
    pair = Pair(model, guide, example)
    return pair, audit(pair, pyro.infer.Trace_ELBO, example), example


def vae(guide: Any, *, decoder: Any = small) -> Subject:
    torch.manual_seed(0)
    return subject(VAE(StandardNormal(K), Bernoulli(D), decoder), guide(K, D))


def with_encoder(guide: Any, network: Any = small) -> Callable[[int, Shape], Any]:
    return lambda latent_dim, shape: guide(latent_dim, shape, network)


def conditional() -> Subject:
    torch.manual_seed(0)
    model = ConditionalVAE(StandardNormal(K), Bernoulli(D), small, classes=4)
    return subject(model, MeanField(K, D, small, classes=4))


def hierarchy(guide: Any) -> Subject:
    torch.manual_seed(0)
    model = HierarchicalVAE(StandardNormal(2), Bernoulli(D), small, layers=2)
    return subject(model, guide(model, D, small))


def semi_amortized() -> Subject:
    torch.manual_seed(0)
    model = VAE(StandardNormal(K), Bernoulli(D), small)
    return subject(model, SemiAmortized(K, D, model, small))


def vamp() -> Subject:
    torch.manual_seed(0)
    guide = MeanField(K, D, small)
    prior = VampPrior(K, D, guide, components=4, examples=batch()["x"])
    return subject(VAE(prior, Bernoulli(D), small), guide)


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "mean field": lambda: vae(with_encoder(MeanField)),
    "own": lambda: subject(own_model, own_guide, {"x": torch.randn(ROWS, 3)}),
}


def mixed_table() -> Subject:
    """The decoder returns means of numbers, and the most probable levels of categories."""
    torch.manual_seed(0)
    columns = mixed(6)
    x = torch.stack([torch.arange(ROWS) % max(len(c.levels), 2) for c in columns], 1).float()
    model = VAE(StandardNormal(K), PerColumn((6,), columns), small)
    return subject(model, MeanField(K, (6,), small), {"x": x})


MORE: dict[str, Callable[[], Subject]] = {
    "mixed table": mixed_table,
    "conditional": conditional,
    "full rank": lambda: vae(with_encoder(FullRank)),
    "low rank": lambda: vae(with_encoder(LowRank)),
    "mixture": lambda: vae(with_encoder(Mixture)),
    "point mass": lambda: vae(with_encoder(Delta)),
    "convolutions": lambda: vae(with_encoder(MeanField, ConvEncoder), decoder=ConvDecoder),
    "bottom up": lambda: hierarchy(BottomUp),
    "top down": lambda: hierarchy(TopDown),
}


def loaded(exported: Exported) -> Callable[..., dict[str, Tensor]]:
    """The graph as loaded from its file."""
    file = io.BytesIO()
    torch.export.save(exported.program, file)
    file.seek(0)
    module: Callable[..., dict[str, Tensor]] = torch.export.load(file).module()
    return module


def check(kind: Callable[[], Subject]) -> None:
    """Both parts equal ``embed`` and ``decode`` at other numbers of rows."""
    pair, facts, example = kind()
    code = export_part(pair, encoder(pair, facts, example), "encoder")
    part = decoder(pair, facts, example, None)
    mean = export_part(pair, part, "decoder")
    encode, generate = loaded(code), loaded(mean)
    weights = {id(p) for p in pair.parameters()}
    assert len(code.program.state_dict) + len(mean.program.state_dict) <= 2 * len(weights)
    for rows in (1, 4, 64):
        more = {name: value.repeat(64, *[1] * (value.dim() - 1))[:rows]
                for name, value in example.items()}  # fmt: skip
        with evaluating(pair):
            wanted = embed_batch(pair, facts, more)
        found = encode(*(more[name] for name in code.inputs))
        for site in wanted.loc:
            suffix = f"_{site}" if len(wanted.loc) > 1 else ""
            torch.testing.assert_close(found[f"loc{suffix}"], wanted.loc[site])
            torch.testing.assert_close(found[f"scale{suffix}"], wanted.scale[site])
        given = {name: torch.randn(rows, *part.inputs[name].shape[1:])
                 for name in part.inputs if name in facts.latents}  # fmt: skip
        means = decode(pair, facts, more, given).mean
        found = generate(*((given | more)[name] for name in mean.inputs))
        torch.testing.assert_close(found["mean"], means)


@pytest.mark.slow
@pytest.mark.parametrize("kind", few(SUBJECTS, 2))
def test_a_graph_gives_the_programs_values_for_other_numbers_of_rows(kind: str) -> None:
    check(SUBJECTS[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", MORE)
def test_a_graph_of_any_family_gives_the_programs_values(kind: str) -> None:
    check(MORE[kind])


@pytest.mark.slow
def test_a_graph_has_what_it_depends_on_and_no_more() -> None:
    """Without y, which this guide does not read, and without the encoder in a VampPrior."""
    pair, facts, example = vamp()
    before = builtins.len
    code = export_part(pair, encoder(pair, facts, example), "encoder")
    assert builtins.len is before
    assert list(code.inputs) == ["x"]
    assert code.meanings["loc"] == "mean of q(z | x)"
    scaling = Scaling("standardized", (1.0,), (4.0,))
    mean = export_part(pair, decoder(pair, facts, example, scaling), "decoder")
    assert list(mean.inputs) == ["z"]
    names = {name.split("pair.")[1] for name in mean.program.state_dict}
    assert names == {name for name, _ in pair.named_parameters() if "model.decoder" in name}
    found = loaded(mean)(torch.randn(5, K))
    torch.testing.assert_close(found["raw"], 4 * found["mean"] + 1)


def counting_guide(x: Tensor) -> None:
    weight = pyro.param("weight", torch.full((3, 2), 0.1))
    loc = torch.stack([x[row] @ weight for row in range(len(x))])
    with pyro.plate("data", len(x)):
        pyro.sample("mood", dist.Normal(loc, 0.7).to_event(1))
        pyro.sample("pace", dist.Normal(x.sum(-1), 0.7))


def coupled_guide(x: Tensor) -> None:
    weight = pyro.param("weight", torch.full((3, 2), 0.1))
    with pyro.plate("data", len(x)):
        pyro.sample("mood", dist.Normal((x - x.mean(0)) @ weight, 0.7).to_event(1))
        pyro.sample("pace", dist.Normal(x.sum(-1), 0.7))


def looking_guide(x: Tensor) -> None:
    weight = pyro.param("weight", torch.full((3, 2), 0.1))
    with pyro.plate("data", len(x)):
        loc = x @ weight if bool((x > 0).any()) else -x @ weight
        pyro.sample("mood", dist.Normal(loc, 0.7).to_event(1))
        pyro.sample("pace", dist.Normal(x.sum(-1), 0.7))


REFUSED: dict[str, tuple[Callable[[], Subject], str]] = {
    "a flow": (lambda: vae(with_encoder(Flow)), "site 'z' is NormalizingFlow, which has no mean"),
    "gradients": (semi_amortized, "takes gradients or keeps tensors"),
    "a loop over rows": (
        lambda: subject(own_model, counting_guide, {"x": torch.randn(ROWS, 3)}),
        "converts the number of rows to an int",
    ),
    "a look at numbers": (
        lambda: subject(own_model, looking_guide, {"x": torch.randn(ROWS, 3)}),
        "depends on numbers in the tensors",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow) if k == "gradients" else k for k in REFUSED]
)
def test_what_has_no_graph_is_refused_in_a_sentence(kind: str) -> None:
    make, sentence = REFUSED[kind]
    pair, facts, example = make()
    with pytest.raises(InputError, match=sentence) as refused:
        export_part(pair, encoder(pair, facts, example), "encoder")
    assert "\n" not in str(refused.value)
    assert len.__module__ == "builtins"


@pytest.mark.slow
def test_rows_that_depend_on_each_other_are_exported_as_the_batch_that_they_are() -> None:
    """The mean of a batch is computed at any size, and not frozen."""
    check(lambda: subject(own_model, coupled_guide, {"x": torch.randn(ROWS, 3)}))


def test_a_latent_that_all_data_share_is_no_input() -> None:
    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(mean, 1.0))
            pyro.sample("x", dist.Normal(z[:, None], torch.ones(3)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("mean", dist.Normal(pyro.param("m", torch.zeros(())), 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.mean(-1), 1.0))

    pair, facts, example = subject(model, guide, {"x": torch.randn(ROWS, 3)})
    with pytest.raises(InputError, match="'mean' is shared by all data"):
        decoder(pair, facts, example, None)
    assert list(encoder(pair, facts, example).meanings) == ["loc", "scale"]


def test_a_learned_scale_is_of_the_part_and_gaussian_means_are_in_its_unit() -> None:
    torch.manual_seed(0)
    model = VAE(StandardNormal(K), Gaussian(D), small)
    pair, facts, example = subject(model, MeanField(K, D, small))
    part = decoder(pair, facts, example, None)
    assert list(part.meanings) == ["mean"]
    assert part.meanings["mean"].endswith("in the model's unit")
    of_table = decoder(*mixed_table(), None).meanings["mean"]
    assert of_table.endswith("of a category the place of its most probable level, from 0")
