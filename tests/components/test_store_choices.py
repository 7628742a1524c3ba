"""Trees on disk come back as they were, whole or not at all; choices are read by their types."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from ppvae.components.factory import factory_of
from ppvae.components.kinds import KINDS
from ppvae.components.resolving import resolve
from ppvae.components.spec import Spec
from ppvae.errors import InputError, nearest
from ppvae.networks import MLP
from ppvae.run.store import load_tree, save_tree
from tests.support.fits import differences, reseal


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    tree = {
        "a": shared, "again": shared, "view": shared[0], "turned": shared.T,
        "double": torch.tensor([math.pi], dtype=torch.float64), "bytes": torch.get_rng_state(),
        "half": torch.ones(2, dtype=torch.bfloat16), "flag": torch.tensor(True),
        "empty": torch.empty(0), "other empty": torch.empty(0, 2), "nothing": None,
        "odd": torch.tensor([math.nan, math.inf, -math.inf, -0.0]).nan_to_num(nan=5),
        "numbers": [1, 2.5, [True, "x", [None, math.inf, -math.inf, math.nan]], 1 / 3],
        "a/b": 1, "": {"deep": {"deeper": torch.ones(())}},
    }  # fmt: skip
    save_tree(tmp_path / "tree", tree)
    assert not differences(load_tree(tmp_path / "tree"), tree)
    back = load_tree(tmp_path / "tree")
    assert back["a"].data_ptr() != shared.data_ptr()
    nan = {"x": torch.tensor([math.nan, 1.0])}
    save_tree(tmp_path / "nan", nan)
    assert load_tree(tmp_path / "nan")["x"].isnan().tolist() == [True, False]


def test_what_is_neither_tensor_nor_plain_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="/a/1 is a object"):
        save_tree(tmp_path / "tree", {"a": [1, object()]})
    assert not list(tmp_path.iterdir())


def test_a_tensor_that_is_named_and_missing(tmp_path: Path) -> None:
    save_tree(tmp_path / "tree", {"a": torch.ones(1)})
    (tmp_path / "tree" / "tree.json").write_text(json.dumps({"a": {"$tensor": "b"}}))
    reseal(tmp_path / "tree")
    with pytest.raises(InputError, match="lacks the tensor 'b'"):
        load_tree(tmp_path / "tree")


@pytest.mark.parametrize(
    "value", [3, None, [], {}, {"init_args": {}}, {"class_path": 3}, {"class_path": "A", "x": 1},
              {"class_path": "A", "init_args": [1]}, {"class_path": "A", "init_args": {1: 2}}],
)  # fmt: skip
def test_what_is_no_choice(value: Any) -> None:
    with pytest.raises(InputError, match="`prior` is"):
        Spec.parse(value, "prior")


def test_choices_are_read() -> None:
    plain = {"class_path": "MLP", "init_args": {"hidden": [3]}}
    choice = Spec.parse(plain, "decoder", trusted=False)
    assert choice.plain() == plain
    assert not choice.trusted
    assert Spec.parse(choice, "decoder") is choice
    assert Spec.parse("MLP", "decoder") == Spec("MLP", {}, True)
    assert Spec.parse({"class_path": "MLP", "init_args": None}, "x").init_args == {}


@pytest.mark.parametrize(
    ("given", "hidden"),
    [("200,100", [200, 100]), ("200", [200]), ("[200, 100]", [200, 100]), (7, [7]),
     ([7, 8], [7, 8]), ((7,), [7]), ("[]", []), ("", [])],
)  # fmt: skip
def test_lists_without_a_shells_brackets(given: Any, hidden: list[int]) -> None:
    maker = factory_of(KINDS["decoder"], Spec("MLP", {"hidden": given}))
    assert maker.spec.init_args == {"hidden": hidden, "activation": "silu"}
    net = maker(in_shape=(2,), out_shape=(3,), latent_dim=9)
    assert isinstance(net, MLP)
    widths = [layer.out_features for layer in net.modules() if isinstance(layer, torch.nn.Linear)]
    assert widths == [*hidden, 3]


def test_a_maker_is_given_what_it_names() -> None:
    maker = factory_of(KINDS["prior"], Spec("StandardNormal"))
    assert maker.names("latent_dim")
    assert not maker.names("data_shape")
    assert maker(latent_dim=4, data_shape=(2,)).latent_dim == 4


def test_a_class_of_the_package_by_its_path_is_its_name() -> None:
    kind = KINDS["prior"]
    choice = Spec("ppvae.models.priors.standard_normal.StandardNormal", {}, trusted=False)
    assert resolve(kind, choice) is resolve(kind, Spec("StandardNormal"))
    assert factory_of(kind, choice).spec.class_path == "StandardNormal"


def test_nearest_names() -> None:
    names = ["StandardNormal", "VampPrior"]
    assert nearest("vampprior", names) == " (did you mean VampPrior?)"
    assert nearest("StandardNorml", names) == " (did you mean StandardNormal?)"
    assert nearest("qqq", names) == ""
    with pytest.raises(InputError, match=r"that name \(did you mean Trace_ELBO\?\); choose from"):
        resolve(KINDS["elbo"], Spec("TraceELBO"))
    with pytest.raises(InputError, match="there is none of that name; choose from"):
        resolve(KINDS["elbo"], Spec("qqq"))
