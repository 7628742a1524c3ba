"""Arguments of a named part are read by the types of its signature."""

from typing import Any

import pytest
import torch

from ppvae.cli.flags_in_sentences import in_flags
from ppvae.components.factory import factory_of
from ppvae.components.kinds import KINDS
from ppvae.components.names import NAMES, SYNONYMS, check_name, default_of
from ppvae.components.resolving import resolve
from ppvae.components.spec import Spec
from ppvae.errors import InputError, nearest
from ppvae.networks import MLP


@pytest.mark.parametrize(
    "value", [3, None, [], {}, {"init_args": {}}, {"class_path": 3}, {"class_path": "A", "x": 1},
              {"class_path": "A", "init_args": [1]}, {"class_path": "A", "init_args": {1: 2}}],
)  # fmt: skip
def test_what_is_no_spec(value: Any) -> None:
    with pytest.raises(InputError, match="`prior` is"):
        Spec.parse(value, "prior")


def test_specs_are_read() -> None:
    plain = {"class_path": "MLP", "init_args": {"hidden": [3]}}
    spec = Spec.parse(plain, "decoder", trusted=False)
    assert spec.plain() == plain
    assert not spec.trusted
    assert Spec.parse(spec, "decoder") is spec
    assert Spec.parse("MLP", "decoder") == Spec("MLP", {}, True)
    assert Spec.parse({"class_path": "MLP", "init_args": None}, "x").init_args == {}
    read = Spec.parse(
        {"init_args": {"own": 3}}, "decoder", trusted=False, default=default_of("decoder")
    )
    assert (read.class_path, read.trusted, read.is_default) == ("MLP", False, True)
    assert read.plain() == {"init_args": {"hidden": [200, 200, 200], "own": 3}}
    assert default_of("optimizer") == Spec("Adam")


@pytest.mark.parametrize(
    ("given", "hidden"),
    [("200,100", [200, 100]), ("200", [200]), ("[200, 100]", [200, 100]), (7, [7]),
     ([7, 8], [7, 8]), ((7,), [7]), ("[]", []), ("", [])],
)  # fmt: skip
def test_lists_without_a_shells_brackets(given: Any, hidden: list[int]) -> None:
    factory = factory_of(KINDS["decoder"], Spec("MLP", {"hidden": given}))
    assert factory.spec.init_args == {"hidden": hidden, "activation": "silu", "shortcut": False}
    net = factory(in_shape=(2,), out_shape=(3,), latent_dim=9)
    assert isinstance(net, MLP)
    widths = [layer.out_features for layer in net.modules() if isinstance(layer, torch.nn.Linear)]
    assert widths == [*hidden, 3]


def test_other_words_of_the_field_are_answered_by_the_name_here() -> None:
    for kind, words in SYNONYMS.items():
        assert not words.keys() & {name.lower() for name in NAMES[kind]}
        for word, name in words.items():
            assert name in NAMES[kind]
            with pytest.raises(InputError, match=f"here it is called {name}; choose from"):
                check_name(kind, word)
    with pytest.raises(InputError, match="here it is called MixtureOfNormals"):
        check_name("prior", "Mixture-of-Gaussians")


def test_a_factory_is_given_what_it_names() -> None:
    factory = factory_of(KINDS["prior"], Spec("StandardNormal"))
    assert factory.names("latent_dim")
    assert not factory.names("data_shape")
    assert factory(latent_dim=4, data_shape=(2,)).latent_dim == 4


def test_a_class_of_the_package_by_its_path_is_its_name() -> None:
    kind = KINDS["prior"]
    spec = Spec("ppvae.models.priors.standard_normal.StandardNormal", {}, trusted=False)
    assert resolve(kind, spec) is resolve(kind, Spec("StandardNormal"))
    assert factory_of(kind, spec).spec.class_path == "StandardNormal"


def test_nearest_names() -> None:
    names = ["StandardNormal", "VampPrior"]
    assert nearest("vampprior", names) == " (did you mean VampPrior?)"
    assert nearest("StandardNorml", names) == " (did you mean StandardNormal?)"
    assert nearest("qqq", names) == ""
    assert nearest("LogNormal", NAMES["likelihood"]) == ""  # a list is better than a wrong guess
    assert nearest("cosine", NAMES["schedule"]) == " (did you mean CosineAnnealingLR?)"
    with pytest.raises(
        InputError, match=r"no such elbo \(did you mean Trace_ELBO\?\); choose from"
    ):
        resolve(KINDS["elbo"], Spec("TraceELBO"))
    with pytest.raises(InputError, match="there is no such elbo; choose from"):
        resolve(KINDS["elbo"], Spec("qqq"))


@pytest.mark.parametrize("trust", [(), ("__main__",)])
def test_a_class_of_a_script_is_found_only_there(trust: tuple[str, ...]) -> None:
    """No command is told to trust its own ``__main__``, nor guesses a name in it."""
    with pytest.raises(InputError) as refused:
        resolve(KINDS["prior"], Spec("__main__.Cluster", trusted=False), trust)
    assert str(refused.value) == (
        "the prior is __main__.Cluster, which was defined in a script or notebook: open the run "
        "there, by ppvae.load(RUN, trust=['__main__']), or put it in a module file and fit with "
        "that"
    )
    assert in_flags(str(refused.value)) == str(refused.value)
