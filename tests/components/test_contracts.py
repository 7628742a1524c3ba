"""User-defined parts that break their contract are refused before the first step."""

import re
import sys
from pathlib import Path
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.cli.answering import answer
from ppvae.errors import InputError
from ppvae.fit import fit, main
from ppvae.guides import Amortized
from ppvae.models import Likelihood, Prior
from ppvae.networks import MLP


class Bits(Likelihood):
    """A likelihood of zeros and ones, from which faulty ones derive."""

    support = constraints.boolean

    def elements(self, h: Tensor) -> Tensor:
        return h.squeeze(-len(self.data_shape) - 1)


class NoEvent(Bits):
    def forward(self, h: Tensor) -> Any:
        return dist.Bernoulli(logits=self.elements(h))


class NoSqueeze(Bits):
    def forward(self, h: Tensor) -> Any:
        return dist.Bernoulli(logits=h).to_event(4)


class TwoOfOne(Bits):
    def forward(self, h: Tensor) -> Any:
        loc, _scale = h.unbind(-4)
        return dist.Bernoulli(logits=loc).to_event(3)


class NoDistribution(Bits):
    def forward(self, h: Tensor) -> Any:
        return h


class NoLikelihood(nn.Module):
    def forward(self, h: Tensor) -> Any:
        return h


class NoInit(Bits):
    def __init__(self, data_shape: Any) -> None:
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, h: Tensor) -> Any:
        return h


class NoForward(Bits):
    pass


class Edge(Likelihood):
    """A rate that may be 0."""

    support = constraints.nonnegative_integer

    def forward(self, h: Tensor) -> Any:
        rate = h.squeeze(-4).relu()
        return dist.Poisson(rate).to_event(3)


class FlatPrior(Prior):
    def forward(self) -> Any:
        return dist.Normal(torch.zeros(self.latent_dim), 1.0)


class Forgotten(Prior):
    """A tensor that is no parameter."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.loc = torch.zeros(latent_dim, requires_grad=True)

    def forward(self) -> Any:
        return dist.Normal(self.loc, 1.0).to_event(1)


class Early(Prior):
    """A tensor that is computed once, before any step."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.log_scale = nn.Parameter(torch.zeros(latent_dim))
        self.scale = self.log_scale.exp()

    def forward(self) -> Any:
        return dist.Normal(0.0, self.scale).to_event(1)


class Half(Prior):
    """A bounded support, which no normal guide stays in; the log density elsewhere is -inf."""

    def forward(self) -> Any:
        return dist.HalfNormal(torch.ones(self.latent_dim)).to_event(1)


class Decay(Prior):
    """The same with NaN elsewhere."""

    def forward(self) -> Any:
        return dist.Gamma(torch.full((self.latent_dim,), 2.0), 1.0).to_event(1)


class Rise(Prior):
    """The same with a finite number elsewhere."""

    def forward(self) -> Any:
        return dist.Exponential(torch.ones(self.latent_dim)).to_event(1)


class FlatGuide(Amortized):
    def __init__(
        self, latent_dim: int, data_shape: Any, encoder: Any = MLP, classes: int = 0
    ) -> None:
        super().__init__(data_shape, (2, latent_dim), encoder, classes)

    def posterior(self, x: Tensor, y: Tensor | None = None) -> Any:
        loc, log_scale = self.encode(x, y).unbind(-2)
        return dist.Normal(loc, log_scale.exp())


H = r"for h of shape \(2, 1, 1, 8, 8\) \(params_per_element = 1\)"
HERE = re.escape(str(Path(__file__)))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"likelihood": NoEvent},
            rf"has a distribution of batch shape \(2, 1, 8, 8\) and event shape \(\) {H}, and "
            r"must have batch shape \(2,\) and event shape \(1, 8, 8\); end it with "
            r".to_event\(3\)$",
        ),
        (
            {"likelihood": NoSqueeze},
            r"axis -4 of h holds the parameters of an element: remove it by h.squeeze\(-4\), or "
            r"split it by h.unbind\(-4\)$",
        ),
        (
            {"likelihood": TwoOfOne},
            rf"TwoOfOne'` fails {H}: ValueError: not enough values .* \({HERE}, line \d+\)$",
        ),
        ({"likelihood": NoDistribution}, rf"returns a Tensor {H}, not a distribution"),
        ({"likelihood": NoLikelihood}, r"has no decoder_shape.* derive it from ppvae.models"),
        ({"likelihood": NoInit}, rf"cannot be made: AttributeError: .* \({HERE}, line \d+\)$"),
        ({"likelihood": NoForward}, r"cannot be made: TypeError: .*abstract method 'forward'"),
        (
            {"prior": FlatPrior},
            r"^`prior='tests.components.test_contracts.FlatPrior'` has a distribution of batch "
            r"shape \(4,\) and event shape \(\), and must have batch shape \(\) and event shape "
            r"\(4,\); end it with .to_event\(1\)$",
        ),
        (
            {"prior": Forgotten},
            r"has a tensor loc that needs a gradient .*; make it an nn.Parameter$",
        ),
        ({"prior": Early}, r"has a tensor scale that needs .*; compute it in forward$"),
        (
            {"guide": FlatGuide},
            r"for x of shape \(2, 1, 8, 8\), and must have batch shape \(2,\) and event shape "
            r"\(4,\); end it with .to_event\(1\)$",
        ),
        ({"likelihood": Edge}, r"^site 'x': the likelihood gives some datum probability 0 at "),
        *(
            (
                {"prior": prior, "elbo": "Trace_ELBO"},
                r"^site 'z': the guide draws where the model's density is 0, so that the bound is",
            )
            for prior in (Half, Decay, Rise)
        ),
    ],
)
def test_the_sentence_names_the_part_what_it_gives_and_the_way_out(
    parts: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        fit("digits", latent_dim=4, epochs=1, out=tmp_path / "run", **parts)
    assert not list(tmp_path.iterdir())  # nothing is left of it


def test_the_command_ends_with_the_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        answer(
            main,
            [
                "--likelihood",
                "tests.components.test_contracts.TwoOfOne",
                "--out",
                str(tmp_path / "run"),
            ],
        )
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert "--likelihood tests.components.test_contracts.TwoOfOne fails" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (
            "own_parts.likelihood",
            "own_parts.likelihood'` is a module; name a class or a function in it",
        ),
        ("own_parts.likelihod.A", r"own_parts has no likelihod \(did you mean likelihood\?\)"),
        ("own_parts.likelihood.Flip", r"own_parts.likelihood has no Flip \(did you mean Flips\?\)"),
    ],
)
def test_a_path_that_leads_nowhere_is_told_the_nearest(
    path: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_parts").mkdir()
    (tmp_path / "own_parts" / "__init__.py").write_text("")
    (tmp_path / "own_parts" / "likelihood.py").write_text("class Flips:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_parts", raising=False)
    monkeypatch.delitem(sys.modules, "own_parts.likelihood", raising=False)
    with pytest.raises(InputError, match=said):
        fit("digits", likelihood=path, trust=["own_parts"], out=tmp_path / "run")
